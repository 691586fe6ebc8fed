"""Every number that the prose may name: its value, its text, and where it comes from.

Texts carry no percent sign and no unit but the M of millions; the sentence supplies them. Measured values
over several seeds read `51.2 ± 0.8`: mean and 95 % confidence interval. Text is made from the value here and
is nowhere read back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import mean

from xnnlib import complexity
from xnnlib.errors import UserError
from xnnlib.records import Run
from xnnlib.report.estimates import (
    Estimate,
    difference,
    estimate,
    format_estimate,
    format_setting,
    seed_difference,
    size,
)
from xnnlib.report.summary import (
    by_block,
    in_each_place,
    is_baseline,
    letter,
    run_source,
    shared,
    top1_by_seed,
    top1_digits,
)
from xnnlib.report.tables import Table
from xnnlib.spec import BLOCKS, LEVELS, TABLE_1, NetworkSpec

COUNTED = ("xnnlib.complexity",)
COURSE = (
    "published run of block A by the course that set this paper: "
    "https://github.com/arthurredfern/UT-Dallas-CS-6301-CNNs"
)
DATASET_TITLES = {
    "shapes": "shapes",
    "tiny-imagenet": "Tiny ImageNet",
    "imagenet64": "ImageNet at 64 pixels",
    "folder": "a folder of images",
}
# The course's run: 100 ImageNet classes, short side 64, recipe `reference`.
REFERENCE = {"top1": 72.68, "best_epoch": 53, "epochs": 55, "num_classes": 100, "train_images": 127_000}


@dataclass(frozen=True)
class Number:
    """A number as the prose shows it, and where it was measured or computed.

    `value` is a text where there is no number to compare, such as a device. `interval` is the 95 % confidence
    interval (low, high), of a speed the quartiles over the rounds, of several seeds' values the least and the
    greatest; None where there is none.
    `sources` are run folders, modules or publications.
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
        return cls(value, None, format_setting(value) if shown is None else shown, tuple(sources))

    @classmethod
    def measured(cls, value: Estimate, digits: int, runs: Sequence[Run], signed: bool = False) -> "Number":
        """An estimate from runs."""
        return cls(*value, format_estimate(value, digits, signed), tuple(map(run_source, runs)))

    @classmethod
    def each(
        cls, values: Sequence[float], digits: int, runs: Sequence[Run], signed: bool = False
    ) -> "Number":
        """The values of several seeds, `40.1 and 38.4`; the interval is from the least to the greatest."""
        *first, last = (format_estimate(Estimate(value), digits, signed) for value in values)
        text = f"{', '.join(first)} and {last}" if first else last
        return cls(mean(values), (min(values), max(values)), text, tuple(map(run_source, runs)))


def numbers(runs: Sequence[Run]) -> dict[str, Number]:
    """All numbers of the given runs, of the paper's network and of the course's run.

    Keys of a block appear only if it was run, and those that compare two blocks only if both were. Raises
    UserError if a run is of another paper's network.
    """
    if others := [run_source(run) for run in runs if is_baseline(run)]:
        raise UserError(f"{others[0]} is of another paper's network; choose a profile of the paper's own.")
    reference = {
        f"reference.{name}": Number.of(value, (COURSE,), f"{value:,}") for name, value in REFERENCE.items()
    }
    return reference | _network() | _counted() | run_numbers(runs)


def run_numbers(runs: Sequence[Run], prefix: str = "") -> dict[str, Number]:
    """What the records say: of all runs, of each block, and of one block against another.

    With a `prefix`, as for the runs of another profile than the paper's, keys begin with it: `small.se.top1`.
    """
    found = _common(runs)
    for block, group in by_block(runs).items():
        found |= {f"{block}.{name}": number for name, number in measured(group).items()}
    # `se.top1_gain` is over A, `se_cond.top1_gain_over_se` over B.
    found |= {key.removesuffix(f"_over_{BLOCKS[0]}"): gain for key, gain in block_gains(runs).items()}
    return {f"{prefix}.{key}" if prefix else key: number for key, number in found.items()}


def block_gains(runs: Sequence[Run]) -> dict[str, Number]:
    """What each block gains over each one before it: `se.top1_gain_over_standard`."""
    groups = by_block(runs)
    return {
        f"{block}.{name}_over_{base}": gain
        for base, block in combinations(groups, 2)
        for name, gain in gains(groups[block], groups[base]).items()
    }


def measured(runs: Sequence[Run]) -> dict[str, Number]:
    """What the runs of one block came to in their last epoch; `top1_seeds` is the top-1 of each seed."""
    digits, sources = top1_digits(runs), tuple(map(run_source, runs))
    top1 = list(top1_by_seed(runs).values())
    share = mean(top1) / 100
    # Of one seed, from the choice of the validation images: 95 %, normal approximation, in points.
    sampling_error = 196 * sqrt(share * (1 - share) / runs[0].record["dataset"]["val_images"])
    found = {
        "top1": Number.measured(estimate(top1), digits, runs),
        "top1_seeds": Number.each(top1, digits, runs),
        "loss": Number.measured(estimate([run.epochs["val_loss"][-1] for run in runs]), 2, runs),
        "sampling_error": Number.of(sampling_error, sources, f"{sampling_error:.1f}"),
        "seeds": Number.of(len(runs), sources),
    }
    if len(runs) > 1:  # from the worst seed to the best, in points
        trained = [run.epochs["train_top1"][-1] for run in runs]
        spreads = {"top1_spread": top1, "train_spread": trained}
        for name, values in spreads.items():
            spread = max(values) - min(values)
            found[name] = Number.of(spread, sources, f"{spread:.{digits}f}")
    return found


