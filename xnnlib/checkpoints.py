"""The checkpoints of a run that is not complete: the newest and the one before it.

Each file is one line, `xnnlib checkpoint <SHA-256 of the rest>`, then what torch.save wrote. A checkpoint
that was torn, by a disk or a copy, is seen by its checksum, and the one before it is used.
"""

import hashlib
import io
import sys
from pathlib import Path

import torch

from xnnlib.files import write_atomically

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint-previous.pt"
_MARK = b"xnnlib checkpoint "


class Damaged(Exception):
    """A checkpoint is not what was written."""


def save_checkpoint(run_dir: Path, state: dict) -> None:
    """Write the newest checkpoint, keep the one before it. Raises UserError as write_atomically does."""
    content = io.BytesIO()
    torch.save(state, content)
    content = content.getbuffer()
    head = _MARK + hashlib.sha256(content).hexdigest().encode() + b"\n"

    def write(file):
        file.write(head)
        file.write(content)
        # Last, when the new one is whole but for its name: whenever the process ends, a whole one is there.
        file.flush()
        if (run_dir / CHECKPOINT).exists():
            (run_dir / CHECKPOINT).replace(run_dir / PREVIOUS)

    write_atomically(run_dir / CHECKPOINT, write)


def load_checkpoint(run_dir: Path) -> dict | None:
    """The newest whole checkpoint, on the CPU, or None if there is none; says so if one is damaged."""
    for name in (CHECKPOINT, PREVIOUS):
        path = run_dir / name
        try:
            return _read(path)
        except FileNotFoundError:
            continue
        except Damaged:
            print(f"{path} is damaged; it is not used.", file=sys.stderr)
    return None


def remove_checkpoints(run_dir: Path) -> None:
    """Remove the checkpoints of a run that is complete."""
    for name in (CHECKPOINT, PREVIOUS):
        (run_dir / name).unlink(missing_ok=True)


def _read(path: Path) -> dict:
    head, _, content = path.read_bytes().partition(b"\n")
    if head != _MARK + hashlib.sha256(content).hexdigest().encode():
        raise Damaged
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
