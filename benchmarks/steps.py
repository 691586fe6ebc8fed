"""From the plain way to this project's, step by step: what each step brings to each block.

Each step adds one thing to all before it. Every row is measured in a process of its own, as those of
throughput.py. Written to OUTPUT/<device>/steps.json, row by row; the same command goes on.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial

import torch
from command import measure_and_save
from throughput import measured
from tqdm import tqdm

from xnnlib.spec import BLOCKS

# In the order in which they are taken; what each is, measure.part_way knows.
STEPS = ("layers", "memory", "channels_last", "bfloat16")
ON_A_GPU = ("compiled", "graphs", "triton")


def jobs(device_type: str) -> list[dict]:
    """Each block with no step taken, with the first, with the first two, and so on."""
    steps = STEPS + (ON_A_GPU if device_type == "cuda" else ())
    return [
        {"kind": "part", "network": block, "taken": list(steps[:count])}
        for count in range(len(steps) + 1)
        for block in BLOCKS
    ]


def table(result: dict) -> str:
    lines = []
    for row in result["rows"]:
        speed = row.get("error") or (
            f"{row['images_per_second']:9,.1f} images/s ({row['lowest']:,.1f} to {row['highest']:,.1f})"
        )
        lines.append(f"{row['network']:10}{' + '.join(row['taken']) or 'plain':50}{speed}")
    return "\n".join(lines)


def measurements(settings: dict, device: torch.device, before: dict) -> Iterator[Callable[[], dict]]:
    """One for each row that was not there `before`: all rows so far. One that failed has its error."""
    rows = {_key(row): row for row in before.get("rows", []) if "error" not in row}
    asked = jobs(device.type)

    def measure(job: dict) -> dict:
        rows[_key(job)] = {name: job[name] for name in ("network", "taken")} | measured(job, settings)
        return {"rows": [rows[_key(each)] for each in asked if _key(each) in rows]}

    for job in tqdm(asked, unit="row"):
        if _key(job) not in rows:
            yield partial(measure, job)


def _key(row: dict) -> tuple:
    return row["network"], *row["taken"]


if __name__ == "__main__":
    sys.exit(measure_and_save(__doc__, "steps.json", measurements, table))
