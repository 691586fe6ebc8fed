"""Figure 6: where the MACs and the coefficients are, by level and by kind of operation."""

from collections import Counter

import seaborn
from matplotlib.axes import Axes
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from xnnlib import complexity
from xnnlib.report.levels import PART_TITLES, PARTS, part
from xnnlib.report.style import COLORS, HATCHES, MARKERS, TEXT_WIDTH, PaperFigure, new_figure, styled
from xnnlib.spec import BLOCK_TITLES, BLOCKS, NetworkSpec

MEASURES = {"macs": "MACs (millions)", "coefficients": "Coefficients (millions)"}
KIND_LABELS = {
    "convolution": "convolutions",
    "linear": "classifier",
    "se": "squeeze and\nexcite",
    "routing": "routing",
    "mixing": "mixing of\nexperts",
}


def costs(num_classes: int) -> list[dict]:
    """What Figure 6 draws: block, part of the network, kind, MACs and coefficients over all repeats."""
    rows = []
    for block in BLOCKS:
        spec = NetworkSpec(block, num_classes)
        for operation in complexity.count(spec):
            macs, coefficients = complexity.total([operation])
            place = part(spec.stages[operation.stage])
            rows.append(
                {
                    "block": block,
                    "part": place,
                    "kind": operation.kind,
                    "macs": macs,
                    "coefficients": coefficients,
                }
            )
    return rows


@styled
def figure_6(num_classes: int = 100) -> PaperFigure:
    """Bars: totals of each part of the network; marks on a logarithmic axis: totals of each kind."""
    rows = costs(num_classes)
    figure = new_figure(TEXT_WIDTH, 4.5, rows)
    grid = figure.subplots(2, 2, sharey="row", gridspec_kw={"height_ratios": (1.7, 1)})
    for column, (measure, label) in enumerate(MEASURES.items()):
        _draw_parts(grid[0, column], totals(rows, "part", measure))
        _draw_kinds(grid[1, column], totals(rows, "kind", measure))
        for axes in grid[:, column]:
            axes.get_legend().remove()
            axes.set(xlabel=label, ylabel="")
            axes.grid(axis="x")
    for axes, names, titles in (
        (grid[0, 0], PARTS, PART_TITLES),
        (grid[1, 0], complexity.KINDS, KIND_LABELS),
    ):
        axes.set_yticks(range(len(names)), [titles[name] for name in names])
    bars = [
        Patch(facecolor=COLORS[block], edgecolor="white", linewidth=0, hatch=HATCHES[block])
        for block in BLOCKS
    ]
    marks = [Line2D([], [], color=COLORS[block], marker=MARKERS[block], linestyle="none") for block in BLOCKS]
    figure.legend(
        list(zip(bars, marks, strict=True)),
        [BLOCK_TITLES[block] for block in BLOCKS],
        handler_map={tuple: HandlerTuple(ndivide=None)},
        handlelength=3,
        loc="upper center",
        ncols=3,
    )
    figure.subplots_adjust(left=0.115, right=0.985, bottom=0.085, top=0.93, wspace=0.06, hspace=0.27)
    return figure


def totals(rows: list[dict], by: str, measure: str) -> dict[str, list]:
    """A measure's sum in millions for each block and each `by`, "part" or "kind", as columns."""
    sums = Counter()
    for row in rows:
        sums[row["block"], row[by]] += row[measure]
    return {
        "block": [block for block, _ in sums],
        "place": [place for _, place in sums],
        "millions": [value / 1e6 for value in sums.values()],
    }


def _draw_parts(axes: Axes, columns: dict[str, list]) -> None:
    order = {"x": "millions", "y": "place", "hue": "block", "order": PARTS, "hue_order": BLOCKS}
    seaborn.barplot(columns, **order, palette=COLORS, saturation=1, ax=axes)
    for bars, block in zip(axes.containers, BLOCKS, strict=True):
        for bar in bars:
            bar.set(hatch=HATCHES[block], edgecolor="white", linewidth=0)


def _draw_kinds(axes: Axes, columns: dict[str, list]) -> None:
    order = {"x": "millions", "y": "place", "hue": "block", "order": complexity.KINDS, "hue_order": BLOCKS}
    markers = [MARKERS[block] for block in BLOCKS]
    look = {"palette": COLORS, "markers": markers, "markersize": 4, "linestyle": "none", "dodge": 0.6}
    seaborn.pointplot(columns, **order, **look, errorbar=None, ax=axes)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
