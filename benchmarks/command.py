"""The command line of a benchmark with one file, which is saved part by part; the same command goes on."""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from plan import CLASSES
from throughput import FOLDER, empty, slug, taken_up

from xnnlib import runtime
from xnnlib.files import write_atomically
from xnnlib.spec import RECIPES


def measure_and_save(
    description: str,
    file: str,
    measure: Callable[[dict, torch.device, dict], Iterator[dict]],
    table: Callable[[dict], str],
) -> int:
    """Write what `measure` yields to OUTPUT/<device>/`file`, each time it does; print the table.

    It is called with the settings, the device and what the file holds already of the same machine and commit.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch-size", type=int, help="default: 256 on CUDA, 32 on a CPU")
    parser.add_argument("--repeats", type=int, default=7, help="of a measurement (default: 7)")
    parser.add_argument(
        "--output", type=Path, default=FOLDER / "results", help="folder (default: benchmarks/results)"
    )
    options = parser.parse_args()
    device = runtime.pick_device()
    settings = {
        "batch_size": options.batch_size or (256 if device.type == "cuda" else 32),
        "crop": RECIPES["paper"].crop,
        "num_classes": CLASSES,
        "repeats": options.repeats,
    }
    made = empty(settings, device)
    result = {name: made[name] for name in ("device", "versions", "commit", "started", "settings")}
    path = options.output / slug(result["device"]) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    result = taken_up(path, result)
    for part in measure(settings, device, result):
        result |= part
        content = json.dumps(result, indent=1) + "\n"
        write_atomically(path, lambda file, content=content: file.write(content.encode()))
    print(table(result))
    return 0
