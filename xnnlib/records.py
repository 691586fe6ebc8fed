"""The run folder: what a training run leaves behind, and what the report reads.

record.json          what ran, on what, and the result (`CompleteRecord`)
epochs.csv           one row an epoch (`EpochRow`)
weights.safetensors  the last epoch's weights
train.ipynb          the executed notebook, written by papermill
checkpoint.pt        the state to resume from, and the one before; removed when the run is complete
inputs.json          of older runs: digests of the code, which are in the record since; nothing reads it
"""

import csv
import io
import json
import os
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    ValidationError,
    model_validator,
)
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from xnnlib import runtime
from xnnlib.data.images import Dataset
from xnnlib.errors import Diverged, UserError, explain
from xnnlib.files import write_atomically, write_json
from xnnlib.model import build, memory_format
from xnnlib.settings import Line
from xnnlib.spec import BLOCKS, SIZES, AnySpec, NonNegativeInt, PositiveInt, Recipe, spec_of, upgrade_record

RECORD, EPOCHS, WEIGHTS = "record.json", "epochs.csv", "weights.safetensors"

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


class _Best(_Checked):
    epoch: PositiveInt
    top1: Percent


class _Last(_Best):
    loss: NonNegativeFloat


class _Place(_Checked):
    epoch: PositiveInt
    step: NonNegativeInt


class _Diverged(_Place):
    steps_per_epoch: PositiveInt
    learning_rate: NonNegativeFloat
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
        for name, fields, make in (
            ("recipe", Recipe.__dataclass_fields__, lambda: Recipe(**self.recipe)),
            ("network", SIZES, lambda: spec_of(self.block, self.network)),
        ):
            values = getattr(self, name)
            missing = [field for field in fields if field not in values]
            if missing and "model" not in values:  # filled in, they would be today's defaults
                raise UserError(f"{name}.{missing[0]} is missing.")
            try:
                make()
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
        return self


class Record(Identity):
    """record.json of a run that has begun."""

    device: _Device
    versions: dict[str, Line]
    commit: Line
    code: Line | None = None
    complete: bool
    diverged: _Diverged | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Record":
        if self.device.type == "cpu" and self.device.threads is None:
            raise UserError("device.threads is missing.")
        for name in ("python", "torch"):
            if name not in self.versions:
                raise UserError(f"versions.{name} is missing.")
        return self


class CompleteRecord(Record):
    """What only a run that came to its end can say.

    `train_seconds` are those of its epochs, validation included; `images_per_second` is of training alone.
    """

    epochs: PositiveInt
    last: _Last
    best: _Best
    train_seconds: PositiveFloat
    images_per_second: PositiveFloat

    @model_validator(mode="after")
    def _ends_with_last(self) -> "CompleteRecord":
        if self.last.epoch != self.epochs or self.best.epoch > self.epochs:
            raise UserError(
                f"the last epoch is {self.last.epoch} and the best one is {self.best.epoch} of {self.epochs}."
            )
        return self


class EpochRow(BaseModel):
    """A row of epochs.csv: top-1 in percent, losses in nats, the learning rate as the epoch began.

    `seconds` is the wall time of the epoch's training and validation.
    """

    model_config = ConfigDict(allow_inf_nan=False, extra="forbid")

    epoch: PositiveFloat
    learning_rate: NonNegativeFloat
    train_loss: NonNegativeFloat
    train_top1: Percent
    val_loss: NonNegativeFloat
    val_top1: Percent
    seconds: NonNegativeFloat


EPOCH_COLUMNS = tuple(EpochRow.model_fields)


@dataclass(frozen=True)
class Run:
    """One run as read from its folder; `epochs` maps each of EPOCH_COLUMNS to its values."""

    path: Path
    record: dict
    epochs: dict[str, list[float]]

    @property
    def spec(self) -> AnySpec:
        """The network that was trained."""
        return spec_of(self.record["block"], self.record["network"])

    @property
    def recipe(self) -> Recipe:
        """The routine as it ran."""
        return Recipe(**self.record["recipe"])


