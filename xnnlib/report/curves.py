"""Figure 5: accuracy and loss of every block, epoch by epoch, from the run records."""

from math import log
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from xnnlib.errors import UserError
from xnnlib.records import Run
from xnnlib.report.style import COLORS, MARKERS, TEXT_WIDTH, PaperFigure, new_figure, styled
from xnnlib.report.summary import by_block
from xnnlib.spec import BLOCK_TITLES, BLOCKS

# The two panels: the columns of epochs.csv in validation and in training, and the axis.
PANELS = (("val_top1", "train_top1", "Top-1 accuracy (%)"), ("val_loss", "train_loss", "Cross entropy"))
MARKS = 8  # markers along a line, staggered between blocks so that none hides another

DASHED = {"linestyle": (0, (4, 2)), "linewidth": 0.8, "markersize": 3, "markerfacecolor": "white"}


def curves(runs: list[Run]) -> dict:
    """What Figure 5 draws: of each block and column the mean, lowest and highest value of its seeds.

    Raises UserError if the seeds of a block have not all run the same epochs.
    """
    data = {
        "profiles": sorted({run.record["profile"] for run in runs}),
        "epochs": max(run.record["recipe"]["epochs"] for run in runs),
        "classes": max(run.record["dataset"]["num_classes"] for run in runs),
        "blocks": {},
    }
    for block, group in by_block(runs).items():
        epochs = group[0].epochs["epoch"]
        for run in group[1:]:
            if run.epochs["epoch"] != epochs:
                raise UserError(
                    f"{run.path} has other epochs than {group[0].path}; train both to the same end."
                )
        series = {"epoch": epochs, "seeds": len(group)}
        for column in (column for panel in PANELS for column in panel[:2]):
            values = list(zip(*(run.epochs[column] for run in group), strict=True))
            series[column] = {
                "mean": [mean(value) for value in values],
                "low": [min(value) for value in values],
                "high": [max(value) for value in values],
            }
        data["blocks"][block] = series
    return data


@styled
def figure_5(runs: list[Run]) -> PaperFigure:
    """Validation (solid) and training (thin, dashed) top-1 and loss, mean over seeds, band lowest to highest.

    A profile other than `paper` is named inside the figure. Raises UserError as `curves` does.
    """
    data = curves(runs)
    figure = new_figure(TEXT_WIDTH, 2.75, data)
    panels = figure.subplots(1, 2)
    for axes, (validation, training, label) in zip(panels, PANELS, strict=True):
        for block, series in data["blocks"].items():
            _draw(axes, block, series, validation, training)
        axes.set(xlabel=f"Epoch{_band(data)}", ylabel=label)
        axes.grid(axis="y")
        axes.xaxis.get_major_locator().set_params(integer=True)
    chance = 100 / data["classes"], log(data["classes"])
    for axes, level, place in zip(panels, chance, ("bottom", "top"), strict=True):
        axes.axhline(level, color="#555555", linewidth=0.8, linestyle=":", label="chance", zorder=1)
        axes.annotate(
            f"chance, {data['classes']} classes",
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 2 if place == "bottom" else -2),
            textcoords="offset points",
            ha="right",
            va=place,
            color="#444444",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
    panels[0].set_ylim(0, None)
    noted = data["profiles"] != ["paper"]
    if noted:
        figure.text(0.5, 0.95, _note(data), ha="center", va="center", weight="bold", bbox=NOTE_BOX)
    _legend(figure, data, 0.84 if noted else 0.95)
    figure.subplots_adjust(left=0.065, right=0.99, bottom=0.15, top=0.77 if noted else 0.88, wspace=0.17)
    return figure


NOTE_BOX = {"boxstyle": "round,pad=0.35", "facecolor": "#FFF4CC", "edgecolor": "#8A6D00", "linewidth": 0.6}


def _note(data: dict) -> str:
    names = ", ".join(data["profiles"])
    return f"profile {names}: {data['classes']} classes, {data['epochs']} epochs; not the paper's result"


def _band(data: dict) -> str:
    seeds = max(series["seeds"] for series in data["blocks"].values())
    return f" (band: lowest to highest of {seeds} seeds)" if seeds > 1 else ""


def _draw(axes: Axes, block: str, series: dict, validation: str, training: str) -> None:
    color, epochs = COLORS[block], series["epoch"]
    step = max(1, len(epochs) // MARKS)
    marks = {"marker": MARKERS[block], "markevery": (BLOCKS.index(block) * step // len(BLOCKS), step)}
    solid, dashed = marks, marks | DASHED
    for column, look in ((validation, solid), (training, dashed)):
        values = series[column]
        axes.plot(epochs, values["mean"], color=color, label=f"{block} {column}", **look)
        if series["seeds"] > 1:
            axes.fill_between(epochs, values["low"], values["high"], color=color, alpha=0.18, linewidth=0)


def _legend(figure: PaperFigure, data: dict, y: float) -> None:
    handles = [
        Line2D([], [], color=COLORS[block], marker=MARKERS[block], label=BLOCK_TITLES[block])
        for block in data["blocks"]
    ]
    handles.append(Line2D([], [], color="#444444", label="validation"))
    handles.append(Line2D([], [], color="#444444", label="training", **DASHED))
    figure.legend(
        handles=handles,
        loc="center",
        bbox_to_anchor=(0.5, y),
        ncols=len(handles),
        columnspacing=1.3,
        handlelength=2.4,
    )
