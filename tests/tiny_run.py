"""A training run of seconds: what it trains, how to start it in a process of its own, what it leaves."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from xnnlib import training
from xnnlib.checkpoint import CHECKPOINT
from xnnlib.spec import RECIPES, NetworkSpec

CPU = torch.device("cpu")
RECIPE = RECIPES["paper"].scaled(epochs=2, batch_size=8, crop=16)
SPEC = NetworkSpec("se", num_classes=3, width=0.25)

# Small enough that starting the process is most of the time.
ARGUMENTS = (
    "--block=se --width=0.25 --num-classes=3 --train-images=24 --val-images=9 --batch-size=8 --crop=16 "
    "--epochs=2"
).split()
MODULE = ("-m", "xnnlib.training")


def start(run_dir: Path, *more: str, launcher=(), program=MODULE) -> subprocess.Popen:
    """Train in a process group of its own, with one thread; standard error goes to standard output."""
    command = [sys.executable, *launcher, *program, *ARGUMENTS, f"--run-dir={run_dir}", *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **output)


def finish(process: subprocess.Popen, status: int = 0) -> str:
    """The output of a process that ends with `status`."""
    output, _ = process.communicate()
    assert process.returncode == status, output
    return output


def await_checkpoint(process: subprocess.Popen, run_dir: Path) -> None:
    """Return when the run has written a checkpoint."""
    while not (run_dir / CHECKPOINT).exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.01)


def interrupt(process: subprocess.Popen) -> None:
    """Ctrl-C, as a terminal sends it: to every process of the group."""
    os.killpg(process.pid, signal.SIGINT)


def disk_full(descriptor: int) -> None:
    """What `os.fsync` does then."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def at_step(monkeypatch, epoch: int, step: int, happen: Callable[[], None]) -> None:
    """Let `happen` be called once, after that step of that epoch, both from 1."""
    plain = training.train_epoch

    def train_epoch(network, split, state, recipe, device, on_step):
        def watched():
            if state.place == {"epoch": epoch, "step": step}:
                happen()
            on_step()

        plain(network, split, state, recipe, device, watched)

    monkeypatch.setattr(training, "train_epoch", train_epoch)


def result(run_dir: Path) -> tuple:
    """Everything that a run leaves but its times."""
    record = json.loads((run_dir / "record.json").read_text(encoding="utf-8"))
    for name in ("started", "train_seconds", "images_per_second"):
        del record[name]
    with open(run_dir / "epochs.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return record, rows, (run_dir / "weights.safetensors").read_bytes()
