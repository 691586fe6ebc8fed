"""A project of the real one's shape, with its Snakefile and tools, whose steps take no time.

`papermill` and `jupyter-book` are scripts that write what the real ones would.
"""

import os
import shutil
import stat
import sys
from pathlib import Path

from report_runs import example

from xnnlib.profiles import load_profile
from xnnlib.records import save_epochs, save_record
from xnnlib.runtime import code_digest
from xnnlib.settings import Settings

ROOT = Path(__file__).resolve().parents[1]

FILES = {
    "tools/pack_data.py": "import pathlib\npathlib.Path('_build/quick').mkdir(parents=True, exist_ok=True)\n"
    "pathlib.Path('_build/quick/data.txt').write_text('fingerprint: abc')\n",
    "tools/drop_progress.py": "",
    "profiles/runs.yaml": "quick: {blocks: [standard, se, se_cond], seeds: [0]}\n",
    "profiles/quick.yaml": "profile: quick\ndataset: shapes\nnum_classes: 10\ntrain_images: 900\n"
    "val_images: 90\nepochs: 3\nbatch_size: 32\ncrop: 28\n",
    "book/page.md": "Text.\n",
    "benchmarks/results/a-processor.json": "{}\n",
    "_config.yml": "paper_profile: small\n",
    "_toc.yml": "",
    "references.bib": "",
    **{
        f"notebooks/{name}.ipynb": "{}"
        for name in ("train", "design", "results", "implementation", "analysis", "explore")
    },
}
# Says what it was called for, and leaves what a run or a report leaves: a run's record lies in prepared/.
# `fail`, `fail-once` and `wait` name a block. A training says from when to when it was at work.
PAPERMILL = f"""#!{sys.executable}
import pathlib, shutil, sys, time
source, log, *options = sys.argv[1:]
values = {{options[i + 1]: options[i + 2] for i, option in enumerate(options) if option in ("-p", "-r")}}
for option, name, value in zip(options, options[1:], options[2:]):
    if option == "-p" and value.replace("_", "").isdecimal():  # which papermill takes for a number
        values[name] = int(value)
with open("profiles-seen", "a") as seen:
    print(values.get("profile", ""), file=seen)
name = values.get("block", pathlib.Path(source).stem)
with open("calls", "a") as calls:
    print(name, file=calls)
def told_to(do):
    return pathlib.Path(do).exists() and pathlib.Path(do).read_text() == name
if told_to("wait"):
    time.sleep(300)
pathlib.Path(log).write_text("{{}}")
if told_to("fail-once"):
    pathlib.Path("fail-once").unlink()
    sys.exit(1)
if told_to("fail"):
    sys.exit(1)
if "run_dir" in values:
    begin = time.monotonic()
    time.sleep(1)
    with open("trainings", "a") as trainings:
        print(begin, time.monotonic(), file=trainings)
    shutil.copytree("prepared/" + values["run_dir"], values["run_dir"], dirs_exist_ok=True)
    pathlib.Path(values["run_dir"], "train.ipynb").unlink()
"""
JUPYTER_BOOK = """#!/bin/sh
mkdir -p "$4/_build/html" && echo book > "$4/_build/html/index.html" && echo book >> calls
"""


def make_project(folder: Path) -> Path:
    """Write the project and return its root."""
    for name in ("reproduce", "sessions", "status"):
        (folder / "tools").mkdir(exist_ok=True)
        shutil.copy(ROOT / f"tools/{name}.py", folder / "tools")
    shutil.copy(ROOT / "Snakefile", folder)
    for options in ("default", "slurm"):
        shutil.copytree(ROOT / "profiles" / options, folder / "profiles" / options)
    scripts = {"bin/papermill": PAPERMILL, "bin/jupyter-book": JUPYTER_BOOK}
    for name, text in (FILES | scripts).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in scripts:
        (folder / name).chmod(stat.S_IRWXU)
    leave_runs(folder, "quick", below="prepared/results")
    return folder


def leave_runs(folder: Path, profile: str, below: str = "results", **values: object) -> None:
    """Every run of a profile, complete; `values` go over those of its record."""
    for run, settings in load_profile(folder, profile).runs().items():
        leave_run(folder / below / profile / run, settings, **values)


def leave_run(run_dir: Path, settings: Settings, **values: object) -> None:
    """The files of a complete run of three epochs."""
    named = {"profile": settings.profile, "recipe": settings.routine, "network": settings.network.sizes()}
    record, rows = example(settings.block, settings.seed, **named)
    record["dataset"]["fingerprint"] = "abc"
    save_record(run_dir, record | {"parameters": settings.recorded(), "code": code_digest()} | values)
    save_epochs(run_dir, rows)
    (run_dir / "train.ipynb").write_text("{}")


def environment(folder: Path) -> dict[str, str]:
    """In which the project's commands find its stubs."""
    places = [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    # Compiled once: Snakemake's thousand modules take seconds otherwise, at each of its starts.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder.parent / "compiled")}
    return os.environ | compiled | {"PATH": os.pathsep.join(places)}
