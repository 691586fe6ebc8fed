"""How block C's routing was settled: the runs of results/routing, and what was found in them."""

from collections.abc import Sequence
from math import log
from pathlib import Path
from statistics import mean, median

from pydantic import BaseModel, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from xnnlib.errors import UserError
from xnnlib.records import WEIGHTS, Run
from xnnlib.report.estimates import Estimate, discordant_difference, format_estimate, format_setting
from xnnlib.report.experiments import Experiment
from xnnlib.report.inside import load_found
from xnnlib.report.numbers import Number
from xnnlib.report.style import COLUMN_WIDTH, PaperFigure, applied
from xnnlib.report.summary import each_top1, run_source, top1_by_seed, top1_digits
from xnnlib.report.tables import Table

STUDY = "routing/study.json"
TITLES = {
    "torch_init": "unscaled, PyTorch's initialisation",
    "zero_init": "unscaled, from zero",
    "equalised": "equalised",
    "shared": "unscaled, from zero, one routing a block",
    "frozen": "frozen at one half",
}
CONTROLS = ("frozen", "none")
PARTS = ("expand", "depthwise", "project")
# What the routing weights are replaced by, as `xnnlib.analysis.analyse` names it.
REPLACED = ("routing_mean", "routing_other")
LOOKS = {
    "frozen": {"color": "#444444", "linestyle": "--"},
    "equalised": {"color": "#009E73", "linestyle": "-"},
    "zero_init": {"color": "#CC79A7", "linestyle": "-"},
    "torch_init": {"color": "#E69F00", "linestyle": "-."},
}


class _Conditioning(BaseModel):
    weights: str
    images: PositiveInt
    sd: dict[str, float]
    without: dict[str, dict[str, float]]
    outliers: NonNegativeInt
    median_loss: NonNegativeFloat
    scale: PositiveFloat | None


class _FirstEpoch(BaseModel):
    loss: list[float]
    routing: list[float]
    scale: list[list[float]]


class _Study(BaseModel):
    runs: dict[str, _Conditioning]
    first_epoch: dict[str, _FirstEpoch]

    def files(self) -> dict[str, str]:
        runs = self.runs.items()
        return {f"{name.removeprefix('routing/')}/{WEIGHTS}": measured.weights for name, measured in runs}


def load_study(results_dir: Path) -> dict:
    """The study's measurements, by run (`routing/frozen/se_cond-seed0`) and by routing; empty if not made.

    Raises UserError as `load_found` does.
    """
    path = Path(results_dir, STUDY)
    if not path.exists():
        return {"runs": {}, "first_epoch": {}}
    return load_found(path, _Study)


def in_study(one: Experiment) -> bool:
    """Whether an experiment is one of those that settled the routing."""
    return one.profile.startswith("routing/")


def title_of(run: Run) -> str:
    """How a run routes: `unscaled, from zero, only from level 4 on`."""
    network, rate = run.record["network"], run.record["recipe"]["routing_learning_rate"]
    if run.record["block"] == "se":
        return "none, one expert (block B)"
    parts = [TITLES[network["routing"]]]
    parts += [f"only from level {network['conditional_from']} on"] if network["conditional_from"] > 1 else []
    parts += [f"learning rate × {format_setting(rate)}"] if rate != 1 else []
    return ", ".join(parts)


def _measurements(one: Experiment, study: dict) -> list[dict]:
    """What was found in each seed; a network that overflows with rounded weights is no longer the run's."""
    names = (run_source(run).removeprefix("results/") for run in one.runs)
    found = (study["runs"][name] for name in names if name in study["runs"])
    return [own for own in found if own["scale"] is not None]


def _replaced(one: Experiment, study: dict, name: str) -> list[dict]:
    """What was found in each seed whose routing was replaced, with the images `gained` and `lost` by it."""
    return [own | own["without"][name] for own in _measurements(one, study) if name in own["without"]]


