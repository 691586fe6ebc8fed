"""Tables 1 to 4 and the costs of the three blocks, as final text."""

from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from html import escape
from itertools import groupby
from statistics import mean

from xnnlib import complexity
from xnnlib.records import Run
from xnnlib.report.estimates import estimate, format_estimate, size
from xnnlib.report.summary import by_block, letter, shared, top1_by_seed, top1_digits
from xnnlib.spec import BLOCK_TITLES, BLOCKS, NetworkSpec, Stage, recipe_for


@dataclass(frozen=True, repr=False)
class Table:
    """Cells of final text; `align` has one of "l" and "r" for each column.

    Columns named `MACs: A` and `MACs: B` are shown as A and B under MACs. A row that is a text is a heading
    of those below it. Prints as aligned text, shows as HTML in a notebook.
    """

    columns: tuple[str, ...]
    align: str
    rows: tuple[tuple[str, ...] | str, ...]

    def __repr__(self) -> str:
        cells = [self.columns, *(row for row in self.rows if not isinstance(row, str))]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

        def line(row: tuple[str, ...] | str) -> str:
            if isinstance(row, str):
                return row
            columns = zip(row, self.align, widths, strict=True)
            cells = (cell.rjust(n) if align == "r" else cell.ljust(n) for cell, align, n in columns)
            return "  ".join(cells).rstrip()

        return "\n".join(map(line, (self.columns, tuple("-" * n for n in widths), *self.rows)))

    def head(self) -> list[list[tuple[str, int]]]:
        """The lines of the head: each cell's text and how many columns it spans."""
        parts = [name.rpartition(": ")[::2] for name in self.columns]
        groups = [(group, len(list(members))) for group, members in groupby(group for group, _ in parts)]
        return ([groups] if any(group for group, _ in groups) else []) + [[(name, 1) for _, name in parts]]

    def _repr_html_(self) -> str:
        def cell(tag: str, content: str, align: str = "l", span: int = 1) -> str:
            side = "center" if span > 1 else "right" if align == "r" else "left"
            return f'<{tag} colspan="{span}" style="text-align: {side}">{escape(content)}</{tag}>'

        def line(tag: str, row: tuple[str, ...] | str) -> str:
            if isinstance(row, str):
                return f'<tr><td colspan="{len(self.align)}" style="text-align: left">{escape(row)}</td></tr>'
            return f"<tr>{''.join(cell(tag, *pair) for pair in zip(row, self.align, strict=True))}</tr>"

        *groups, names = self.head()
        head = "".join(f"<tr>{''.join(cell('th', text, span=n) for text, n in row)}</tr>" for row in groups)
        head += line("th", tuple(name for name, _ in names))
        body = "".join(line("td", row) for row in self.rows)
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


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


