"""Every number that the prose may name, formatted once, with where it comes from.

Texts carry no percent sign and no unit but the M of millions; the sentence supplies them. Measured
values over several seeds read `51.2 ± 0.8`: mean and 95 % confidence interval.
"""

from collections.abc import Callable
from difflib import get_close_matches
from math import sqrt
from statistics import mean
from typing import NamedTuple

from xnnlib import complexity
from xnnlib.errors import UserError
from xnnlib.records import Run
from xnnlib.report import BESIDE
from xnnlib.report.levels import PARTS, part
from xnnlib.report.published import PUBLISHED
from xnnlib.report.settings import seeds, settings, shared
from xnnlib.report.summary import (
    MINUS,
    best_epochs,
    by_block,
    difference,
    estimate,
    last_values,
    millions,
    overfit_gap,
    rate_digits,
    size,
    text,
    top1_digits,
)
from xnnlib.spec import BLOCKS, LEVELS, TABLE_1, NetworkSpec

COUNTED = "xnnlib.complexity"
DATASET_TITLES = {
    "shapes": "shapes",
    "tiny-imagenet": "Tiny ImageNet",
    "imagenet64": "ImageNet at 64 pixels",
    "folder": "a folder of images",
}


class Number(NamedTuple):
    """A number as the prose shows it, and where it was measured or computed."""

    text: str
    source: str

    @property
    def value(self) -> float:
        """The number as printed, without its interval and its M. Raises ValueError if it is none."""
        shown = self.text.split(" ±")[0].removesuffix(" M")
        return float(shown.replace(MINUS, "-").replace(",", ""))

    @property
    def half_width(self) -> float:
        """Half the printed 95 % confidence interval; 0 where there is none."""
        return float(self.text.partition(" ± ")[2] or 0)


class Numbers(dict[str, Number]):
    """Numbers by key; an unknown key raises UserError that lists the near ones."""

    def __missing__(self, key: str) -> Number:
        near = get_close_matches(key, self, n=4, cutoff=0.5)
        hint = f"near keys: {', '.join(near)}" if near else "xnnlib.report.numbers lists the keys"
        raise UserError(f"number {key!r} is unknown for these runs; {hint}.")


def numbers(runs: list[Run]) -> dict[str, Number]:
    """All numbers of the given runs, of the paper's network and of the published reference.

    Raises UserError if there are no runs. Keys of a block appear only if it was run, and those that
    compare with block A or B only if that was run too.
    """
    if not runs:
        raise UserError("there are no runs to take numbers from; train a profile first.")
    found = {key: Number(*published) for key, published in PUBLISHED.items()}
    operations = {block: complexity.count(NetworkSpec(block)) for block in BLOCKS}
    counted = _counted(operations) | _shares(operations["standard"])
    return Numbers(found | _network() | _recorded(runs) | counted)


def beside_numbers(runs: list[Run]) -> dict[str, Number]:
    """What the runs of BESIDE measured: the keys of `numbers` after the profile's name, `tenth.se.top1`."""
    return {f"{BESIDE}.{key}": number for key, number in _recorded(runs).items()}


def _recorded(runs: list[Run]) -> dict[str, Number]:
    """What the records say: of all runs, of each block, and of one block against another."""
    found = _common(runs)
    groups = by_block(runs)
    digits = top1_digits(runs)
    for block, group in groups.items():
        found |= _measured(block, group, digits)
        found |= _compared(block, group, groups.get("standard"), "", digits)
    if "se" in groups and "se_cond" in groups:
        found |= _compared("se_cond", groups["se_cond"], groups["se"], "_over_se", digits)
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
    return {f"network.{name}": Number(str(value), "xnnlib.spec, Table 1") for name, value in values.items()}


def _common(runs: list[Run]) -> dict[str, Number]:
    source = run_source(runs)

    def of(value: Callable[[dict], object]) -> Number:
        return Number(shared(runs, lambda run: value(run.record)), source)

    classes = {run.record["dataset"]["num_classes"] for run in runs}
    common = {
        "profile": of(lambda record: record["profile"]),
        "dataset": of(
            lambda record: DATASET_TITLES.get(record["dataset"]["name"], record["dataset"]["name"])
        ),
        "num_classes": of(lambda record: record["dataset"]["num_classes"]),
        "train_images": of(lambda record: record["dataset"]["train_images"]),
        "val_images": of(lambda record: record["dataset"]["val_images"]),
        "fingerprint": of(lambda record: record["dataset"]["fingerprint"][:12]),
        "chance": Number(f"{100 / max(classes):.3g}", "100 / number of classes"),
        "epochs": of(lambda record: record["epochs"]),
        "seeds": Number(str(len({run.record["seed"] for run in runs})), source),
        "seed_list": Number(seeds(runs), source),
        "runs": Number(str(len(runs)), source),
        "reduction": of(lambda record: record["network"]["reduction"]),
        "experts": of(lambda record: record["network"]["experts"]),
        "device": of(lambda record: device_title(record["device"])),
        "versions.python": of(lambda record: record["versions"]["python"]),
        "versions.torch": of(lambda record: record["versions"]["torch"]),
        "commit": of(lambda record: record["commit"][:10]),
        "train_hours": Number(f"{sum(run.record['train_seconds'] for run in runs) / 3600:.1f}", source),
    }
    return common | {f"recipe.{field.key}": Number(field.text, source) for field in settings(runs)}


