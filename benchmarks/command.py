"""What the benchmarks' commands have in common: options, settings, and a file saved part by part."""

import argparse
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch
from plan import CLASSES, TRAIN_IMAGES

from xnnlib import runtime
from xnnlib.errors import UserError
from xnnlib.files import held, write_atomically
from xnnlib.spec import RECIPES

FOLDER = Path(__file__).resolve().parent
GO_ON = "the same command goes on from there"
IDENTITY = ("device", "versions", "commit", "settings")  # what makes two files the same measurement


def command_line(description: str) -> argparse.ArgumentParser:
    """The options that all have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch-size", type=int, help="default: 256 on CUDA, 32 on a CPU")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="nothing is begun after them")
    parser.add_argument("--repeats", type=int, default=7, help="of each measurement (default: 7)")
    parser.add_argument(
        "--output", type=Path, default=FOLDER / "results", help="folder (default: benchmarks/results)"
    )
    return parser


def settings_of(options: argparse.Namespace, device: torch.device) -> dict:
    """The settings that the options ask for. Raises UserError on one out of range."""
    batch_size = options.batch_size
    if batch_size is None:
        batch_size = 256 if device.type == "cuda" else 32
    if not 1 <= batch_size <= TRAIN_IMAGES or options.repeats < 1:
        raise UserError(f"--batch-size must be from 1 to {TRAIN_IMAGES} and --repeats at least 1.")
    return {
        "batch_size": batch_size,
        "crop": RECIPES["paper"].crop,
        "num_classes": CLASSES,
        "repeats": options.repeats,
    }


def made_on(settings: dict, device: torch.device) -> dict:
    """The head of a file: where, with what and when it was measured. Raises UserError without timm."""
    try:
        versions = runtime.versions() | {name: metadata.version(name) for name in ("timm", "torchvision")}
    except metadata.PackageNotFoundError as missing:
        raise UserError(f"{missing.name} is not installed; make setup installs it.") from None
    return {
        "device": runtime.describe_device(device),
        "versions": versions,
        "commit": runtime.commit(),
        "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "settings": settings,
    }


def slug(device: dict) -> str:
    """The device's folder: its name in lower case, and a CPU's threads."""
    name = device["name"] + (f" {device['threads']} threads" if "threads" in device else "")
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def taken_up(path: Path, new: dict) -> dict:
    """What the file holds already if it was measured on the same, else `new`, which is said."""
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in IDENTITY if old[name] != new[name]]
    except FileNotFoundError:
        return new
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove it.") from error
    if changed:
        print(f"{path} is of another {' and '.join(changed)}: started anew.", file=sys.stderr)
        return new
    return old


def save(path: Path, result: dict) -> None:
    """Write the file atomically."""
    content = json.dumps(result, indent=1) + "\n"
    write_atomically(path, lambda file: file.write(content.encode()))


def ended(work: Callable[[], int]) -> int:
    """The exit status of the work: its own, 2 after a mistake, which is one line, 130 after Ctrl-C."""
    # As after Ctrl-C, the process that is measuring must not go on beside what is measured next.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return work()
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; {GO_ON}.", file=sys.stderr)
        return 130


def measure_and_save(
    description: str,
    file: str,
    measurements: Callable[[dict, torch.device, dict], Iterator[Callable[[], dict]]],
    table: Callable[[dict], str],
    arguments: list[str] | None = None,
) -> int:
    """Make the `measurements`, each of which returns a part of OUTPUT/<device>/`file`; print the table.

    They are asked for with the settings, the device and what the file holds already of the same machine and
    commit, and the file is written after each. Returns the exit status: 1 if there are rows that failed, 3 if
    the time was up before.
    """
    options = command_line(description).parse_args(arguments)
    deadline = time.monotonic() + 60 * options.minutes

    def work() -> int:
        device = runtime.pick_device()
        settings = settings_of(options, device)
        new = made_on(settings, device)
        path = options.output / slug(new["device"]) / file
        with held(path.parent):
            result = taken_up(path, new)
            for measure in measurements(settings, device, result):
                if time.monotonic() >= deadline:
                    print(table(result))
                    print(f"The time is up; {GO_ON}.")
                    return 3
                result |= measure()
                save(path, result)
        print(table(result))
        return int(any("error" in row for row in result.get("rows", [])))

    return ended(work)
