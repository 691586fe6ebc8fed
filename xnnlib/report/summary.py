"""What a set of runs has in common, and how it is grouped: by block and by seed."""

from collections.abc import Callable, Sequence

from xnnlib.records import Run
from xnnlib.report.estimates import format_setting
from xnnlib.spec import BLOCK_TITLES, BLOCKS

# The networks that this one came from, by their names in torchvision.
BASELINE_TITLES = {
    "mobilenet_v2": "MobileNetV2",
    "mnasnet1_0": "MnasNet-B1",
    "mobilenet_v3_large": "MobileNetV3-Large",
    "efficientnet_b0": "EfficientNet-B0",
    "regnet_x_400mf": "RegNetX-400MF",
}


def is_baseline(run: Run) -> bool:
    """Whether a run's network is another paper's, which has no block of Table 1."""
    return "model" in run.record["network"]


def network_title(run: Run) -> str:
    """The title of a run's block, or the name of a baseline."""
    name = run.record["network"].get("model")
    return BASELINE_TITLES.get(name, name) if name else BLOCK_TITLES[run.record["block"]]


def by_block(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each block that has any, in the order of BLOCKS, then of the seed."""
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (BLOCKS.index(run.record["block"]), run.record["seed"])):
        groups.setdefault(run.record["block"], []).append(run)
    return groups


def letter(block: str) -> str:
    """The paper's letter of a block: A, B or C."""
    return BLOCK_TITLES[block].split(":")[0]


def shared(runs: Sequence[Run], value: Callable[[Run], object]) -> str:
    """The text of a value that the runs share, or, where blocks differ, `0.2 (A, C), 0.15 (B)`."""
    owners: dict[str, list[str]] = {}
    for block, group in by_block(runs).items():
        texts = dict.fromkeys(format_setting(value(run)) for run in group)
        owners.setdefault(" and ".join(texts), []).append(letter(block))
    if len(owners) == 1:
        return next(iter(owners))
    return ", ".join(f"{text} ({', '.join(letters)})" for text, letters in owners.items())


def run_source(run: Run) -> str:
    """The run's folder as `results/<profile>/<run>`, without what lies above; profiles may be nested."""
    return "/".join(run.path.parts[-3 - run.record["profile"].count("/") :])


def in_each_place(record: dict, text: Callable[[dict], str]) -> str:
    """A text of each place where a run was trained: its record's `device`, `versions` and `commit`."""
    return " and ".join(dict.fromkeys(text(place) for place in [record, *record.get("continued", [])]))


def top1_by_seed(runs: Sequence[Run]) -> dict[int, float]:
    """Top-1 in percent after the last epoch, by seed."""
    return {run.record["seed"]: run.record["last"]["top1"] for run in runs}


def each_top1(runs: Sequence[Run]) -> list[str]:
    """The text of each seed's top-1."""
    digits = top1_digits(runs)
    return [f"{value:.{digits}f}" for value in top1_by_seed(runs).values()]


def digits_of(images: int) -> int:
    """Digits that a top-1 accuracy in percent of that many images can carry: one in a thousand is 0.1."""
    return 1 if images <= 1000 else 2


def top1_digits(runs: Sequence[Run]) -> int:
    """Digits that the top-1 of runs can carry."""
    return digits_of(min(run.record["dataset"]["val_images"] for run in runs))
