"""Every number that the prose may name: its value, its text, and where it comes from.

Texts carry no percent sign and no unit but the M of millions; the sentence supplies them. Measured values
over several seeds read `51.2 ± 0.8`: mean and 95 % confidence interval. Text is made from the value here and
is nowhere read back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import mean

from xnnlib import complexity
from xnnlib.errors import UserError
from xnnlib.records import Run
from xnnlib.report.estimates import (
    Estimate,
    estimate,
    millions,
    setting_text,
    size,
    text,
)
from xnnlib.report.published import NETWORKS, PUBLISHED
from xnnlib.report.summary import (
    DATASET_TITLES,
    PARTS,
    by_block,
    device_title,
    last_values,
    parts,
    run_source,
    shared,
    top1_digits,
    top1_gains,
)
from xnnlib.spec import BLOCKS, LEVELS, TABLE_1, NetworkSpec

COUNTED = ("xnnlib.complexity",)


@dataclass(frozen=True)
class Number:
    """A number as the prose shows it, and where it was measured or computed.

    `value` is a text where there is no number to compare, such as a device. `interval` is the 95 % confidence
    interval (low, high), None where there is none. `sources` are run folders, modules or publications.
    """

    value: float | str
    interval: tuple[float, float] | None
    text: str
    sources: tuple[str, ...]

    @property
    def low(self) -> float | str:
        """The lower end of the interval, or the value where there is none."""
        return self.interval[0] if self.interval else self.value

    @property
    def high(self) -> float | str:
        """The upper end of the interval, or the value where there is none."""
        return self.interval[1] if self.interval else self.value

    @classmethod
    def of(cls, value: float | str, sources: Sequence[str], shown: str | None = None) -> "Number":
        """A value without an interval, shown as settings are unless `shown` says how."""
        return cls(value, None, setting_text(value) if shown is None else shown, tuple(sources))

    @classmethod
    def measured(cls, value: Estimate, digits: int, runs: Sequence[Run], signed: bool = False) -> "Number":
        """An estimate from runs."""
        return cls(value.value, value.interval, text(value, digits, signed), tuple(map(run_source, runs)))


def numbers(runs: Sequence[Run]) -> dict[str, Number]:
    """All numbers of the given runs, of the paper's network and of what others published.

    Raises UserError if there are no runs. Keys of a block appear only if it was run, and those that compare
    two blocks only if both were.
    """
    return _published() | _network() | _counted() | _shares() | run_numbers(runs)


def run_numbers(runs: Sequence[Run], prefix: str = "") -> dict[str, Number]:
    """What the records say: of all runs, of each block, and of one block against another.

    With a `prefix`, as for the runs of another profile than the paper's, keys begin with it: `small.se.top1`.
    """
    if not runs:
        raise UserError("there are no runs to take numbers from; train a profile first.")
    found, digits = _common(runs), top1_digits(runs)
    groups = by_block(runs)
    for block, group in groups.items():
        found |= _measured(block, group, digits)
    for first, second in combinations(groups, 2):
        found |= _compared(second, groups[second], first, groups[first], digits)
    return {f"{prefix}.{key}" if prefix else key: number for key, number in found.items()}


def _common(runs: Sequence[Run]) -> dict[str, Number]:
    sources = tuple(map(run_source, runs))

    def of(value: Callable[[dict], object]) -> Number:
        values = {value(run.record) for run in runs}
        shown = shared(runs, lambda run: value(run.record))
        return Number.of(values.pop() if len(values) == 1 else shown, sources, shown)

    all_seeds = {run.record["seed"] for run in runs}
    hours = sum(run.record["train_seconds"] for run in runs) / 3600
    classes = max(run.record["dataset"]["num_classes"] for run in runs)
    found = {
        "profile": of(lambda record: record["profile"]),
        "dataset": of(
            lambda record: DATASET_TITLES.get(record["dataset"]["name"], record["dataset"]["name"])
        ),
        "num_classes": of(lambda record: record["dataset"]["num_classes"]),
        "train_images": of(lambda record: record["dataset"]["train_images"]),
        "val_images": of(lambda record: record["dataset"]["val_images"]),
        "fingerprint": of(lambda record: record["dataset"]["fingerprint"][:12]),
        "chance": Number.of(100 / classes, ("100 / number of classes",)),
        "epochs": of(lambda record: record["epochs"]),
        "seeds": Number.of(len(all_seeds), sources),
        "runs": Number.of(len(runs), sources),
        "reduction": of(lambda record: record["network"]["reduction"]),
        "experts": of(lambda record: record["network"]["experts"]),
        "device": of(lambda record: device_title(record["device"])),
        "versions.python": of(lambda record: record["versions"]["python"]),
        "versions.torch": of(lambda record: record["versions"]["torch"]),
        "train_hours": Number.of(hours, sources, f"{hours:.1f}"),
    }
    for field in runs[0].record["recipe"]:
        found[f"recipe.{field}"] = of(lambda record, field=field: record["recipe"].get(field, "not set"))
    return found


def _measured(block: str, group: list[Run], digits: int) -> dict[str, Number]:
    records = [run.record for run in group]
    last = [record["last"]["top1"] for record in records]
    share = mean(last) / 100
    # Of one seed, from the choice of the validation images: 95 %, normal approximation, in points.
    sampling_error = 196 * sqrt(share * (1 - share) / records[0]["dataset"]["val_images"])
    sides = zip(last_values(group, "train_top1"), last_values(group, "val_top1"), strict=True)
    gaps = [training - validation for training, validation in sides]
    sources = tuple(map(run_source, group))
    values = {
        "top1": Number.measured(estimate(last), digits, group),
        "top1_best": Number.measured(estimate([r["best"]["top1"] for r in records]), digits, group),
        "sampling_error": Number.of(sampling_error, sources, f"{sampling_error:.1f}"),
        "loss": Number.measured(estimate(last_values(group, "val_loss")), 2, group),
        "train_top1": Number.measured(estimate(last_values(group, "train_top1")), digits, group),
        "train_loss": Number.measured(estimate(last_values(group, "train_loss")), 2, group),
        "overfit_gap": Number.measured(estimate(gaps), digits, group, signed=True),
        "precision": Number.of(shared(group, lambda run: run.record["recipe"]["precision"]), sources),
        "seeds": Number.of(len(group), sources),
    }
    return {f"{block}.{name}": number for name, number in values.items()}


def _compared(block: str, group: list[Run], base: str, baseline: list[Run], digits: int) -> dict[str, Number]:
    """One block against an earlier one: `se.top1_gain` is over A, `se_cond.top1_gain_over_se` over B."""
    suffix = "" if base == BLOCKS[0] else f"_over_{base}"
    gains = zip(("top1_gain", "top1_gain_welch"), top1_gains(group, baseline), strict=True)
    return {
        f"{block}.{name}{suffix}": Number.measured(gain, digits, group + baseline, signed=True)
        for name, gain in gains
    }


def _published() -> dict[str, Number]:
    found = {key: Number.of(value, (source,), f"{value:,}") for key, (value, source) in PUBLISHED.items()}
    for key, (_, *values, source) in NETWORKS.items():
        for name, value in zip(("top1", "macs", "parameters"), values, strict=True):
            found[f"published.{key}.{name}"] = Number.of(value, (source,), str(value))
    return found


def _network() -> dict[str, Number]:
    """Sizes of the network that the text names, from Table 1."""
    first, blocks, classifier = TABLE_1[0], TABLE_1[1:-2], TABLE_1[-1]
    values = {
        "input": size(first.in_channels, first.size, first.size),
        "input_size": f"{first.size} × {first.size}",
        "stem_channels": first.out_channels,
        "last_size": size(classifier.size, classifier.size),
        "last_channels": classifier.in_channels,
        "expansion": blocks[0].expansion,
        "filter_size": size(blocks[0].filter_size, blocks[0].filter_size),
        "level_5_widths": " and ".join(str(width) for width in LEVELS[-1]),
        "num_classes": NetworkSpec().num_classes,
    }
    # Sizes stand in running text without thousands separators, as in the tables.
    return {
        f"network.{name}": Number.of(value, ("xnnlib.spec, Table 1",), str(value))
        for name, value in values.items()
    }


MEASURES = ("macs", "coefficients")  # in the order of complexity.total


def _counted() -> dict[str, Number]:
    found: dict[str, Number] = {}
    operations = {block: complexity.count(NetworkSpec(block)) for block in BLOCKS}
    totals = {block: complexity.total(operations[block]) for block in BLOCKS}
    for block in BLOCKS:
        for index, name in enumerate(MEASURES):
            own, standard = totals[block][index], totals["standard"][index]
            found[f"{name}.{block}"] = Number.of(own, COUNTED, millions(own))
            found[f"{name}.{block}.exact"] = Number.of(own, COUNTED)
            for kind in complexity.KINDS:
                value = complexity.total(operations[block], (kind,))[index]
                if value:
                    found[f"{name}.{block}.{kind}"] = Number.of(value, COUNTED, millions(value))
            if block != "standard":
                ratio, extra = own / standard, 100 * (own / standard - 1)
                found[f"{block}.{name}_ratio"] = Number.of(ratio, COUNTED, f"{ratio:.2f}")
                found[f"{block}.{name}_extra"] = Number.of(own - standard, COUNTED, millions(own - standard))
                found[f"{block}.{name}_extra_percent"] = Number.of(extra, COUNTED, f"{extra:.1f}")
    return found


def _shares() -> dict[str, Number]:
    """Where block A's cost is, in percent of all, by the parts of Figure 1."""
    spec = NetworkSpec()
    operations, places = complexity.count(spec), parts(spec)
    groups = {one: (one,) for one in PARTS} | {
        "levels_1_3": PARTS[1:4],
        "head": PARTS[-2:],
    }
    found = {}
    for index, name in enumerate(MEASURES):
        whole = complexity.total(operations)[index]
        for group, members in groups.items():
            chosen = [item for item in operations if places[item.stage] in members]
            percent = 100 * complexity.total(chosen)[index] / whole
            shown = f"{percent:.1f}" if percent >= 0.1 else f"{percent:.2g}"
            found[f"{name}.{group}_share"] = Number.of(percent, COUNTED, shown)
    return found
