"""The graph of jobs, on a project whose steps take no time: what runs, what does not, and how it goes on."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from draw_graph import FOLDER, NAME, draw, rule_graph
from staleness import Profile
from tiny_project import environment, make_everything, make_project

from xnnlib.report.style import saved_digest

ROOT = Path(__file__).resolve().parents[1]


# Each start of Snakemake takes seconds: a test here sees as much as it can of one.


@pytest.fixture
def project(tmp_path):
    """With its data packed, so that no test waits for that."""
    make_project(tmp_path)
    make_everything(tmp_path, only="data")
    return tmp_path


def start(project, *arguments) -> subprocess.Popen:
    command = [sys.executable, "tools/reproduce.py", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=project, env=environment(project), **pipes)


def reproduce(project, *arguments) -> tuple[int, str, set[str]]:
    """The exit status, what was printed, and which notebooks and books were made."""
    (project / "calls").write_text("")
    process = start(project, *arguments)
    printed, _ = process.communicate(timeout=300)
    return process.returncode, printed, set((project / "calls").read_text().split())


def test_a_failing_run_stops_nothing_else_and_then_only_what_is_missing_is_made(project):
    (project / "fail").write_text("se")
    status, printed, made = reproduce(project, "quick", "")
    assert status == 1
    assert "not trained: se-seed0, see _build/quick/logs/se-seed0.ipynb" in printed
    assert made == {"standard", "se", "design", "implementation"}

    (project / "fail").unlink()
    assert reproduce(project, "quick", "", "results/quick/se-seed0/train.ipynb")[::2] == (0, {"se"})
    assert reproduce(project, "quick", "")[::2] == (0, {"results", "book"})


def test_a_change_of_the_code_makes_its_runs_and_what_reads_them_again_and_a_time_stamp_nothing(project):
    make_everything(project)
    for file in (project / "xnnlib").rglob("*.py"):
        os.utime(file)
    (project / "xnnlib/training.py").write_text("import torch\n\n\ndef fit():\n    return 2\n")
    options = ("--cores", "4", "--set-threads", "train=1")
    assert reproduce(project, "quick", "", *options)[::2] == (0, {"standard", "se", "results", "book"})
    for name in ("record.json", "train.ipynb"):
        assert (project / "_build/quick/replaced/se-seed0" / name).exists()
    assert {text for _, text in Profile("quick", project).status()} == {"up to date"}
    # No two trainings share a GPU, whatever the number of cores.
    first, second = sorted(_numbers(line) for line in _text(project / "trainings").splitlines())
    assert first[1] <= second[0]


def test_trained_runs_of_another_profile_are_kept_until_it_is_said_what_to_do_with_them(project):
    (project / "profiles/runs.yaml").write_text("small:\n  blocks: [standard, se]\n  seeds: [0]\n")
    (project / "profiles/quick.yaml").rename(project / "profiles/small.yaml")
    make_everything(project, "small")
    (project / "xnnlib/training.py").write_text("def fit():\n    return 2\n")
    (project / "results/small/standard-seed0/record.json").unlink()
    status, printed, made = reproduce(project, "small", "")
    assert (status, made) == (2, set())
    assert printed == (
        "error: results/small holds trained runs that are stale: se-seed0 (`make status` says why); "
        "add STALE=keep to go on with them, or STALE=retrain to train anew.\n"
    )

    # Slurm is not needed to see what it would be asked for.
    status, printed, _ = reproduce(project, "small", "keep", "-n", "--workflow-profile", "profiles/slurm")
    assert status == 0
    (job,) = printed.split("rule train:")[1:]
    assert "wildcards: block=standard, seed=0" in job
    resources = job.split("resources:")[1].splitlines()[0]
    assert "gpu=1" in resources and "cpus_per_task=8" in resources and "runtime=720" in resources

    _, printed, _ = reproduce(project, "small", "retrain", "-n")
    assert re.search(r"updated input files:\s+train", printed)
    assert (project / "results/small/se-seed0/train.ipynb").exists()


def test_after_a_kill_nothing_is_left_and_the_same_command_goes_on(project):
    (project / "wait").write_text("se")
    first = start(project, "quick", "")
    wait_for(lambda: "se\n" in _text(project / "calls"))
    second = start(project, "quick", "")
    assert f".snakemake is in use by process {first.pid}" in second.communicate(timeout=120)[0]
    assert second.returncode == 2

    (snakemake,) = _children(first.pid)
    os.kill(snakemake, signal.SIGKILL)
    assert "Snakemake was killed; the same command goes on" in first.communicate(timeout=120)[0]
    assert first.returncode == 137
    wait_for(lambda: not [pid for pid in _all_processes() if _session(pid) == snakemake])

    (project / "wait").unlink()
    status, _, made = reproduce(project, "quick", "")
    assert status == 0 and "se" in made
    assert (project / "_build/quick/_build/html/index.html").exists()


def test_the_books_graph_is_that_of_the_snakefile(project, monkeypatch):
    for name, value in environment(project).items():
        monkeypatch.setenv(name, value)
    figure = draw(rule_graph(project))
    for kind in ("svg", "pdf"):
        assert saved_digest(ROOT / FOLDER / f"{NAME}.{kind}") == figure.data_digest, "draw it with: make dag"


def wait_for(condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _numbers(line: str) -> list[float]:
    return [float(number) for number in line.split()]


def _all_processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["Z", "0", "0", "0"]


def _children(pid: int) -> list[int]:
    return [child for child in _all_processes() if _stat(child)[1] == str(pid)]


def _session(pid: int) -> int:
    state, _, _, session = _stat(pid)[:4]
    return 0 if state == "Z" else int(session)
