"""The command line of a benchmark that is measured in one go and saved at its end."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from plan import CLASSES
from throughput import FOLDER, empty, slug

from xnnlib import runtime
from xnnlib.files import write_atomically
from xnnlib.spec import RECIPES


def measure_and_save(
    description: str,
    file: str,
    measure: Callable[[dict, torch.device], dict],
    table: Callable[[dict], str],
) -> int:
    """Write what `measure` makes of settings and device to OUTPUT/<device>/`file`; print its table."""
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
    result |= measure(settings, device)
    path = options.output / slug(result["device"]) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(result, indent=1) + "\n"
    write_atomically(path, lambda file: file.write(content.encode()))
    print(table(result))
    return 0
