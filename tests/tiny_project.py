"""A project of the real one's shape, with its Snakefile and tools, whose steps take no time.

Its library is a few stubs; `papermill` and `jupyter-book` are scripts that write what the real ones would.
"""

import json
import os
import shutil
import stat
import sys
from pathlib import Path

from staleness import Profile

ROOT = Path(__file__).resolve().parents[1]

FILES = {
    "xnnlib/__init__.py": """from importlib import import_module

_HOMES = {"fit": "training", "load_runs": "records"}


def __getattr__(name):
    return getattr(import_module(f"xnnlib.{_HOMES[name]}"), name)
""",
    "xnnlib/training.py": "import torch\n\nimport xnnlib.compiling\nfrom xnnlib.model import gate\n\n\n"
    "def fit():\n    return gate\n",
    "xnnlib/compiling.py": "options = 1\n",
    "xnnlib/layers.py": '"""Layers."""\n\ngate = 1  # a gate\n',
    "xnnlib/records.py": "def load_runs(*names):\n    return []\n",
    "xnnlib/images.py": "packed = 0\n",
    "xnnlib/verify.py": "import sys\n\nopen(sys.argv[1] + '/SHA256SUMS', 'w').close()\n",
    "xnnlib/report/__init__.py": 'BESIDE = "tenth"\n',
    "xnnlib/report/curves.py": "color = 1\n",
    "xnnlib/report/tables.py": "def table_3(runs):\n    return 'the table'\n",
    "tools/pack_data.py": "import xnnlib.images\n\nprint('fingerprint: abc')\n",
    "profiles/runs.yaml": "quick:\n  blocks: [standard, se]\n  seeds: [0]\n",
    "profiles/quick.yaml": "dataset: shapes\nnum_classes: 10\ntrain_images: 9\nval_images: 9\n"
    "recipe: paper\ncrop: 28\nepochs: 2\n",
    "constraints.txt": "pypdf==5.0\ntorch==2.13.0\n",
    "book/page.md": "Text.\n",
    "benchmarks/results/a-processor/throughput.json": "{}\n",
    "results/tenth/se-seed0/record.json": "{}\n",
    "book/_ext/paper.py": "import xnnlib.report.tables\n",
    "_config.yml": "paper_profile: small\n",
    "_toc.yml": "",
    "references.bib": "",
}
NOTEBOOKS = {
    "train": "from xnnlib import fit\nfrom xnnlib.report.curves import color\n",
    "design": "import xnnlib.model\n",
    "results": "from xnnlib import load_runs\nfrom xnnlib.report.curves import color\n",
    "implementation": "import xnnlib.report.tables\n",
}
# Says what it was called for, and leaves what a run or a report leaves; `fail` and `wait` name a block. A
# training says from when to when it was at work.
PAPERMILL = f"""#!{sys.executable}
import json, pathlib, sys, time
source, log, *options = sys.argv[1:]
values = {{options[i + 1]: options[i + 2] for i, option in enumerate(options) if option == "-p"}}
name = values.get("block", pathlib.Path(source).stem)
with open("calls", "a") as calls:
    print(name, file=calls)
if pathlib.Path("wait").exists() and pathlib.Path("wait").read_text() == name:
    time.sleep(300)
pathlib.Path(log).write_text(json.dumps({{"cells": []}}))
if pathlib.Path("fail").exists() and pathlib.Path("fail").read_text() == name:
    sys.exit(1)
if "run_dir" in values:
    begin = time.monotonic()
    time.sleep(0.5)
    with open("trainings", "a") as trainings:
        print(begin, time.monotonic(), file=trainings)
    record = {{"complete": True, "dataset": {{"fingerprint": "abc"}}, "commit": "unknown"}}
    pathlib.Path(values["run_dir"], "record.json").write_text(json.dumps(record))
    pathlib.Path(values["run_dir"], "epochs.csv").write_text("epoch\\n1\\n2\\n")
"""
JUPYTER_BOOK = """#!/bin/sh
mkdir -p "$4/_build/html" && echo book > "$4/_build/html/index.html" && echo book >> calls
"""


def make_project(folder: Path) -> Path:
    """Write the project and return its root."""
    tools = [f"tools/{name}.py" for name in ("staleness", "code_digests", "reproduce", "kernels")]
    for name in (*tools, *(f"xnnlib/{name}.py" for name in ("errors", "files", "spec", "settings"))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder / "Snakefile")
    for options in ("default", "slurm"):
        shutil.copytree(ROOT / "profiles" / options, folder / "profiles" / options)
    files = FILES | {"tools/drop_progress.py": ""}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name, code in NOTEBOOKS.items():
        write_notebook(folder / "notebooks" / f"{name}.ipynb", code)
    for name, script in (("papermill", PAPERMILL), ("jupyter-book", JUPYTER_BOOK)):
        (folder / "bin").mkdir(exist_ok=True)
        (folder / "bin" / name).write_text(script)
        (folder / "bin" / name).chmod(stat.S_IRWXU)
    return folder


def write_notebook(path: Path, code: str, prose: str = "Words.", output: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [
        {"cell_type": "markdown", "source": [prose]},
        {"cell_type": "code", "source": code.splitlines(keepends=True), "outputs": [output]},
    ]
    path.write_text(json.dumps({"cells": cells}))


def environment(folder: Path) -> dict[str, str]:
    """In which the project's commands find its stubs."""
    places = [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    # Compiled once: Snakemake's thousand modules take seconds otherwise, at each of its starts.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder.parent / "compiled")}
    return os.environ | compiled | {"PATH": os.pathsep.join(places), "PYTHONPATH": str(folder)}


def make_everything(folder: Path, profile: str = "quick", only: str = "") -> None:
    """Leave what a whole run of the profile leaves, or `only` one of its steps."""
    steps = Profile(profile, folder)
    for name, step in steps.steps.items():
        if only and name != only:
            continue
        steps.begin(name, again=False)
        step.output.parent.mkdir(parents=True, exist_ok=True)
        step.output.write_text("fingerprint: abc\n" if name == "data" else "{}")
        if name in steps.runs:
            leave_record(step.output.parent)


def leave_record(run_dir: Path, **values: object) -> None:
    """A run's record and its two epochs; `values` go over those of a complete one."""
    run_dir.mkdir(parents=True, exist_ok=True)
    record = {"complete": True, "dataset": {"fingerprint": "abc"}, "commit": "unknown"} | values
    (run_dir / "record.json").write_text(json.dumps(record))
    (run_dir / "epochs.csv").write_text("epoch\n1\n2\n")
