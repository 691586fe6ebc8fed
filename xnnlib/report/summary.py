"""What a set of runs has in common, and how it is grouped: by block, by seed, by part of the network."""

from collections.abc import Callable, Sequence

from xnnlib.records import Run
from xnnlib.report.estimates import Estimate, difference, seed_difference, setting_text
from xnnlib.spec import BLOCK_TITLES, BLOCKS, LEVELS, NetworkSpec

DATASET_TITLES = {
    "shapes": "shapes",
    "tiny-imagenet": "Tiny ImageNet",
    "imagenet64": "ImageNet at 64 pixels",
    "folder": "a folder of images",
}

# The parts of Figure 1.
PARTS = ("stem", *(f"level_{number}" for number in range(1, len(LEVELS) + 1)), "last", "classifier")


def parts(spec: NetworkSpec) -> list[str]:
    """For each row of the network's table one of PARTS."""
    rows = zip(spec.stages, spec.levels(), strict=True)
    return [f"level_{level}" if level else stage.operation for stage, level in rows]


def by_block(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each block that has any, in the order of BLOCKS, then of the seed."""
    groups = {block: [run for run in runs if run.record["block"] == block] for block in BLOCKS}
    return {
        block: sorted(group, key=lambda run: run.record["seed"]) for block, group in groups.items() if group
    }


def letter(block: str) -> str:
    """The paper's letter of a block: A, B or C."""
    return BLOCK_TITLES[block].split(":")[0]


def shared(runs: Sequence[Run], value: Callable[[Run], object]) -> str:
    """The text of a value that the runs share, or, where blocks differ, `0.2 (A, C), 0.15 (B)`."""
    owners: dict[str, list[str]] = {}
    for block, group in by_block(runs).items():
        texts = dict.fromkeys(setting_text(value(run)) for run in group)
        owners.setdefault(" and ".join(texts), []).append(letter(block))
    if len(owners) == 1:
        return next(iter(owners))
    return ", ".join(f"{text} ({', '.join(letters)})" for text, letters in owners.items())


def seeds(runs: Sequence[Run]) -> str:
    """The seeds of the runs, `0, 1, 2`."""
    return ", ".join(str(seed) for seed in sorted({run.record["seed"] for run in runs}))


def run_source(run: Run) -> str:
    """The run's folder as `results/<profile>/<run>`, without what lies above; profiles may be nested."""
    return "/".join(run.path.parts[-3 - run.record["profile"].count("/") :])


def top1_by_seed(runs: Sequence[Run]) -> dict[int, float]:
    """Top-1 in percent after the last epoch, by seed."""
    return {run.record["seed"]: run.record["last"]["top1"] for run in runs}


def top1_gains(runs: Sequence[Run], baseline: Sequence[Run]) -> tuple[Estimate, Estimate]:
    """Points of top-1 that the runs lie above others: paired by seed, and with Welch's interval."""
    values, others = top1_by_seed(runs), top1_by_seed(baseline)
    return seed_difference(values, others), difference(list(values.values()), list(others.values()))


def last_values(runs: Sequence[Run], column: str) -> list[float]:
    """A column of epochs.csv after the last epoch, for each run."""
    return [run.epochs[column][-1] for run in runs]


def top1_digits(runs: Sequence[Run]) -> int:
    """Digits that a top-1 accuracy in percent can carry: one image in a thousand is 0.1."""
    return 1 if min(run.record["dataset"]["val_images"] for run in runs) <= 1000 else 2


def device_title(device: dict) -> str:
    """A record's device in words, with its threads on a CPU and how many trained together."""
    name = device["name"]
    if device["type"] == "cpu":
        name += f", {device['threads']} thread{'s' if device['threads'] != 1 else ''}"
    return f"{device['count']} × {name}" if "count" in device else name
