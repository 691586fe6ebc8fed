"""Tables 1 to 4, the costs of the three blocks and the comparisons between them, as final text."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from statistics import mean

from xnnlib import complexity
from xnnlib.records import Run
from xnnlib.report.estimates import estimate, size, text
from xnnlib.report.published import NETWORKS
from xnnlib.report.summary import by_block, letter, seeds, shared, top1_by_seed, top1_digits
from xnnlib.spec import BLOCK_TITLES, BLOCKS, NetworkSpec, Stage, recipe_for


@dataclass(frozen=True, repr=False)
class Table:
    """Cells of final text; `align` has one of "l" and "r" for each column.

    A row that is a text is a heading of those below it; `heads`, if given, are titles over neighbouring
    columns, each with how many it spans. Prints as aligned text, shows as HTML in a notebook.
    """

    columns: tuple[str, ...]
    align: str
    rows: tuple[tuple[str, ...] | str, ...]
    heads: tuple[tuple[str, int], ...] = ()

    def __post_init__(self):
        widths = {len(self.columns), len(self.align), *map(len, self._rows_of_cells())}
        if self.heads:
            widths.add(sum(span for _, span in self.heads))
        if len(widths) != 1:
            raise ValueError(f"columns, alignment and rows of a table differ in length: {sorted(widths)}")

    def _rows_of_cells(self) -> list[tuple[str, ...]]:
        return [row for row in self.rows if not isinstance(row, str)]

    def __repr__(self) -> str:
        lines = (self.columns, *self._rows_of_cells())
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        # A title that is wider than its columns widens the last of them.
        heads, start = [], 0
        for title, span in self.heads:
            spanned = sum(widths[start : start + span]) + 2 * (span - 1)
            widths[start + span - 1] += max(0, len(title) - spanned)
            heads.append(title.ljust(max(len(title), spanned)))
            start += span
        lines = [
            self._line(row, widths) for row in (self.columns, tuple("-" * w for w in widths), *self.rows)
        ]
        return "\n".join(["  ".join(heads).rstrip(), *lines] if heads else lines)

    def _line(self, cells: tuple[str, ...] | str, widths: list[int]) -> str:
        if isinstance(cells, str):
            return cells
        padded = (
            cell.rjust(width) if align == "r" else cell.ljust(width)
            for cell, width, align in zip(cells, widths, self.align, strict=True)
        )
        return "  ".join(padded).rstrip()

    def _repr_html_(self) -> str:
        sides = ["right" if align == "r" else "left" for align in self.align]

        def cell(tag: str, content: str, side: str, span: int = 1) -> str:
            spanning = f' colspan="{span}"' if span > 1 else ""
            return f'<{tag}{spanning} style="text-align: {side}">{escape(content)}</{tag}>'

        def line(tag: str, cells: tuple[str, ...] | str) -> str:
            if isinstance(cells, str):
                return f"<tr>{cell(tag, cells, 'left', len(sides))}</tr>"
            return f"<tr>{''.join(cell(tag, *pair) for pair in zip(cells, sides, strict=True))}</tr>"

        heads = "".join(cell("th", title, "center", span) for title, span in self.heads)
        header = (f"<tr>{heads}</tr>" if heads else "") + line("th", self.columns)
        body = "".join(line("td", row) for row in self.rows)
        return f"<table><thead>{header}</thead><tbody>{body}</tbody></table>"


def table_1(spec: NetworkSpec) -> Table:
    """The network's structure: repeat, input and operation of each row, then the output."""
    rows = [(str(stage.repeat), stage_input(stage), stage_operation(stage)) for stage in spec.stages]
    rows.append(("1", size(1, spec.num_classes), "output"))
    return Table(("Repeat", "Input Nᵢ × H × W", "Operation"), "rll", tuple(rows))


def stage_input(stage: Stage) -> str:
    """The shape that a row of Table 1 reads, `16×56×56`."""
    return size(stage.in_channels, stage.size, stage.size)


def stage_operation(stage: Stage) -> str:
    """The operation of a row of Table 1 in the paper's words."""
    rows, stride = stage.filter_size, stage.stride
    if stage.operation == "classifier":
        return "global average pool, linear, bias"
    if stage.operation == "block":
        return f"Block (Nₑ={stage.expansion}Nᵢ, F={rows}, S={stride}, ID={stage.identity})"
    return f"Conv ({size(rows, rows)}/{stride}), batch norm, ReLU"


# Readable titles with units, in Table 2's order. A field of the recipe that is not here is shown at the end
# under its own name, so that no hyper-parameter can be left out.
TITLES = {
    "epochs": "Epochs",
    "batch_size": "Batch size (images)",
    "start_learning_rate": "Learning rate, first",
    "warmup_epochs": "Warm-up, linear (epochs)",
    "peak_learning_rate": "Learning rate, after the warm-up",
    "final_learning_rate": "Learning rate, last, after half a cosine",
    "learning_rate_set": "Learning rate set every",
    "momentum": "Nesterov momentum",
    "weight_decay": "Weight decay",
    "weight_decay_on": "Weight decay on",
    "label_smoothing": "Label smoothing",
    "smallest_crop": "Smallest random crop (share of the area)",
    "resize": "Short side in validation (pixels)",
    "crop": "Crop in training and validation (pixels)",
    "routing_learning_rate": "Learning rate of the routing (times the others')",
    "precision": "Precision of convolutions and products",
}
# What switches these off: where neither side uses one, it is no part of the routine.
OFF = {"label_smoothing": "0", "routing_learning_rate": "1"}


