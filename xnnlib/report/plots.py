"""The figures with axes: Figure 5 (training), Figure 6 (accuracy against cost), the embedded images."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import product
from math import log
from statistics import mean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from xnnlib import complexity
from xnnlib.data import shapes
from xnnlib.errors import UserError
from xnnlib.records import Run
from xnnlib.report.estimates import estimate
from xnnlib.report.style import COLORS, COLUMN_WIDTH, MARKERS, TEXT_WIDTH, PaperFigure, applied
from xnnlib.report.summary import by_block, letter, network_title, top1_by_seed
from xnnlib.spec import BLOCKS

# The two panels: the columns of epochs.csv in validation and in training, and the axis.
PANELS = (("val_top1", "train_top1", "Top-1 accuracy (%)"), ("val_loss", "train_loss", "Cross entropy"))
MARKS = 6  # markers along a line, staggered between blocks so that none hides another
DASHED = {"linestyle": (0, (4, 2)), "linewidth": 0.9, "markersize": 3, "markerfacecolor": "white"}
THIN = {"linewidth": 0.5, "alpha": 0.6}
GREY = "#444444"
# The profile that shows that everything works, on images that are no result.
DEMONSTRATION = "quick"


def curves(runs: Sequence[Run]) -> dict:
    """What Figure 5 draws: of each block and column the values of each seed, by epoch, and what a line is.

    Raises UserError if the seeds of a block have not all run the same epochs.
    """
    blocks = {}
    for block, group in by_block(runs).items():
        epochs = group[0].epochs["epoch"]
        if other := next((run.path for run in group if run.epochs["epoch"] != epochs), None):
            raise UserError(f"{other} has other epochs than {group[0].path}; train both to the same end.")
        columns = {column: [run.epochs[column] for run in group] for panel in PANELS for column in panel[:2]}
        blocks[block] = {"title": network_title(group[0]), "epoch": epochs} | columns
    seeds = max(len(series["val_top1"]) for series in blocks.values())
    return {
        "profiles": sorted({run.record["profile"] for run in runs}),
        "classes": max(run.record["dataset"]["num_classes"] for run in runs),
        "blocks": blocks,
        "lines": f"mean of {seeds} seeds; thin: each seed" if seeds > 1 else "one seed",
    }


@applied()
def figure_5(runs: Sequence[Run]) -> PaperFigure:
    """Top-1 and loss by epoch: validation solid, with each seed as a thin line, training dashed.

    The demonstration profile is named inside the figure. Raises UserError as `curves` does.
    """
    data = curves(runs)
    figure, classes = PaperFigure(TEXT_WIDTH, 2.6, data), data["classes"]
    panels = figure.subplots(1, 2)
    chances = ((100 / classes, "bottom", 2), (log(classes), "top", -2))
    for axes, (*columns, label), (level, va, offset) in zip(panels, PANELS, chances, strict=True):
        for block, series in data["blocks"].items():
            _draw_curves(axes, block, series, *columns)
        axes.set(xlabel="Epoch", ylabel=label)
        axes.grid(axis="y")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.axhline(level, color="#555555", linewidth=0.8, linestyle=":", label="chance", zorder=1)
        place = {"xycoords": ("axes fraction", "data"), "xytext": (-2, offset), "textcoords": "offset points"}
        card = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
        look = {"ha": "right", "va": va, "color": GREY, "bbox": card}
        axes.annotate(f"chance, {classes} classes", (1, level), **place, **look)
    panels[0].set_ylim(0, None)
    handles = [
        Line2D([], [], label=series["title"], color=COLORS[block], marker=MARKERS[block])
        for block, series in data["blocks"].items()
    ]
    handles.append(Line2D([], [], color=GREY, label=f"validation ({data['lines']})"))
    handles.append(Line2D([], [], color=GREY, label="training", **DASHED))
    figure.legend(handles=handles, loc="upper center", ncols=3, columnspacing=1.5, handlelength=2.4)
    figure.subplots_adjust(left=0.065, right=0.99, bottom=0.155, top=0.83, wspace=0.17)
    if DEMONSTRATION in data["profiles"]:
        note = f"profile {DEMONSTRATION}: a demonstration, not the paper's result"
        look = {"boxstyle": "round", "facecolor": "#FFF4CC", "edgecolor": "#8A6D00", "linewidth": 0.6}
        figure.text(0.525, 0.5, note, ha="center", va="center", weight="bold", bbox=look)
    return figure


def _draw_curves(axes: Axes, block: str, series: dict, validation: str, training: str) -> None:
    color, epochs = COLORS[block], series["epoch"]
    step = max(1, round(len(epochs) / MARKS))
    marks = {"marker": MARKERS[block], "markevery": (BLOCKS.index(block) * step // len(BLOCKS), step)}
    for column, look in ((validation, marks), (training, marks | DASHED)):
        means = [mean(values) for values in zip(*series[column], strict=True)]
        axes.plot(epochs, means, color=color, label=f"{block} {column}", **look)
    for values in series[validation] if len(series[validation]) > 1 else ():
        axes.plot(epochs, values, color=color, label=f"{block} {validation} seed", **THIN)


@applied()
def figure_6(runs: Sequence[Run], latency: Mapping[str, float]) -> PaperFigure:
    """Top-1 against MACs, coefficients and, if each block has one, the latency in milliseconds.

    Each seed is a small mark, their mean a large one; from three seeds on it has its 95 % interval, which
    over two is several times as long as the axis.
    """
    labels = {"macs": "MACs of one image (millions)", "coefficients": "Coefficients (millions)"}
    if by_block(runs).keys() <= latency.keys():
        labels["latency"] = "Latency of one image (ms)"
    rows = [
        cost_row(block, group)
        | {"latency": latency.get(block), "look": {"color": COLORS[block], "marker": MARKERS[block]}}
        for block, group in by_block(runs).items()
    ]
    return accuracy_against_costs(rows, labels)


def cost_row(name: str, runs: Sequence[Run]) -> dict:
    """A network's `title`, top-1 by seed, and MACs of an image and coefficients, in millions."""
    macs, coefficients = complexity.total(complexity.count(runs[0].spec))
    top1 = list(top1_by_seed(runs).values())
    counts = {"macs": macs / 1e6, "coefficients": coefficients / 1e6}
    return {"name": name, "title": network_title(runs[0]), "top1": top1} | counts


