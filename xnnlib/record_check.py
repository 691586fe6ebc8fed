"""What a run's record and epochs must hold, so that what reads them never meets a surprise.

Every field that the library, the report and the book read is in a table here, with what its value must be.
Other fields are let pass: records may say more than is read.
"""

from collections.abc import Callable
from dataclasses import fields
from math import isfinite
from reprlib import repr as shortened
from typing import NamedTuple, get_type_hints

from xnnlib.spec import BLOCKS, NetworkSpec, Recipe

_LIMIT = 2**63  # above it a count is no count


class _Kind(NamedTuple):
    words: str
    holds: Callable[[object], bool]


def _number(words: str, kind: type, holds: Callable[[float], bool]) -> _Kind:
    def of_kind(value: object) -> bool:
        if not isinstance(value, kind) or isinstance(value, bool):
            return False
        return (value < _LIMIT if isinstance(value, int) else isfinite(value)) and holds(value)

    return _Kind(words, of_kind)


TEXT = _Kind("a line of text", lambda value: isinstance(value, str) and value.isprintable())
BLOCK = _Kind(f"one of {', '.join(BLOCKS)}", lambda value: value in BLOCKS)
FLAG = _Kind("true or false", lambda value: isinstance(value, bool))
OBJECT = _Kind("a JSON object", lambda value: isinstance(value, dict))
LIST = _Kind("a JSON list", lambda value: isinstance(value, list))
WHOLE = _number("a whole number of at least 0", int, lambda value: value >= 0)
COUNT = _number("a whole number of at least 1", int, lambda value: value >= 1)
NUMBER = _number("a finite number of at least 0", int | float, lambda value: value >= 0)
POSITIVE = _number("a finite number above 0", int | float, lambda value: value > 0)
PERCENT = _number("a number from 0 to 100", int | float, lambda value: 0 <= value <= 100)


def _settings(kind: type) -> dict[str, _Kind]:
    """The fields of a Recipe or NetworkSpec, by their annotations; a table is not one of them."""
    known = {str: TEXT, bool: FLAG, int: COUNT, float: NUMBER}
    hints = get_type_hints(kind)
    return {field.name: known[hints[field.name]] for field in fields(kind) if hints[field.name] in known}


RUN = {
    "profile": TEXT,
    "block": BLOCK,
    "seed": WHOLE,
    "recipe": _settings(Recipe),
    "network": {name: kind for name, kind in _settings(NetworkSpec).items() if name != "block"},
    "dataset": {
        "name": TEXT,
        "num_classes": COUNT,
        "train_images": COUNT,
        "val_images": COUNT,
        "fingerprint": TEXT,
    },
    "device": {"type": TEXT, "name": TEXT},
    "versions": {"python": TEXT, "torch": TEXT},
    "commit": TEXT,
    "complete": FLAG,
}
ON_CPU = {"device": {"threads": COUNT}}
COMPLETE = {
    "epochs": COUNT,
    "last": {"epoch": COUNT, "top1": PERCENT, "loss": NUMBER},
    "best": {"epoch": COUNT, "top1": PERCENT},
    "train_seconds": POSITIVE,
    "images_per_second": POSITIVE,
}
DIVERGED = {"epoch": COUNT, "step": COUNT, "steps_per_epoch": COUNT, "learning_rate": NUMBER}
CHECKPOINT = {"epoch": COUNT, "step": WHOLE}
EPOCH = {  # read from text: all are floats
    "epoch": POSITIVE,
    "learning_rate": NUMBER,
    "train_loss": NUMBER,
    "train_top1": PERCENT,
    "val_loss": NUMBER,
    "val_top1": PERCENT,
    "seconds": NUMBER,
}


def check_record(record: object) -> None:
    """Raise ValueError, one line, if a field is missing or is not what it should be.

    What only a run that came to its end can say is asked of complete runs alone.
    """
    check_fields(record, RUN)
    for name in ("recipe", "network"):
        for field in record[name].keys() - RUN[name].keys():
            raise ValueError(f"{name} has the unknown field {shortened(field)}")
    Recipe(**record["recipe"])  # for the settings' own checks
    NetworkSpec(record["block"], **record["network"])
    if record["device"]["type"] == "cpu":
        check_fields(record, ON_CPU)
    if "diverged" in record and record["complete"]:
        raise ValueError("it is said to have diverged and to be complete")
    if record["complete"]:
        check_fields(record, COMPLETE)
        last, best, epochs = record["last"]["epoch"], record["best"]["epoch"], record["epochs"]
        if last != epochs or best > epochs:
            raise ValueError(f"the last epoch is {last} and the best one is {best} of {epochs}")
    if "diverged" in record:
        check_fields(record["diverged"], DIVERGED, "diverged")
        checkpoint = record["diverged"].get("checkpoint", {})
        if checkpoint is not None:  # there may have been none yet
            check_fields(checkpoint, CHECKPOINT, "diverged.checkpoint")


def check_epochs(record: dict, epochs: dict[str, list[float]]) -> None:
    """Raise ValueError if a value is no number or the rows are not epochs 1, 2, 3 ... of the record."""
    for name, values in epochs.items():
        for number, value in enumerate(values, start=1):
            _require(f"epochs.csv, row {number}: {name}", value, EPOCH[name])
    found = epochs["epoch"]
    if found != list(range(1, len(found) + 1)):
        raise ValueError("epochs.csv does not count its epochs 1, 2, 3 ...")
    if record["complete"] and len(found) != record["epochs"]:
        raise ValueError(f"epochs.csv has {len(found)} epochs, the record {record['epochs']}")


def check_fields(value: object, table: dict, path: str = "") -> None:
    """Raise ValueError, one line, if a JSON object lacks a field of the table or one is not of its kind.

    `path` says where in the file the object is; without one it is the whole file.
    """
    _require(path or "the whole of it", value, OBJECT)
    for name, kind in table.items():
        where = f"{path}.{name}" if path else name
        if name not in value:
            raise ValueError(f"{where} is missing")
        if isinstance(kind, dict):
            check_fields(value[name], kind, where)
        else:
            _require(where, value[name], kind)


def _require(where: str, value: object, kind: _Kind) -> None:
    if not kind.holds(value):
        raise ValueError(f"{where} is {shortened(value)}, not {kind.words}")