def _changes(one: Experiment, study: dict) -> dict[str, Estimate]:
    """What replacing the routing changes, in points, as a mean over the seeds that were analysed.

    The seeds share their images, so the interval is as wide as for one of them.
    """
    changes = {}
    for name in REPLACED:
        if found := _replaced(one, study, name):
            counts = (mean(own[which] for own in found) for which in ("gained", "lost"))
            changes[name] = discordant_difference(*counts, found[0]["images"])
    return changes


def _routing_sd(one: Experiment, study: dict) -> dict[str, float]:
    """The routing weights' standard deviation by convolution, a mean over the seeds."""
    found = [own["sd"] for own in _measurements(one, study)]
    shared = {part: [sd.get(part, sd.get("routing")) for sd in found] for part in PARTS}
    return {part: mean(values) for part, values in shared.items() if values and None not in values}


def study_table(experiments: Sequence[Experiment], study: dict) -> Table:
    """A row for each routing variant: accuracy, how far the routing moves, and what is lost without it."""
    rows = []
    for one in filter(in_study, experiments):
        digits, top1 = top1_digits(one.runs), ", ".join(each_top1(one.runs))
        sd, changes = _routing_sd(one, study), _changes(one, study)
        shown = [f"{sd[part]:.3f}" if part in sd else "" for part in PARTS]
        shown += [
            format_estimate(changes[name], digits, True) if name in changes else "" for name in REPLACED
        ]
        rows.append((title_of(one.runs[0]), top1, *shown))
    columns = ("Routing", "Top-1 (%)", "SD, first 1×1", "SD, depthwise", "SD, last 1×1")
    return Table((*columns, "Mean routing", "Another image's"), "lrrrrrr", tuple(rows))


def _gain(runs: Sequence[Run], control: Sequence[Run]) -> Number:
    """Points of top-1 that the runs lie above the control's, of the seeds that both have if there are any."""
    own, others, both = top1_by_seed(runs), top1_by_seed(control), [*runs, *control]
    seeds = own.keys() & others.keys()
    top1, other = ([side[seed] for seed in seeds or side] for side in (own, others))
    gain = mean(top1) - mean(other)
    return Number.measured(Estimate(gain), top1_digits(both), both, signed=True)


def study_numbers(experiments: Sequence[Experiment], study: dict) -> dict[str, Number]:
    """Numbers such as `study.epochs`, `routing-frozen.routing_mean` and `first-epoch.zero_init.last_block`.

    Changes in points of top-1; `over_frozen` and `over_none` are gains over these two controls, and
    `study.best_over_frozen` is that of the best variant. `worst_loss` is that of the seed with the largest,
    `first_loss` the largest after the first epoch; `outliers`, `median_loss` and `scale` are what
    `xnnlib.routing_study.outliers` found in the former. `study.chosen` is the most accurate of the variants
    that need their routing, `study.overflown` the runs whose networks overflow with their weights rounded to
    half precision. Of a first epoch, as medians over its last ten steps, the `scale` of
    the first and of the last block and the standard deviation of the `routing`.
    """
    found = {}
    if runs := [run for one in filter(in_study, experiments) for run in one.runs]:
        record, sources = runs[0].record, tuple(map(run_source, runs))
        shared = {"epochs": record["epochs"]}
        shared |= {name: record["recipe"][name] for name in ("crop", "batch_size", "peak_learning_rate")}
        shared |= {name: record["dataset"][name] for name in ("num_classes", "val_images")}
        shared["seeds"] = min(len(one.runs) for one in experiments if in_study(one))
        overflown = [
            f"{title_of(run)}, seed {run.record['seed']}"
            for run in runs
            if (own := study["runs"].get(run_source(run).removeprefix("results/"))) and own["scale"] is None
        ]
        shared["overflown"] = "; ".join(overflown) or "none"
        chance = log(shared["num_classes"])
        found["study.chance_loss"] = Number.of(chance, sources, f"{chance:.1f}")
        found |= {f"study.{name}": Number.of(value, sources) for name, value in shared.items()}
    runs_of = {one.profile.removeprefix("routing/"): one.runs for one in experiments if in_study(one)}
    for one in filter(in_study, experiments):
        sources, digits = tuple(map(run_source, one.runs)), top1_digits(one.runs)
        key = one.profile.replace("/", "-")
        worst = max(one.runs, key=lambda run: run.record["last"]["loss"])
        found |= {f"{key}.{name}": number for name, number in _loss_numbers(worst, study).items()}
        first = max(run.epochs["val_loss"][0] for run in one.runs)
        found[f"{key}.first_loss"] = Number.of(first, sources, f"{first:,.0f}")
        for name, change in _changes(one, study).items():
            found[f"{key}.{name}"] = Number(*change, format_estimate(change, digits, True), sources)
            counts = ((own["gained"], own["lost"], own["images"]) for own in _replaced(one, study, name))
            seeds = [discordant_difference(*own).value for own in counts]
            found[f"{key}.{name}_seeds"] = Number.each(seeds, digits, one.runs, signed=True)
        for control in CONTROLS:
            if control in runs_of:
                found[f"{key}.over_{control}"] = _gain(one.runs, runs_of[control])
    variants = [name for name in runs_of if name not in CONTROLS]
    if variants and "frozen" in runs_of:
        over = (found[f"routing-{name}.over_frozen"] for name in variants)
        found["study.best_over_frozen"] = max(over, key=lambda number: number.value)
    changes = {name: found.get(f"routing-{name}.routing_mean") for name in variants}
    if conditional := [name for name, change in changes.items() if change and change.high < 0]:
        best = max(conditional, key=lambda name: mean(top1_by_seed(runs_of[name]).values()))
        sources = [run_source(run) for name in variants for run in runs_of[name]]
        found["study.chosen"] = Number.of(title_of(runs_of[best][0]), sources)
    return found | _first_epoch_numbers(study)


