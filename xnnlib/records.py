"""The run folder: what a training run leaves behind, and the only thing that the report reads.

record.json          what ran, on what, and the result
epochs.csv           one row an epoch, columns EPOCH_COLUMNS
weights.safetensors  the last epoch's weights
train.ipynb          the executed notebook, written by papermill
checkpoint.pt        the state to go on from, and beside it the one before (`xnnlib.checkpoints`);
                     both are removed when the run is complete
"""

import csv
import io
import json
import os
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from xnnlib.errors import Diverged, UserError
from xnnlib.files import write_atomically
from xnnlib.record_check import check_epochs, check_record
from xnnlib.spec import BLOCKS, NetworkSpec, Recipe

RECORD, EPOCHS, WEIGHTS = "record.json", "epochs.csv", "weights.safetensors"

# Top-1 in percent, losses in nats, the learning rate as it was when the epoch began; `seconds` is the
# wall time of the epoch's training and validation.
EPOCH_COLUMNS = ("epoch", "learning_rate", "train_loss", "train_top1", "val_loss", "val_top1", "seconds")

# What makes two runs the same run: a folder with another of these is refused, not overwritten.
IDENTITY = ("profile", "block", "seed", "recipe", "network", "dataset")


@dataclass(frozen=True)
class Run:
    """One run as read from its folder; `epochs` maps each of EPOCH_COLUMNS to its values."""

    path: Path
    record: dict
    epochs: dict[str, list[float]]


def load_run(run_dir: str | os.PathLike) -> Run:
    """Read a run folder. Raises only UserError: if a file is missing or is not what it should be."""
    run_dir = Path(run_dir)
    try:
        record = json.loads((run_dir / RECORD).read_text(encoding="utf-8"))
        with open(run_dir / EPOCHS, newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file, strict=True)) or [[]]
        if tuple(header) != EPOCH_COLUMNS or any(len(row) != len(header) for row in rows):
            raise ValueError(f"{EPOCHS} has other columns than {', '.join(EPOCH_COLUMNS)}")
        epochs = {name: [float(row[i]) for row in rows] for i, name in enumerate(EPOCH_COLUMNS)}
        _fill_in(record)
        check_record(record)
        check_epochs(record, epochs)
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename} is missing: {run_dir} is not a run folder; train it first."
        ) from None
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}); make it readable.") from None
    except (ValueError, csv.Error, RecursionError) as error:
        raise UserError(f"{run_dir} is damaged ({error}); delete the folder and train it again.") from None
    return Run(run_dir, record, epochs)


def _fill_in(record: object) -> None:
    """Settings that are newer than the record get the value that stood for them when it was made."""
    for name, kind in (("recipe", Recipe), ("network", NetworkSpec)):
        defaults = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
        missing = {key: value for key, value in defaults.items() if key not in ("block", "table")}
        if isinstance(record, dict) and isinstance(record.get(name), dict):
            record[name] = missing | record[name]


def load_runs(results_dir: str | os.PathLike, profile: str) -> list[Run]:
    """The complete runs of a profile, by block in the paper's order, then by seed.

    Raises UserError if there is none or if one is not complete, Diverged if one has diverged.
    """
    folder = Path(results_dir) / profile
    runs = [load_run(path.parent) for path in sorted(folder.glob(f"*/{RECORD}"))]
    if not runs:
        raise UserError(f"{folder} holds no run records; make them with: make reproduce PROFILE={profile}")
    for run in runs:
        if "diverged" in run.record:
            raise Diverged(divergence(run.path, run.record["diverged"]))
        if not run.record.get("complete"):
            raise UserError(f"{run.path} is not complete; train it to the end or delete it.")
    return sorted(runs, key=lambda run: (BLOCKS.index(run.record["block"]), run.record["seed"]))


def finished_run(run_dir: Path, wanted: dict) -> Run | None:
    """The complete run in the folder, None if there is none.

    Raises UserError if it is another run, Diverged if it is one that has diverged.
    """
    if not (run_dir / RECORD).exists():
        return None
    run = load_run(run_dir)
    require_same_run(run_dir, run.record, wanted)
    if "diverged" in run.record:
        raise Diverged(divergence(run_dir, run.record["diverged"]))
    return run


def divergence(run_dir: Path, diverged: dict) -> str:
    """What happened to a run whose record has `diverged`, and what to do."""
    saved = diverged["checkpoint"]
    kept = f"epoch {saved['epoch']}, step {saved['step']}" if saved else "none"
    return (
        f"{run_dir} diverged: the loss was not finite at epoch {diverged['epoch']}, step {diverged['step']} "
        f"of {diverged['steps_per_epoch']}, learning rate {diverged['learning_rate']:.4g} (last good "
        f"checkpoint: {kept}); delete the folder and train with a lower learning rate."
    )


def require_same_run(run_dir: Path, found: dict, wanted: dict) -> None:
    """Raise UserError if the folder holds another run than the wanted one, naming what differs."""
    for name in IDENTITY:
        if found[name] == wanted[name]:
            continue
        old, new = found[name], wanted[name]
        if isinstance(new, dict):
            field = next(key for key in old | new if old.get(key) != new.get(key))
            name, old, new = f"{name} {field}", old.get(field), new.get(field)
        raise UserError(
            f"{run_dir} holds a run with {name} {old!r}, not {new!r}; choose another run_dir or delete it."
        )


def save_record(run_dir: Path, record: dict) -> None:
    """Write record.json atomically."""
    text = json.dumps(record, indent=2) + "\n"
    write_atomically(run_dir / RECORD, lambda file: file.write(text.encode()))


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
    tensors = {
        name: (value.half() if value.ndim > 1 else value).detach().cpu().contiguous()
        for name, value in state.items()
    }
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