# Readable titles with units, in Table 2's order, of all that a recipe says.
TITLES = {
    "epochs": "Epochs",
    "batch_size": "Batch size (images)",
    "start_learning_rate": "Learning rate, first",
    "warmup_epochs": "Warm-up, linear (epochs)",
    "peak_learning_rate": "Learning rate, after the warm-up",
    "final_learning_rate": "Learning rate, last, after cosine decay",
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

# What no recipe says: of the paper's runs, and of the course's.
FIXED = (
    ("Optimiser", "stochastic gradient descent", "stochastic gradient descent"),
    ("Loss", "cross entropy", "cross entropy"),
    ("Augmentation", "random resized crop, horizontal flip", "random resized crop, horizontal flip"),
    ("Normalisation", "ImageNet mean and standard deviation", "ImageNet mean and standard deviation"),
    ("Initial weights of the classifier", "normal, standard deviation 0.01", "PyTorch's default"),
    ("Initial weights of the gates", "PyTorch's default", "PyTorch's default"),
    ("Initial filters", "normal, variance 2 / fan-out", "PyTorch's default, by fan-in"),
)
# The fan-out of a depthwise filter that is initialised.
FAN_OUT_TITLES = {"channel": "F × F", "layer": "channels × F × F"}


def table_2(runs: Sequence[Run]) -> Table:
    """Every hyper-parameter of the runs and of the course's routine; where blocks differ, a cell says how."""
    course = {block: asdict(recipe_for("reference", block)) for block in by_block(runs)}
    rows = []
    for field, title in TITLES.items():
        ours = shared(runs, lambda run, field=field: run.record["recipe"][field])
        theirs = shared(runs, lambda run, field=field: course[run.record["block"]][field])
        if not ours == theirs == OFF.get(field):
            rows.append((title, ours, theirs))
    first, *more = sorted({run.record["seed"] for run in runs})
    seeds = ", ".join(map(str, (first, *more))) if more else f"one run, seed {first}"
    fan_out = shared(runs, lambda run: FAN_OUT_TITLES[run.record["network"]["depthwise_fan_out"]])
    rows += [*FIXED, ("Fan-out of a depthwise filter", fan_out, ""), ("Seeds", seeds, "one run")]
    return Table(("Hyper-parameter", "Paper", "Course"), "lll", tuple(rows))


def table_3(runs: Sequence[Run]) -> Table:
    """Training time and validation top-1 after the last epoch; top-1 as mean ± 95 % interval over seeds."""
    groups, digits = by_block(runs), top1_digits(runs)
    seconds = {block: mean(run.record["train_seconds"] for run in group) for block, group in groups.items()}
    unit, divisor = ("h", 3600) if max(seconds.values()) > 2 * 3600 else ("min", 60)
    rows = []
    for block, group in groups.items():
        top1 = format_estimate(estimate(list(top1_by_seed(group).values())), digits)
        rows.append((BLOCK_TITLES[block], f"{seconds[block] / divisor:,.1f}", top1))
    return Table(("Block", f"Training time ({unit})", "Top-1, last epoch (%)"), "lrr", tuple(rows))


def table_4() -> Table:
    """MACs and filter coefficients of each row of Table 1, over its repeats, for A, B and C; the totals."""
    specs = [NetworkSpec(block) for block in BLOCKS]
    counted = [complexity.count(spec) for spec in specs]

    def cells(stages: Container[int]) -> list[str]:
        totals = [complexity.total(item for item in items if item.stage in stages) for items in counted]
        return [f"{macs / 1e6:,.2f}" for macs, _ in totals] + [f"{count / 1e3:,.1f}" for _, count in totals]

    rows = [
        (str(stage.repeat), stage_input(stage), stage_operation(stage), *cells({index}))
        for index, stage in enumerate(specs[0].stages)
    ]
    rows.append(("", "", "Total", *cells(range(len(rows)))))
    columns = _by_block("k")
    return Table(("Repeat", "Input", "Operation", *columns), "rll" + "r" * len(columns), tuple(rows))


def _by_block(unit: str) -> list[str]:
    """The columns of MACs and coefficients of each block."""
    counts = ("MACs (M)", f"Coefficients ({unit})")
    return [f"{count}: {letter(block)}" for count in counts for block in BLOCKS]


def operation_table(spec: NetworkSpec) -> Table:
    """MACs and filter coefficients of every single operation, of one repeat and of all, and the totals."""
    columns = ("Input", "Operation", "Repeat", "MACs of one", "Coefficients of one", "MACs of all")
    columns += ("Coefficients of all",)
    rows, shown = [], None
    operations = complexity.count(spec)
    for item in operations:
        # A row of Table 1 has its input at its first operation.
        place = "" if item.stage == shown else stage_input(spec.stages[item.stage])
        shown = item.stage
        counts = (item.macs, item.coefficients, item.repeat * item.macs, item.repeat * item.coefficients)
        rows.append((place, item.description, str(item.repeat), *(f"{count:,}" for count in counts)))
    rows.append(("Total", *[""] * 4, *(f"{count:,}" for count in complexity.total(operations))))
    return Table(columns, "llrrrrr", tuple(rows))


KIND_TITLES = {
    "convolution": "Convolutions",
    "linear": "Classifier",
    "se": "Squeeze-and-excite",
    "routing": "Routing",
    "mixing": "Mixing of experts",
}


def cost_table() -> Table:
    """The totals of A, B and C beside each other in millions, one line for each kind of operation."""
    counted = [complexity.count(NetworkSpec(block)) for block in BLOCKS]

    def totals(kinds: Container[str] = complexity.KINDS) -> list[int]:
        pairs = [complexity.total(operations, kinds) for operations in counted]
        return [pair[index] for index in (0, 1) for pair in pairs]

    rows = [
        (title, *(f"{count / 1e6:,.2f}" if count else "" for count in totals((kind,))))
        for kind, title in KIND_TITLES.items()
    ]
    whole = totals()
    rows.append(("Total", *(f"{count / 1e6:,.2f}" for count in whole)))
    standards = [whole[0]] * len(BLOCKS) + [whole[len(BLOCKS)]] * len(BLOCKS)
    ratios = (f"{count / standard:.2f}" for count, standard in zip(whole, standards, strict=True))
    rows.append(("Total, relative to A", *ratios))
    columns = _by_block("M")
    return Table(("", *columns), "l" + "r" * len(columns), tuple(rows))
