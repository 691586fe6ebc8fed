"""The checkpoint of a run that is not complete: what it holds, how it is kept, when a signal may end a run.

There are two files, the newest checkpoint and the one before it. Each is one line, `xnnlib checkpoint
<SHA-256 of the rest>`, then what torch.save wrote: a checkpoint that was torn, by a disk or a copy, is
seen by its checksum, and the one before it is used.
"""

import hashlib
import io
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn

from xnnlib.files import write_atomically

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint-previous.pt"
_MAGIC = b"xnnlib checkpoint "


@dataclass
class EpochSums:
    """What an epoch has added up so far, over all ranks.

    The tensors stay on the device: reading one synchronises with it. `finite` counts the steps before the
    first one whose loss was not finite.
    """

    loss: Tensor
    correct: Tensor
    finite: Tensor
    seen: int = 0
    steps: int = 0

    def mean_loss(self) -> float:
        return self.loss.item() / self.seen

    def top1(self) -> float:
        """In percent, of the augmented images, each seen with the weights of its step."""
        return 100.0 * self.correct.item() / self.seen

    def first_not_finite(self) -> int | None:
        """The step, from 0, whose loss was not finite, or None."""
        step = int(self.finite.item())
        return step if step < self.steps else None


class TrainingState:
    """Everything that changes while a run trains, as it stands between two steps.

    Network, optimizer, RNG state, one row for each epoch so far, and the sums of the one under way.
    `clocks` are seconds: of whole epochs, of their training alone, and of the epoch under way.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, seed: int, device: torch.device):
        self.network, self.optimizer, self.device = network, optimizer, device
        self.generator = torch.Generator().manual_seed(seed)
        self.rows: list[dict] = []
        self.clocks = {"total": 0.0, "training": 0.0, "epoch": 0.0}
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Reset the sums, and keep the RNG state from which the next epoch is drawn."""
        # An epoch's order and crops are drawn at its start: from the same state they come out the same.
        self.epoch_rng_state = self.generator.get_state()
        self.sums = EpochSums(*(torch.zeros((), device=self.device) for _ in range(3)))
        self.clocks["epoch"] = 0.0

    @property
    def place(self) -> dict[str, int]:
        """The epoch under way, from 1, and how many of its steps are done."""
        return {"epoch": len(self.rows) + 1, "step": self.sums.steps}

    @property
    def where(self) -> str:
        """`place` in words."""
        return f"epoch {self.place['epoch']}, step {self.place['step']}"

    def state_dict(self) -> dict:
        """What a checkpoint holds: tensors, numbers, lists and dictionaries."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.epoch_rng_state,
            # On a CPU, dropout and stochastic depth, which baselines have, draw from this generator. A GPU's
            # own is not saved: a baseline that resumes there draws other masks.
            "torch_rng": torch.get_rng_state(),
            "rows": self.rows,
            "clocks": self.clocks,
            "sums": vars(self.sums),
        }

    def restore(self, state: dict) -> None:
        """Restore everything that `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_rng"])
        self.rows, self.clocks = state["rows"], state["clocks"]
        self.epoch_rng_state = state["generator"]
        sums = state["sums"].items()
        self.sums = EpochSums(**{k: v.to(self.device) if torch.is_tensor(v) else v for k, v in sums})


def save_checkpoint(run_dir: Path, state: dict) -> None:
    """Write the newest checkpoint, keep the one before it. Raises UserError as write_atomically does."""
    content = io.BytesIO()
    torch.save(state, content)
    content = content.getbuffer()
    header = _MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n"

    def write(file):
        file.write(header)
        file.write(content)
        # Last, when the new file only lacks its rename: at any moment one intact checkpoint is there.
        file.flush()
        if (run_dir / CHECKPOINT).exists():
            (run_dir / CHECKPOINT).replace(run_dir / PREVIOUS)

    write_atomically(run_dir / CHECKPOINT, write)


def load_checkpoint(run_dir: Path) -> dict | None:
    """The newest whole checkpoint, on the CPU, or None if there is none; says so if one is damaged.

    That one is removed: the next checkpoint would push it over the whole one.
    """
    for name in (CHECKPOINT, PREVIOUS):
        path = run_dir / name
        try:
            header, _, content = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            continue
        if header == _MAGIC + hashlib.sha256(content).hexdigest().encode():
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        print(f"{path.parent.name}/{name} is damaged; it is not used.")
        path.unlink(missing_ok=True)
    return None


def remove_checkpoints(run_dir: Path) -> None:
    """Remove the checkpoints of a run that is complete."""
    for name in (CHECKPOINT, PREVIOUS):
        (run_dir / name).unlink(missing_ok=True)


class DeferSignals:
    """Defer SIGINT and SIGTERM to the end of the step: the first one, in `received`; a second acts at once.

    One that comes during a validation acts after the next epoch's first step, and during the last not at
    all: the run is complete. Weights that half of a step has changed are no state to resume from. Outside
    the main thread, where Python lets nobody handle signals, nothing is deferred.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._before: dict = {}

    def __enter__(self) -> "DeferSignals":
        if threading.current_thread() is threading.main_thread():
            numbers = (signal.SIGINT, signal.SIGTERM)
            self._before = {number: signal.signal(number, self._remember) for number in numbers}
        return self

    def __exit__(self, *_) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