def gains(runs: Sequence[Run], baseline: Sequence[Run]) -> dict[str, Number]:
    """Points of top-1 that the runs lie above others: paired by seed, and with Welch's interval.

    `top1_gain_seeds` is that of each seed that both have.
    """
    both = [*runs, *baseline]
    values, others = top1_by_seed(runs), top1_by_seed(baseline)
    welch = difference(list(values.values()), list(others.values()))
    found = {"top1_gain": seed_difference(values, others), "top1_gain_welch": welch}
    shown = {name: Number.measured(gain, top1_digits(both), both, True) for name, gain in found.items()}
    by_seed = [values[seed] - others[seed] for seed in sorted(values.keys() & others.keys())]
    if by_seed:
        shown["top1_gain_seeds"] = Number.each(by_seed, top1_digits(both), both, signed=True)
    return shown


def gain_table(runs: Sequence[Run]) -> Table:
    """What one block gains over another, in points: by seed, and with Welch's interval."""
    groups, rows = by_block(runs), []
    for base, block in combinations(groups, 2):
        found = gains(groups[block], groups[base])
        texts = (found[name].text for name in ("top1_gain", "top1_gain_welch"))
        rows.append((f"{letter(block)} over {letter(base)}", *texts))
    return Table(("Blocks", "Gain by seed (points)", "Gain by Welch (points)"), "lrr", tuple(rows))


def millions(count: int) -> str:
    """A count of MACs or coefficients in prose: `145.6 M`."""
    return f"{count / 1e6:,.1f} M" if count >= 1e7 else f"{count / 1e6:,.2f} M"


def device_title(device: dict) -> str:
    """A record's device in words, with its threads on a CPU and how many trained together."""
    name = device["name"]
    if device["type"] == "cpu":
        name += f", {device['threads']} thread{'s' if device['threads'] != 1 else ''}"
    return f"{device['count']} × {name}" if "count" in device else name


# What runs have in common, by its key, from a run's record.
COMMON = {
    "dataset": lambda record: DATASET_TITLES.get(record["dataset"]["name"], record["dataset"]["name"]),
    "num_classes": lambda record: record["dataset"]["num_classes"],
    "train_images": lambda record: record["dataset"]["train_images"],
    "val_images": lambda record: record["dataset"]["val_images"],
    "fingerprint": lambda record: record["dataset"]["fingerprint"][:12],
    "chance": lambda record: 100 / record["dataset"]["num_classes"],
    "epochs": lambda record: record["epochs"],
    "recipe.batch_size": lambda record: record["recipe"]["batch_size"],
    "recipe.crop": lambda record: record["recipe"]["crop"],
    "reduction": lambda record: record["network"]["reduction"],
    "experts": lambda record: record["network"]["experts"],
    "device": lambda record: in_each_place(record, lambda place: device_title(place["device"])),
    "versions.python": lambda record: in_each_place(record, lambda place: place["versions"]["python"]),
    "versions.torch": lambda record: in_each_place(record, lambda place: place["versions"]["torch"]),
}


def _common(runs: Sequence[Run]) -> dict[str, Number]:
    sources = tuple(map(run_source, runs))
    hours = sum(run.record["train_seconds"] for run in runs) / 3600
    found = {
        "seeds": Number.of(len({run.record["seed"] for run in runs}), sources),
        "runs": Number.of(len(runs), sources),
        "train_hours": Number.of(hours, sources, f"{hours:.1f}"),
    }
    for key, value_of in COMMON.items():
        values = {value_of(run.record) for run in runs}
        shown = shared(runs, lambda run, value_of=value_of: value_of(run.record))
        found[key] = Number.of(values.pop() if len(values) == 1 else shown, sources, shown)
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
    sources = ("xnnlib.spec, Table 1",)
    return {f"network.{name}": Number.of(value, sources, str(value)) for name, value in values.items()}


def _counted() -> dict[str, Number]:
    """MACs and coefficients of the blocks, what B and C add, and where A has them, by level."""
    found: dict[str, Number] = {}
    levels = NetworkSpec().levels()
    for index, name in enumerate(("macs", "coefficients")):
        for block in BLOCKS:
            operations = complexity.count(NetworkSpec(block))
            own = complexity.total(operations)[index]
            found[f"{name}.{block}"] = Number.of(own, COUNTED, millions(own))
            for kind in complexity.KINDS:
                if value := complexity.total(operations, (kind,))[index]:
                    found[f"{name}.{block}.{kind}"] = Number.of(value, COUNTED, millions(value))
            ratio = own / found[f"{name}.standard"].value
            extra = 100 * (ratio - 1)
            found[f"{block}.{name}_ratio"] = Number.of(ratio, COUNTED, f"{ratio:.2f}")
            found[f"{block}.{name}_extra_percent"] = Number.of(extra, COUNTED, f"{extra:.1f}")
        for group, members in {"level_5": {5}, "levels_1_3": {1, 2, 3}}.items():
            chosen = [item for item in complexity.count(NetworkSpec()) if levels[item.stage] in members]
            percent = 100 * complexity.total(chosen)[index] / found[f"{name}.standard"].value
            found[f"{name}.{group}_share"] = Number.of(percent, COUNTED, f"{percent:.1f}")
    return found