def load_run(run_dir: str | os.PathLike) -> Run:
    """Read a run folder. Raises only UserError: if a file is missing or is not what it should be."""
    run_dir = Path(run_dir)
    try:
        record = json.loads((run_dir / RECORD).read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError(f"{RECORD} is not a mapping of name: value")
        record = upgrade_record(record)
        complete = record.get("complete") is True
        (CompleteRecord if complete else Record).model_validate(record)
        epochs = _read_epochs(run_dir / EPOCHS)
        if complete and len(epochs["epoch"]) != record["epochs"]:
            raise ValueError(f"{EPOCHS} has {len(epochs['epoch'])} epochs, the record {record['epochs']}")
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename} is missing: {run_dir} is not a run folder; train it first."
        ) from None
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}); make it readable.") from None
    except (ValueError, csv.Error, RecursionError) as error:
        why = explain(error) if isinstance(error, ValidationError) else str(error)
        raise UserError(
            f"{run_dir} is damaged ({why.rstrip('.')}); restore the file, or train in another run_dir."
        ) from None
    return Run(run_dir, record, epochs)


def _read_epochs(path: Path) -> dict[str, list[float]]:
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file, strict=True)) or [[]]
    if tuple(header) != EPOCH_COLUMNS or any(len(row) != len(header) for row in rows):
        raise ValueError(f"{EPOCHS} has other columns than {', '.join(EPOCH_COLUMNS)}")
    epochs = []
    for number, row in enumerate(rows, start=1):
        try:
            values = EpochRow(**dict(zip(EPOCH_COLUMNS, row, strict=True)))
        except ValidationError as error:
            raise ValueError(f"{EPOCHS}, row {number}: {explain(error)}") from None
        if values.epoch != number:
            raise ValueError(f"{EPOCHS} does not count its epochs 1, 2, 3 ...")
        epochs.append(values.model_dump())
    return columns(epochs)


def columns(rows: list[dict]) -> dict[str, list[float]]:
    """Each of EPOCH_COLUMNS with its values, from one dictionary an epoch."""
    return {name: [row[name] for row in rows] for name in EPOCH_COLUMNS}


def load_complete(run_dir: Path) -> Run:
    """Read the folder of a complete run. Raises UserError if it is none, Diverged if the run has diverged."""
    run = load_run(run_dir)
    if run.record.get("diverged"):
        raise Diverged(divergence(run.path, run.record["diverged"]))
    if not run.record["complete"]:
        raise UserError(f"{run.path} is not complete; train it to the end or move it away.")
    return run


def load_runs(results_dir: str | os.PathLike, profile: str) -> list[Run]:
    """The complete runs of a profile, by block in the paper's order, then by seed.

    Raises UserError if there is none or if one is not complete, Diverged if one has diverged.
    """
    folder = Path(results_dir) / profile
    runs = [load_complete(path.parent) for path in sorted(folder.glob(f"*/{RECORD}"))]
    if not runs:
        raise UserError(f"{folder} holds no run records; make them with: make reproduce PROFILE={profile}")
    return sorted(runs, key=lambda run: (BLOCKS.index(run.record["block"]), run.record["seed"]))


def identity(
    spec: AnySpec, recipe: Recipe, dataset: Dataset, seed: int, profile: str, parameters: dict
) -> dict:
    """What makes a run this run, and its parameters, as its record begins.

    Raises UserError on a value that `load_run` would refuse when the run is over.
    """
    record = {
        "profile": profile,
        "block": spec.block,
        "seed": seed,
        "recipe": asdict(recipe),
        "network": spec.sizes(),
        "dataset": {
            "name": dataset.name,
            "num_classes": len(dataset.class_names),
            "train_images": len(dataset.train),
            "val_images": len(dataset.val),
            "fingerprint": dataset.fingerprint,
        },
        "parameters": parameters,
    }
    try:
        record = json.loads(json.dumps(record))  # plain, as it is read back
        Identity.model_validate(record)
    except ValidationError as error:
        raise UserError(explain(error)) from None
    except (TypeError, ValueError) as error:
        raise UserError(f"parameters cannot be written into the record ({error}).") from None
    return record


