"""Kill a training run at random moments, resume it each time, and compare it with one left alone.

`python tests/kill_and_resume.py --kills 20` does so for each block; the tests do it with a few kills.
"""

import argparse
import csv
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xnnlib.spec import BLOCKS

# Small enough that starting the process is most of the time, with a checkpoint after every step.
TINY = "--width=0.25 --num-classes=3 --train-images=48 --val-images=9 --batch-size=8 --crop=16 --epochs=4"


def command(block: str, run_dir: Path, cache: Path) -> list[str]:
    tiny = [*TINY.split(), "--checkpoint-seconds=0", f"--block={block}", f"--run-dir={run_dir}"]
    code = "import os, sys; os.environ['XNNLIB_CACHE'] = sys.argv.pop(1); "
    code += "from xnnlib.training import main; sys.exit(main())"
    return [sys.executable, "-c", code, str(cache), *tiny]


def result(run_dir: Path) -> tuple:
    """Everything that a run leaves but its times."""
    record = json.loads((run_dir / "record.json").read_text(encoding="utf-8"))
    for name in ("started", "train_seconds", "images_per_second"):
        del record[name]
    with open(run_dir / "epochs.csv", newline="", encoding="utf-8") as file:
        rows = [
            {name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)
        ]
    return record, rows, (run_dir / "weights.safetensors").read_bytes()


def kill_and_resume(block: str, kills: int, folder: Path, chance: random.Random) -> int:
    """Kill `kills` times; returns how many runs were finished on the way, each as the one left alone.

    Raises AssertionError if one is not.
    """
    whole, killed = folder / f"{block}-whole", folder / f"{block}-killed"
    start = time.monotonic()
    subprocess.run(command(block, whole, folder / "cache"), check=True, capture_output=True)
    seconds, expected, finished = time.monotonic() - start, result(whole), 0
    while kills or not (killed / "record.json").exists():
        process = subprocess.Popen(
            command(block, killed, folder / "cache"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _, error = process.communicate(timeout=chance.uniform(0, seconds) if kills else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills -= 1
            continue
        assert process.returncode == 0, error
        assert result(killed) == expected, f"{killed} is not as the run that was left alone"
        finished += 1
        if kills:
            shutil.rmtree(killed)
    assert result(killed) == expected, f"{killed} is not as the run that was left alone"
    return finished


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="of each block (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    for block in BLOCKS:
        with tempfile.TemporaryDirectory() as folder:
            finished = kill_and_resume(block, options.kills, Path(folder), random.Random(options.seed))
        print(f"{block}: killed {options.kills} times, {finished} runs finished, all as the run left alone")


if __name__ == "__main__":
    main()
