"""Training speed on this machine, beside what people would use instead: one run, one table.

Every row is measured in a process of its own and saved when it is measured, in
OUTPUT/<device>/throughput.json. The same command goes on where it stopped; with another commit, other
versions or other settings it starts the file anew.

The images are Tiny ImageNet's if XNNLIB_TINY_IMAGENET names its zip or folder, else drawn shapes.
Exit status: 0 all rows are there, 1 some failed, 2 a mistake in the arguments, 3 the time was up before.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from command import FOLDER, GO_ON, command_line, ended, made_on, save, settings_of, slug, taken_up
from plan import ROUNDS, entered, is_measured, jobs
from tqdm import tqdm

from xnnlib import runtime
from xnnlib.data.sources import TinyImageNet
from xnnlib.errors import choose
from xnnlib.files import held


def empty(settings: dict, device: torch.device) -> dict:
    """The file before anything is measured."""
    return made_on(settings, device) | {
        "copy_gigabytes_per_second": None,
        "rows": [],
        "pairs": [],
        "roofline": {},
        "growth": [],
        "kernels": {},
    }


def measured(job: dict, settings: dict) -> dict:
    """Measure in a new process; {"error": one line} if that fails, however it does."""
    with TemporaryDirectory(prefix="xnnlib-") as temporary:
        folder = Path(temporary)
        (folder / "job.json").write_text(json.dumps({"job": job, "settings": settings}), encoding="utf-8")
        environment = dict(os.environ)
        if job["kind"] == "row":
            # A compiler's cache of its own: what was compiled before would make compiling look quick.
            environment["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "compiled")
        command = [sys.executable, str(FOLDER / "measure.py"), temporary]
        # A session of its own: Ctrl-C is for this process, which ends that one.
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            status = process.wait()
        except BaseException:
            end(process)
            raise
        try:
            return json.loads((folder / "result.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {"error": f"its process ended with status {status}"}


def paired(job: dict, settings: dict) -> dict:
    """Images a second of a block's step in the project's and in the plain way, one right after the other.

    A processor's speed drifts by more within minutes than their ratio may be off by. Which way goes first
    alternates from round to round.
    """
    ways = ("xnnlib", "plain") if job["round"] % 2 else ("plain", "xnnlib")
    speeds = {}
    for way in ways:
        outcome = measured(job | {"kind": "row", "way": way, "scope": "model"}, settings)
        if "error" in outcome:
            return outcome
        speeds[way] = outcome["images_per_second"]
    return speeds


def end(process: subprocess.Popen) -> None:
    """End a process with its workers, which are in its session."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def table(result: dict) -> str:
    """The rows as text, then what else there is in a line each."""
    lines = [
        f"{'network':19}{'way':15}{'scope':12}{'precision':10}{'images/s':>9}{'lowest':>9}{'highest':>9}"
    ]
    lines[0] += f"{'MB':>9}{'compile s':>11}"
    for row in result["rows"]:
        line = f"{row['network']:19}{row['way']:15}{row['scope']:12}"
        if "error" in row:
            lines.append(f"{line}{row['error']}")
            continue
        numbers = "".join(f"{row[name]:9,.1f}" for name in ("images_per_second", "lowest", "highest"))
        lines.append(
            f"{line}{row['precision']:10}{numbers}"
            f"{row['peak_memory_megabytes']:9,.0f}{row['compile_seconds']:11.1f}"
        )
    if result["copy_gigabytes_per_second"] is not None:
        lines.append(f"memory: {result['copy_gigabytes_per_second']} GB/s read and written by a copy")
    for block, bound in result["roofline"].items():
        lines.append(
            f"{block}: {bound['bytes_per_image'] / 1e6:.1f} MB an image allow "
            f"{bound['images_per_second']:,.1f} images/s; {100 * bound['share']:.0f} % reached"
        )
    for pair in result["pairs"]:
        if "error" not in pair:
            ratio = f"{pair['xnnlib'] / pair['plain']:.2f} times plain ({pair['plain']:,.1f})"
            lines.append(f"{pair['network']}, round {pair['round']}: {pair['xnnlib']:,.1f} images/s, {ratio}")
    for entry in result["growth"]:
        figures = entry.get("error") or (
            f"{entry['images_per_second']:,.1f} images/s, {entry['peak_memory_megabytes']:,.0f} MB"
        )
        lines.append(f"batch {entry['batch_size']:,}, {entry['train_images']:,} images: {figures}")
    for block, operations in result["kernels"].items():
        parts = ", ".join(f"{operation['name']} {100 * operation['share']:.0f} %" for operation in operations)
        lines.append(f"{block}: {parts}")
    return "\n".join(lines)


def data_set() -> str:
    """Which images: Tiny ImageNet if the environment has it; says loudly if not. Raises UserError."""
    if os.environ.get("XNNLIB_TINY_IMAGENET"):
        TinyImageNet("")
        return "tiny-imagenet"
    print(
        "XNNLIB_TINY_IMAGENET is not set: the images are the drawn SHAPES, not photographs.", file=sys.stderr
    )
    return "shapes"


def run(options: argparse.Namespace, device: torch.device) -> int:
    """Measure what is asked for and not there yet; returns the exit status."""
    deadline = time.monotonic() + 60 * options.minutes
    settings = settings_of(options, device) | {
        "data": data_set(),
        "rounds": ROUNDS[device.type],
        "workers": min(8, len(os.sched_getaffinity(0))),
    }
    asked = jobs(settings)
    if options.only:
        ids = [choose("--only", name, (job["id"] for job in asked)) for name in options.only.split(",")]
        asked = [job for job in asked if job["id"] in ids]
    new = empty(settings, device)
    path = options.output / slug(new["device"]) / "throughput.json"
    failed = []
    with held(path.parent):
        result = taken_up(path, new)
        waiting = [job for job in asked if not is_measured(result, job)]
        with tqdm(waiting, unit="row", initial=len(asked) - len(waiting), total=len(asked)) as bar:
            for done, job in enumerate(bar, start=len(asked) - len(waiting)):
                if time.monotonic() >= deadline:
                    print(table(result))
                    print(f"The time is up after {done} of {len(asked)}; {GO_ON}.")
                    return 3
                bar.set_description(job["id"])
                outcome = (paired if job["kind"] == "pair" else measured)(job, settings)
                if "error" in outcome:
                    failed.append(job["id"])
                    tqdm.write(f"{job['id']}: {outcome['error']}", file=sys.stderr)
                result = entered(result, job, outcome)
                save(path, result)
    print(table(result))
    print(f"{path}: {len(asked) - len(failed)} of {len(asked)} measured")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    parser = command_line(__doc__)
    parser.add_argument("--only", metavar="ID[,ID]", help="just these, such as xnnlib-se-model,copy")
    options = parser.parse_args(arguments)
    return ended(lambda: run(options, runtime.pick_device()))


if __name__ == "__main__":
    sys.exit(main())