def accuracy_against_costs(rows: list[dict], labels: Mapping[str, str]) -> PaperFigure:
    """A panel for each cost, a key of `labels` with its axis; each row a network, in its `look`.

    A row has `name`, `title`, `top1` of each seed in percent, and the costs; without one it is not in that
    panel. Blocks have their letter beside their mark.
    """
    columns = min(4, len(rows))
    figure = PaperFigure(TEXT_WIDTH, 2.3 + 0.17 * (len(rows) > columns), rows)
    panels = figure.subplots(1, len(labels), sharey=True)
    for axes, (cost, label) in zip(panels, labels.items(), strict=True):
        placed = [row for row in rows if row[cost] is not None]
        last = max((row for row in placed if row["name"] in BLOCKS), key=lambda row: row[cost], default=None)
        for row in placed:
            # Letters to the left, but for the last: costs that are almost the same stay legible.
            _draw_accuracy(axes, row, row[cost], "left" if row is last else "right")
        axes.set(xlabel=label, xlim=(0, 1.12 * max(row[cost] for row in placed)))
        axes.grid()
    panels[0].set_ylabel("Top-1 accuracy (%)")
    panels[0].margins(y=0.1)
    handles = [Line2D([], [], label=row["title"], linestyle="none", **row["look"]) for row in rows]
    figure.legend(handles=handles, loc="upper center", ncols=columns)
    top = 0.88 if len(rows) <= columns else 0.82
    figure.subplots_adjust(left=0.075, right=0.985, bottom=0.175, top=top, wspace=0.07)
    return figure


def _draw_accuracy(axes: Axes, row: dict, cost: float, ha: str) -> None:
    name, seeds, look = row["name"], row["top1"], row["look"] | {"linestyle": "none"}
    middle = estimate(seeds)
    if len(seeds) > 1:
        axes.plot([cost] * len(seeds), seeds, markersize=2.5, alpha=0.6, label=f"{name} seeds", **look)
    if len(seeds) > 2:
        axes.vlines(cost, *middle.interval, color=look["color"], linewidth=1)
    axes.plot([cost], [middle.value], markersize=6, label=f"{name} mean", **look)
    if name in BLOCKS:
        place = {"xytext": (6 if ha == "left" else -6, 3), "textcoords": "offset points", "ha": ha}
        axes.annotate(letter(name), (cost, middle.value), weight="bold", **place)


@applied()
def shapes_sheet(num_classes: int = 10, per_class: int = 7, size: int = 32) -> PaperFigure:
    """Images of the embedded `shapes`, `size` x `size` pixels: a row for each of the first classes."""
    gap, names = 2, shapes.CLASS_NAMES[:num_classes]
    step = size + gap
    sheet = np.full((num_classes * step + gap, per_class * step + gap, 3), 255, np.uint8)
    for label, index in product(range(num_classes), range(per_class)):
        y, x = gap + label * step, gap + index * step
        sheet[y : y + size, x : x + size] = shapes.make_image(label, index, size).transpose(1, 2, 0)
    digest = hashlib.sha256(sheet.tobytes()).hexdigest()
    left = 0.62
    height = (COLUMN_WIDTH - left) * sheet.shape[0] / sheet.shape[1]
    figure = PaperFigure(COLUMN_WIDTH, height, {"names": names, "pixels": digest})
    axes = figure.add_axes((left / COLUMN_WIDTH, 0, 1 - left / COLUMN_WIDTH, 1))
    # "none" stores the pixels as they are; anything else would resample them to the figure's grid.
    axes.imshow(sheet, interpolation="none", aspect="auto")
    axes.set_yticks([gap + size / 2 + row * (size + gap) for row in range(num_classes)], names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