def complete_run(run_dir: Path, wanted: dict) -> Run | None:
    """The complete run in the folder, None if there is none.

    Raises UserError if it is another run, Diverged if it is one that has diverged.
    """
    if not (run_dir / RECORD).exists():
        return None
    run = load_run(run_dir)
    require_same_run(run_dir, run.record, wanted)
    if run.record.get("diverged"):
        raise Diverged(divergence(run_dir, run.record["diverged"]))
    return run if run.record["complete"] else None


def divergence(run_dir: Path, diverged: dict) -> str:
    """What happened to a run whose record has `diverged`, and what to do."""
    saved = diverged["checkpoint"]
    kept = f"epoch {saved['epoch']}, step {saved['step']}" if saved else "none"
    return (
        f"{run_dir} diverged: the loss was not finite at epoch {diverged['epoch']}, step {diverged['step']} "
        f"of {diverged['steps_per_epoch']}, learning rate {diverged['learning_rate']:.4g} (last good "
        f"checkpoint: {kept}); train with a lower learning rate in another run_dir."
    )


def require_same_run(run_dir: Path, found: dict, wanted: dict) -> None:
    """Raise UserError if the folder holds another run than the wanted one, naming what differs."""
    for name in ("profile", "block", "seed", "recipe", "network", "dataset"):
        if found[name] == wanted[name]:
            continue
        old, new = found[name], wanted[name]
        if isinstance(new, dict):
            field = next(key for key in old | new if old.get(key) != new.get(key))
            name, old, new = f"{name} {field}", old.get(field), new.get(field)
        raise UserError(f"{run_dir} holds a run with {name} {old!r}, not {new!r}; choose another run_dir.")


def resumed(record: dict, here: dict, place: dict[str, int]) -> dict:
    """The record of a run that resumes at `place`; `here` is its device, versions and code from then on."""
    last = record["continued"][-1] if "continued" in record else record
    if all(last.get(name) == value for name, value in here.items()):
        return record
    # It is no longer the run of one machine and one commit, and says so.
    return record | {"continued": [*record.get("continued", []), place | here]}


def save_record(run_dir: Path, record: dict) -> None:
    """Write record.json atomically."""
    write_json(run_dir / RECORD, record, indent=2)


def save_epochs(run_dir: Path, rows: list[dict]) -> None:
    """Write epochs.csv atomically from one dictionary an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, EPOCH_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(run_dir / EPOCHS, lambda file: file.write(text.getvalue().encode()))


def save_weights(run_dir: Path, state: dict[str, Tensor]) -> None:
    """Write weights.safetensors atomically.

    Filters and matrices are stored in half precision, which keeps a folder small enough to publish;
    vectors (biases, batch-norm parameters and statistics) keep theirs, since their range is wider.
    """
    stored = {name: value.half() if value.ndim > 1 else value for name, value in state.items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in stored.items()}
    write_atomically(run_dir / WEIGHTS, lambda file: file.write(save(tensors)))


def load_weights(run_dir: Path) -> dict[str, Tensor]:
    """The state that save_weights wrote. Raises UserError if it is not there or damaged."""
    path = Path(run_dir) / WEIGHTS
    if not path.exists():
        raise UserError(f"{path} is missing; train the run to the end first.")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); fetch it again or train the run again.") from error


def load_trained(run: Run, device: torch.device | None = None) -> nn.Module:
    """The network of a complete run with its last epoch's weights, as they were stored, in training mode.

    Call `eval()` on it before it predicts.

    Raises UserError if they are missing, damaged or another network's.
    """
    network = build(run.spec)
    state = OrderedDict(load_weights(run.path))
    # The versions of its layers, which the file does not hold and some of torchvision's networks ask for.
    state._metadata = network.state_dict()._metadata
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(
            f"{run.path / WEIGHTS} does not hold the weights of this code's network "
            f"({str(error).splitlines()[-1].strip()}); fetch it again or train the run again."
        ) from error
    return network.to(device or runtime.pick_device(), memory_format=memory_format(run.spec.block))