def table_2(runs: Sequence[Run]) -> Table:
    """Every hyper-parameter of the runs and of the course's routine; where blocks differ, a cell says how."""
    course = {block: asdict(recipe_for("reference", block)) for block in by_block(runs)}
    present = runs[0].record["recipe"]
    fields = [field for field in TITLES if field in present]
    fields += [field for field in present if field not in TITLES and field != "name"]
    rows = []
    for field in fields:
        title = TITLES.get(field, field.replace("_", " ").capitalize())
        ours = shared(runs, lambda run, field=field: run.record["recipe"][field])
        theirs = shared(runs, lambda run, field=field: course[run.record["block"]][field])
        if not ours == theirs == OFF.get(field):
            rows.append((title, ours, theirs))
    same = {
        "Optimiser": "stochastic gradient descent",
        "Loss": "cross entropy",
        "Augmentation": "random resized crop, horizontal flip",
        "Normalisation": "ImageNet mean and standard deviation",
    }
    rows += [(title, value, value) for title, value in same.items()]
    rows += [
        ("Initial filters", "normal, variance 2 / fan-out", "not published"),
        ("Initial weights of the classifier", "normal, standard deviation 0.01", "not published"),
        ("Seeds", seeds(runs), "one run"),
    ]
    return Table(("Hyper-parameter", "Paper", "Course"), "lll", tuple(rows))


def table_3(runs: Sequence[Run]) -> Table:
    """Training time and validation top-1 after the last epoch; top-1 as mean ± 95 % interval over seeds."""
    groups, digits = by_block(runs), top1_digits(runs)
    seconds = {block: mean(run.record["train_seconds"] for run in group) for block, group in groups.items()}
    unit, divisor = ("h", 3600) if max(seconds.values()) > 2 * 3600 else ("min", 60)
    rows = tuple(
        (
            BLOCK_TITLES[block],
            f"{seconds[block] / divisor:,.1f}",
            text(estimate(list(top1_by_seed(group).values())), digits),
        )
        for block, group in groups.items()
    )
    return Table(("Block", f"Training time ({unit})", "Top-1, last epoch (%)"), "lrr", rows)


LETTERS = tuple(letter(block) for block in BLOCKS)


def table_4(num_classes: int = 100) -> Table:
    """MACs and filter coefficients of each row of Table 1, over its repeats, for A, B and C; the totals."""
    specs = [NetworkSpec(block, num_classes) for block in BLOCKS]
    counted = [complexity.count(spec) for spec in specs]

    def cells(chosen: list[list[complexity.Operation]]) -> list[str]:
        totals = [complexity.total(operations) for operations in chosen]
        macs = [f"{total[0] / 1e6:,.2f}" for total in totals]
        return macs + [f"{total[1] / 1e3:,.1f}" for total in totals]

    rows = []
    for index, stage in enumerate(specs[0].stages):
        own = [[item for item in operations if item.stage == index] for operations in counted]
        rows.append((str(stage.repeat), stage_input(stage), stage_operation(stage), *cells(own)))
    rows.append(("", "", "Total", *cells(counted)))
    heads = (("", 3), ("MACs (millions)", 3), ("Coefficients (thousands)", 3))
    return Table(("Repeat", "Input", "Operation", *LETTERS, *LETTERS), "rllrrrrrr", tuple(rows), heads)


def operation_table(spec: NetworkSpec) -> Table:
    """MACs and filter coefficients of every single operation, of one repeat and of all, and the totals."""
    columns = ("Input", "Operation", "Repeat", "MACs", "Coefficients", "MACs", "Coefficients")
    rows = []
    operations = complexity.count(spec)
    for index, stage in enumerate(spec.stages):
        shown = stage_input(stage)
        for operation in (operation for operation in operations if operation.stage == index):
            macs, coefficients, repeat = operation.macs, operation.coefficients, operation.repeat
            counts = (repeat, macs, coefficients, repeat * macs, repeat * coefficients)
            # `1x1 conv 16 -> 64` with the signs of print.
            description = re.sub(r"(?<=\d)x(?=\d)", "×", operation.description).replace("->", "→")
            rows.append((shown, description, *(f"{count:,}" for count in counts)))
            shown = ""
    rows.append(("Total", *[""] * 4, *(f"{count:,}" for count in complexity.total(operations))))
    return Table(columns, "llrrrrr", tuple(rows), (("", 3), ("One repeat", 2), ("All repeats", 2)))


KIND_TITLES = {
    "convolution": "Convolutions",
    "linear": "Classifier",
    "se": "Squeeze-and-excite",
    "routing": "Routing",
    "mixing": "Mixing of experts",
}


def cost_table(num_classes: int = 100) -> Table:
    """The totals of A, B and C beside each other in millions, one line for each kind of operation."""
    counted = [complexity.count(NetworkSpec(block, num_classes)) for block in BLOCKS]

    def cells(kinds: tuple[str, ...]) -> list[str]:
        totals = [complexity.total(operations, kinds) for operations in counted]
        return [f"{total[i] / 1e6:,.2f}" if total[i] else "" for i in (0, 1) for total in totals]

    rows = [(title, *cells((kind,))) for kind, title in KIND_TITLES.items()]
    rows.append(("Total", *cells(complexity.KINDS)))
    totals = [complexity.total(operations) for operations in counted]
    ratios = [f"{total[i] / totals[0][i]:.2f}" for i in (0, 1) for total in totals]
    rows.append(("Total, relative to A", *ratios))
    heads = (("", 1), ("MACs (millions)", 3), ("Coefficients (millions)", 3))
    return Table(("", *LETTERS, *LETTERS), "lrrrrrr", tuple(rows), heads)


def published_table() -> Table:
    """What others published on ImageNet: accuracy and cost of the networks that the blocks are from."""
    rows = tuple((title, *map(str, values)) for title, *values, _ in NETWORKS.values())
    columns = ("Network", "Top-1 (%)", "MACs (millions)", "Parameters (millions)")
    return Table(columns, "lrrr", rows)
