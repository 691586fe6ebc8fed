"""The hyper-parameters of the runs as text: what Table 2 shows and the prose names."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from xnnlib.records import Run
from xnnlib.report.summary import by_block, plain
from xnnlib.spec import BLOCK_TITLES

# Readable titles with units, in Table 2's order. A field of the recipe that is not here is shown at the
# end under its own name, so that no hyper-parameter can be left out.
TITLES = {
    "name": "Recipe",
    "epochs": "Epochs",
    "batch_size": "Batch size (images)",
    "start_learning_rate": "Learning rate, first",
    "warmup_epochs": "Warm-up, linear (epochs)",
    "peak_learning_rate": "Learning rate, after the warm-up",
    "final_learning_rate": "Learning rate, last, after half a cosine",
    "learning_rate_set": "Learning rate set every",
    "momentum": "Nesterov momentum",
    "weight_decay": "Weight decay",
    "weight_decay_on": "Weight decay on",
    "label_smoothing": "Label smoothing",
    "averaging_decay": "Averaging of weights, decay a step (0: none)",
    "smallest_crop": "Smallest random crop (share of the area)",
    "resize": "Short side in validation (pixels)",
    "crop": "Crop in training and validation (pixels)",
    "batch_norm": "Batch norm on several devices",
    "precision": "Precision of convolutions and products",
}


class Setting(NamedTuple):
    """One hyper-parameter: its name in the recipe, its title with units, its value as text."""

    key: str
    title: str
    text: str


def letter(block: str) -> str:
    """The paper's letter of a block: A, B or C."""
    return BLOCK_TITLES[block].split(":")[0]


def shared(runs: list[Run], value: Callable[[Run], object]) -> str:
    """The text of a value that the runs share, or, where blocks differ, `0.2 (A, C), 0.15 (B)`."""
    owners: dict[str, list[str]] = {}
    for block, group in by_block(runs).items():
        texts = dict.fromkeys(as_text(value(run)) for run in group)
        owners.setdefault(" and ".join(texts), []).append(letter(block))
    if len(owners) == 1:
        return next(iter(owners))
    return ", ".join(f"{text} ({', '.join(letters)})" for text, letters in owners.items())


def as_text(value: object) -> str:
    """A setting as people write it: integers with thousands separators, floats short."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else plain(value)


def settings(runs: list[Run]) -> list[Setting]:
    """Every field of the recipe that ran, in Table 2's order."""
    present = dict.fromkeys(field for run in runs for field in run.record["recipe"])
    fields = [field for field in TITLES if field in present]
    fields += [field for field in present if field not in TITLES]
    return [Setting(field, _title(field), shared(runs, partial(_ran, field))) for field in fields]


def seeds(runs: list[Run]) -> str:
    """The seeds of the runs, `0, 1, 2`."""
    return ", ".join(str(seed) for seed in sorted({run.record["seed"] for run in runs}))


def _title(field: str) -> str:
    return TITLES.get(field, field.replace("_", " ").capitalize())


def _ran(field: str, run: Run) -> object:
    return run.record["recipe"].get(field, "not set")
