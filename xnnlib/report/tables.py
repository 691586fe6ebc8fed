"""Tables 1 to 4 and the cost table, as final text."""

import re
from dataclasses import dataclass
from html import escape

from xnnlib import complexity
from xnnlib.records import Run
from xnnlib.report.settings import letter, seeds, settings
from xnnlib.report.summary import (
    best_epochs,
    by_block,
    estimate,
    last_values,
    overfit_gap,
    size,
    text,
    top1_digits,
)
from xnnlib.spec import BLOCK_TITLES, BLOCKS, NetworkSpec, Stage

NOT_RUN = "not run"


@dataclass(frozen=True, repr=False)
class Table:
    """Cells of final text; `align` has one of "l" and "r" for each column.

    A row that is a text is a heading of those below it. Prints as aligned text, shows as HTML in a notebook.
    """

    columns: tuple[str, ...]
    align: str
    rows: tuple[tuple[str, ...] | str, ...]

    def __post_init__(self):
        widths = {len(self.columns), len(self.align), *map(len, self._rows_of_cells())}
        if len(widths) != 1:
            raise ValueError(f"columns, alignment and rows of a table differ in length: {sorted(widths)}")

    def _rows_of_cells(self) -> list[tuple[str, ...]]:
        return [row for row in self.rows if not isinstance(row, str)]

    def __repr__(self) -> str:
        lines = (self.columns, *self._rows_of_cells())
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        lines = (self.columns, tuple("-" * width for width in widths), *self.rows)
        return "\n".join(self._line(line, widths) for line in lines)

    def _line(self, cells: tuple[str, ...] | str, widths: list[int]) -> str:
        if isinstance(cells, str):
            return cells
        padded = (
            cell.rjust(width) if align == "r" else cell.ljust(width)
            for cell, width, align in zip(cells, widths, self.align, strict=True)
        )
        return "  ".join(padded).rstrip()

    def _repr_html_(self) -> str:
        def line(tag: str, cells: tuple[str, ...] | str) -> str:
            if isinstance(cells, str):
                return f'<{tag} colspan="{len(self.align)}" style="text-align: left">{escape(cells)}</{tag}>'
            styles = ["right" if align == "r" else "left" for align in self.align]
            return "".join(
                f'<{tag} style="text-align: {style}">{escape(cell)}</{tag}>'
                for cell, style in zip(cells, styles, strict=True)
            )

        body = "".join(f"<tr>{line('td', row)}</tr>" for row in self.rows)
        return f"<table><thead><tr>{line('th', self.columns)}</tr></thead><tbody>{body}</tbody></table>"


def table_1(spec: NetworkSpec) -> Table:
    """The network's structure: repeat, input and operation of each row, then the output."""
    rows = [(str(stage.repeat), stage_input(stage), stage_operation(stage)) for stage in spec.stages]
    rows.append(("1", size(1, spec.num_classes), "output"))
    return Table(("Repeat", "Input Ni × W × H", "Operation"), "rll", tuple(rows))


def stage_input(stage: Stage) -> str:
    """The shape that a row of Table 1 reads, `16×56×56`."""
    return size(stage.in_channels, stage.size, stage.size)


def stage_operation(stage: Stage) -> str:
    """The operation of a row of Table 1 in the paper's words."""
    rows, stride = stage.filter_size, stage.stride
    if stage.operation == "classifier":
        return "global average pool, linear, bias"
    if stage.operation == "block":
        return f"Block (Ne={stage.expansion}Ni, F={rows}, S={stride}, ID={stage.identity})"
    return f"Conv ({size(rows, rows)}/{stride}), batch norm, ReLU"


def table_2(runs: list[Run]) -> Table:
    """Every hyper-parameter of the runs; where blocks differ the cell says which has what."""
    rows = [(setting.title, setting.text) for setting in settings(runs)]
    rows += [
        ("Optimiser", "stochastic gradient descent"),
        ("Loss", "cross entropy"),
        ("Augmentation", "random resized crop, horizontal flip"),
        ("Normalisation", "ImageNet mean and standard deviation"),
        ("Initial filters", "normal, variance 2 / fan-out"),
        ("Initial weights of the classifier", "normal, standard deviation 0.01"),
        ("Seeds", seeds(runs)),
    ]
    return Table(("Hyper-parameter", "Value"), "ll", tuple(rows))