def device_title(device: dict) -> str:
    """A record's device in words, with its threads on a CPU and how many trained together."""
    name = f"{device['name']}, {device['threads']} threads" if device["type"] == "cpu" else device["name"]
    return f"{device['count']} × {name}" if "count" in device else name


def _measured(block: str, group: list[Run], digits: int) -> dict[str, Number]:
    records = [run.record for run in group]
    speeds = [record["images_per_second"] for record in records]
    share = mean(record["last"]["top1"] for record in records) / 100
    sampling_error = 196 * sqrt(share * (1 - share) / records[0]["dataset"]["val_images"])

    values = {
        "top1": text(estimate([record["last"]["top1"] for record in records]), digits),
        "top1_best": text(estimate([record["best"]["top1"] for record in records]), digits),
        "best_epoch": best_epochs(group),
        # Of one seed, from the choice of the validation images: 95 %, normal approximation.
        "sampling_error": f"{sampling_error:.1f}",
        "loss": text(estimate(last_values(group, "val_loss")), 2),
        "train_top1": text(estimate(last_values(group, "train_top1")), digits),
        "train_loss": text(estimate(last_values(group, "train_loss")), 2),
        "overfit_gap": text(overfit_gap(group), digits, signed=True),
        "train_minutes": text(estimate([record["train_seconds"] / 60 for record in records]), 1),
        "seconds_per_epoch": text(estimate([mean(run.epochs["seconds"]) for run in group]), 1),
        "images_per_second": text(estimate(speeds), rate_digits(speeds)),
        "seeds": str(len(group)),
    }
    source = run_source(group)
    return {f"{block}.{name}": Number(value, source) for name, value in values.items()}


def _compared(
    block: str, group: list[Run], baseline: list[Run] | None, suffix: str, digits: int
) -> dict[str, Number]:
    if baseline is None or baseline[0].record["block"] == block:
        return {}

    def values(runs: list[Run], name: str) -> list[float]:
        return [run.record[name]["top1"] for run in runs]

    def rates(name: str) -> tuple[float, float]:
        return mean(run.record[name] for run in group), mean(run.record[name] for run in baseline)

    seconds, baseline_seconds = rates("train_seconds")
    speed, baseline_speed = rates("images_per_second")
    gain = difference(values(group, "last"), values(baseline, "last"))
    best_gain = difference(values(group, "best"), values(baseline, "best"))
    minutes, baseline_minutes = (
        [run.record["train_seconds"] / 60 for run in runs] for runs in (group, baseline)
    )
    source = run_source(group + baseline)
    return {
        f"{block}.top1_gain{suffix}": Number(text(gain, digits, signed=True), source),
        f"{block}.top1_best_gain{suffix}": Number(text(best_gain, digits, signed=True), source),
        f"{block}.minutes_extra{suffix}": Number(
            text(difference(minutes, baseline_minutes), 1, signed=True), source
        ),
        f"{block}.time_ratio{suffix}": Number(f"{seconds / baseline_seconds:.2f}", source),
        f"{block}.speed_ratio{suffix}": Number(f"{speed / baseline_speed:.2f}", source),
    }


def run_source(runs: list[Run]) -> str:
    """The run folders, each as `results/<profile>/<run>`, without what lies above."""
    return ", ".join("/".join(run.path.parts[-3:]) for run in runs)


def _counted(operations: dict[str, list[complexity.Operation]]) -> dict[str, Number]:
    counts: dict[str, Number] = {}
    totals = {block: complexity.total(operations[block]) for block in BLOCKS}
    for block in BLOCKS:
        for index, name in enumerate(("macs", "coefficients")):
            counts[f"{name}.{block}"] = Number(millions(totals[block][index]), COUNTED)
            counts[f"{name}.{block}.exact"] = Number(f"{totals[block][index]:,}", COUNTED)
            for kind in complexity.KINDS:
                value = complexity.total(operations[block], (kind,))[index]
                if value:
                    counts[f"{name}.{block}.{kind}"] = Number(millions(value), COUNTED)
    for block in BLOCKS[1:]:
        for index, name in enumerate(("macs", "coefficients")):
            own, standard = totals[block][index], totals["standard"][index]
            counts[f"{block}.{name}_ratio"] = Number(f"{own / standard:.2f}", COUNTED)
            counts[f"{block}.{name}_extra"] = Number(millions(own - standard), COUNTED)
            counts[f"{block}.{name}_extra_percent"] = Number(f"{100 * (own / standard - 1):.1f}", COUNTED)
    return counts


def _shares(operations: list[complexity.Operation]) -> dict[str, Number]:
    shares = {}
    for index, name in enumerate(("macs", "coefficients")):
        whole = complexity.total(operations)[index]

        def share(parts: tuple[str, ...], index: int = index, whole: int = whole) -> Number:
            chosen = [item for item in operations if part(TABLE_1[item.stage]) in parts]
            percent = 100 * complexity.total(chosen)[index] / whole
            return Number(f"{percent:.1f}" if percent >= 0.1 else f"{percent:.2g}", COUNTED)

        shares |= {f"{name}.{one}_share": share((one,)) for one in PARTS}
        shares[f"{name}.levels_1_2_share"] = share(("level_1", "level_2"))
        shares[f"{name}.levels_1_3_share"] = share(("level_1", "level_2", "level_3"))
        shares[f"{name}.head_share"] = share(("last", "classifier"))
    return shares
