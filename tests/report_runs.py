"""Hand-made run folders for the tests of the report."""

import json
from dataclasses import asdict
from pathlib import Path

from xnnlib.records import EPOCH_COLUMNS, Run, load_run, save_epochs, save_record
from xnnlib.spec import Recipe, recipe_for

TOP1 = {"standard": (20.0, 41.0, 40.2), "se": (22.0, 39.0, 43.4), "se_cond": (25.0, 38.0, 38.6)}


def example(
    block: str = "standard",
    seed: int = 0,
    shift: float = 0.0,
    profile: str = "small",
    recipe: Recipe | None = None,
    val_images: int = 500,
    device: str = "cpu",
    network: dict | None = None,
) -> tuple[dict, list[dict]]:
    """The record of a complete run and its three epochs; `shift` moves its validation top-1, in points."""
    top1 = [value + shift for value in TOP1[block]]
    values = ((i + 1, 0.1, 2.0 - i / 4, 21.5 + 10 * i, 2.1 - i / 5, top1[i], 30.0) for i in range(3))
    rows = [dict(zip(EPOCH_COLUMNS, row, strict=True)) for row in values]
    record = {
        "profile": profile,
        "block": block,
        "seed": seed,
        "recipe": asdict(recipe or recipe_for("paper", block)),
        "network": {"num_classes": 10, "reduction": 4, "experts": 4} | (network or {}),
        "dataset": {
            "name": "tiny-imagenet",
            "num_classes": 10,
            "train_images": 5000,
            "val_images": val_images,
            "fingerprint": "0123456789abcdef" * 4,
        },
        "device": {"type": device, "name": "a processor", "threads": 2},
        "versions": {"python": "3.11.7", "torch": "2.13.0", "xnnlib": "0.1.0"},
        "commit": "f" * 40,
        "started": "2026-01-01T00:00:00Z",
        "epochs": 3,
        "last": {"epoch": 3, "top1": top1[-1], "loss": 1.7},
        "best": {"top1": max(top1), "epoch": 1 + top1.index(max(top1))},
        "train_seconds": {"standard": 90.0, "se": 120.0, "se_cond": 180.0}[block],
        "images_per_second": 166.7,
        "complete": True,
    }
    return record, rows


def write_run(root: Path, block: str, seed: int = 0, shift: float = 0.0, **options) -> Run:
    """The folder of an `example` run, below `root`."""
    record, rows = example(block, seed, shift, **options)
    run_dir = root / "results" / record["profile"] / f"{block}-seed{seed}"
    save_record(run_dir, record)
    save_epochs(run_dir, rows)
    return load_run(run_dir)


def changed(record: dict, place: list | tuple, value: object) -> dict:
    """The record with another value at a place; with `...`, without that field."""
    record = inner = json.loads(json.dumps(record))
    *above, name = place
    for part in above:
        inner = inner[part]
    inner[name] = value
    if value is ...:
        del inner[name]
    return record


def change_record(run_dir: Path, **values: object) -> None:
    """Other values in the record of a run; `...` takes a field out."""
    record = json.loads((run_dir / "record.json").read_text(encoding="utf-8")) | values
    save_record(run_dir, {name: value for name, value in record.items() if value is not ...})