def table_3(runs: list[Run]) -> Table:
    """Training time and validation top-1 of the three blocks; mean ± 95 % interval over seeds."""
    columns = ("Block", "Seeds", "Training time (min)", "Top-1, last epoch (%)", "Top-1, best epoch (%)")
    columns += ("Best epoch",)
    groups = by_block(runs)
    rows = tuple(_result_row(block, groups.get(block), top1_digits(runs)) for block in BLOCKS)
    return Table(columns, "lrrrrr", rows)


def _result_row(block: str, group: list[Run] | None, digits: int) -> tuple[str, ...]:
    if not group:
        return (BLOCK_TITLES[block], "0", *[NOT_RUN] * 4)
    records = [run.record for run in group]
    return (
        BLOCK_TITLES[block],
        str(len(group)),
        text(estimate([record["train_seconds"] / 60 for record in records]), 1),
        text(estimate([record["last"]["top1"] for record in records]), digits),
        text(estimate([record["best"]["top1"] for record in records]), digits),
        best_epochs(group),
    )


def fit_table(runs: list[Run]) -> Table:
    """Top-1 and loss after the last epoch in training and in validation; mean ± 95 % interval over seeds."""
    columns = ("Block", "Top-1, training (%)", "Top-1, validation (%)", "Distance (points)")
    columns += ("Loss, training", "Loss, validation")
    rows = tuple(_fit_row(block, group, top1_digits(runs)) for block, group in by_block(runs).items())
    return Table(columns, "lrrrrr", rows)


def _fit_row(block: str, group: list[Run], digits: int) -> tuple[str, ...]:
    def last(column: str, digits: int) -> str:
        return text(estimate(last_values(group, column)), digits)

    return (
        BLOCK_TITLES[block],
        last("train_top1", digits),
        last("val_top1", digits),
        text(overfit_gap(group), digits, signed=True),
        last("train_loss", 2),
        last("val_loss", 2),
    )


def table_4(spec: NetworkSpec) -> Table:
    """MACs and filter coefficients of each operation, of one repeat and of all, and the totals."""
    columns = ("Input", "Operation", "Repeat", "MACs", "Coefficients", "All MACs", "All coefficients")
    rows = []
    operations = complexity.count(spec)
    for index, stage in enumerate(spec.stages):
        shown = stage_input(stage)
        for operation in (operation for operation in operations if operation.stage == index):
            macs, coefficients, repeat = operation.macs, operation.coefficients, operation.repeat
            counts = (repeat, macs, coefficients, repeat * macs, repeat * coefficients)
            rows.append((shown, _typeset(operation.description), *(f"{count:,}" for count in counts)))
            shown = ""
    macs, coefficients = complexity.total(operations)
    rows.append(("Total", "", "", "", "", f"{macs:,}", f"{coefficients:,}"))
    return Table(columns, "llrrrrr", tuple(rows))


def _typeset(description: str) -> str:
    """An operation's description with the signs of print: `1×1 conv 16 → 64`."""
    return re.sub(r"(?<=\d)x(?=\d)", "×", description).replace("->", "→")


KIND_TITLES = {
    "convolution": "Convolutions",
    "linear": "Linear (classifier)",
    "se": "Squeeze-and-excite linears",
    "routing": "Routing linears",
    "mixing": "Mixing of experts",
}


def cost_table(num_classes: int) -> Table:
    """The totals of A, B and C beside each other, one line for each kind of operation."""
    counted = [complexity.count(NetworkSpec(block, num_classes)) for block in BLOCKS]
    letters = [letter(block) for block in BLOCKS]
    columns = ("", *(f"MACs, {name}" for name in letters), *(f"Coefficients, {name}" for name in letters))
    rows = [(title, *_cost_cells(counted, (kind,))) for kind, title in KIND_TITLES.items()]
    rows.append(("Total", *_cost_cells(counted, complexity.KINDS)))
    totals = [complexity.total(operations) for operations in counted]
    ratios = [f"{total[i] / totals[0][i]:.2f}" for i in (0, 1) for total in totals]
    rows.append(("Total, relative to A", *ratios))
    return Table(columns, "lrrrrrr", tuple(rows))


def _cost_cells(counted: list[list[complexity.Operation]], kinds: tuple[str, ...]) -> list[str]:
    totals = [complexity.total(operations, kinds) for operations in counted]
    return [f"{total[i]:,}" for i in (0, 1) for total in totals]
