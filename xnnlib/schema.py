"""What record.json and epochs.csv must be: fields, types and bounds, and what older records lack."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from xnnlib.errors import UserError
from xnnlib.settings import Line
from xnnlib.spec import BLOCKS, NetworkSpec, PositiveInt, Recipe, spec_of

# Hyper-parameters that came after the first records, with what every run had until then; and those that are
# gone, which no run of this code could repeat with another value.
_BEFORE = {
    "recipe": {
        "weight_decay_on": "all",
        "label_smoothing": 0.0,
        "smallest_crop": 0.08,
        "routing_learning_rate": 1.0,
    },
    "network": {
        "filter_size": 3,
        "expansion": 4,
        "width": 1.0,
        "routing": "equalised",
        "conditional_from": 1,
    },
}
_GONE = {"averaging_decay": 0.0, "batch_norm": "synchronised"}

_SIZES = [name for name in NetworkSpec.__dataclass_fields__ if name not in ("block", "table")]

NonNegativeInt = Annotated[int, Field(ge=0, lt=2**63)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Percent = Annotated[float, Field(ge=0, le=100)]


class _Checked(BaseModel):
    """Fields that are read must be as declared; records may say more than is read."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Data(_Checked):
    name: Line
    num_classes: PositiveInt
    train_images: PositiveInt
    val_images: PositiveInt
    fingerprint: Line


class _Device(_Checked):
    type: Line
    name: Line
    threads: PositiveInt | None = None


class _Versions(_Checked):
    """Of Python, torch and whatever else was recorded."""

    __pydantic_extra__: dict[str, Line] = Field(init=False)

    python: Line
    torch: Line


class _Last(_Checked):
    epoch: PositiveInt
    top1: Percent
    loss: NonNegative


class _Best(_Checked):
    epoch: PositiveInt
    top1: Percent


class _Place(_Checked):
    epoch: PositiveInt
    step: NonNegativeInt


class _Diverged(_Place):
    steps_per_epoch: PositiveInt
    learning_rate: NonNegative
    checkpoint: _Place | None


class Identity(_Checked):
    """What a record says before any work."""

    profile: Line
    block: Literal[BLOCKS]
    seed: NonNegativeInt
    recipe: dict[str, Any]
    network: dict[str, Any]
    dataset: _Data
    parameters: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _can_be_made(self) -> "Identity":
        for name, fields, build in (
            ("recipe", Recipe.__dataclass_fields__, lambda: Recipe(**self.recipe)),
            ("network", () if "model" in self.network else _SIZES, lambda: spec_of(self.block, self.network)),
        ):
            # Filled in, they would be today's defaults.
            missing = [field for field in fields if field not in getattr(self, name)]
            if missing:
                raise UserError(f"{name}.{missing[0]} is missing.")
            try:
                build()
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
        return self


class Record(Identity):
    """record.json of a run that has begun."""

    device: _Device
    versions: _Versions
    commit: Line
    code: Line | None = None
    complete: bool
    diverged: _Diverged | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Record":
        if self.device.type == "cpu" and self.device.threads is None:
            raise UserError("device.threads is missing.")
        if self.complete and self.diverged:
            raise UserError("it is said to have diverged and to be complete.")
        return self


class CompleteRecord(Record):
    """What only a run that came to its end can say."""

    epochs: PositiveInt
    last: _Last
    best: _Best
    train_seconds: Positive
    images_per_second: Positive

    @model_validator(mode="after")
    def _ends_with_last(self) -> "CompleteRecord":
        if self.last.epoch != self.epochs or self.best.epoch > self.epochs:
            raise UserError(
                f"the last epoch is {self.last.epoch} and the best one is {self.best.epoch} of {self.epochs}."
            )
        return self


class EpochRow(BaseModel):
    """A row of epochs.csv, whose values are text."""

    model_config = ConfigDict(allow_inf_nan=False, extra="forbid")

    epoch: Positive
    learning_rate: NonNegative
    train_loss: NonNegative
    train_top1: Percent
    val_loss: NonNegative
    val_top1: Percent
    seconds: NonNegative


def of_today(record: object) -> object:
    """The record with today's hyper-parameters: newer ones as they were then, without those that are gone."""
    for name, before in _BEFORE.items():
        if isinstance(record, dict) and isinstance(record.get(name), dict) and "model" not in record[name]:
            kept = {key: value for key, value in record[name].items() if _GONE.get(key, ...) != value}
            record[name] = before | kept
    return record