def _loss_numbers(run: Run, study: dict) -> dict[str, Number]:
    source, loss = run_source(run), run.record["last"]["loss"]
    shown = {"worst_loss": (loss, f"{loss:.1f}")}
    measured = study["runs"].get(source.removeprefix("results/"))
    if measured and measured["scale"] is not None:  # outputs that overflow have no median to speak of
        shown["median_loss"] = (measured["median_loss"], f"{measured['median_loss']:.1f}")
        shown |= {name: (measured[name], format_setting(measured[name])) for name in ("outliers", "scale")}
    return {name: Number.of(value, (source,), text) for name, (value, text) in shown.items()}


def _first_epoch_numbers(study: dict) -> dict[str, Number]:
    found = {}
    for kind, steps in study["first_epoch"].items():
        first, *_, last = (median(scales) for scales in zip(*steps["scale"][-10:], strict=True))
        routing = median(steps["routing"][-10:])
        shown = {"first_block": (first, ".1f"), "last_block": (last, ".0f"), "routing": (routing, ".3f")}
        for name, (value, form) in shown.items():
            found[f"first-epoch.{kind}.{name}"] = Number.of(value, (f"results/{STUDY}",), f"{value:{form}}")
    return found


@applied()
def figure_8(study: dict) -> PaperFigure:
    """The first epoch of four routings: the loss, and how unequal the images' activations are, by step."""
    epochs = study["first_epoch"]
    if missing := [kind for kind in LOOKS if kind not in epochs]:
        raise UserError(f"results/{STUDY} lacks {', '.join(missing)}; run notebooks/analysis.ipynb.")
    data = {kind: {name: epochs[kind][name] for name in ("loss", "scale")} for kind in LOOKS}
    figure = PaperFigure(COLUMN_WIDTH, 3.4, data)
    loss, scale = figure.subplots(2, 1, sharex=True)
    for kind, steps in data.items():
        count = range(1, len(steps["loss"]) + 1)
        loss.plot(count, steps["loss"], label=TITLES[kind], linewidth=1, **LOOKS[kind])
        scale.plot(count, [scales[-1] for scales in steps["scale"]], linewidth=1, **LOOKS[kind])
    loss.set(ylabel="Loss")
    scale.set(ylabel="Largest image / median", yscale="log", xlabel="Step of the first epoch")
    figure.legend(loc="upper center", ncols=2, columnspacing=1, handlelength=2)
    figure.subplots_adjust(left=0.155, right=0.985, bottom=0.115, top=0.86, hspace=0.12)
    return figure
