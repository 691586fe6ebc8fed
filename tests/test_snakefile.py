"""`make reproduce` on a project whose steps take no time: what runs, what does not, and how it resumes."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from reproduce import prepare
from tiny_project import environment, leave_run, leave_runs, make_project

from xnnlib.checkpoint import save_checkpoint
from xnnlib.errors import UserError
from xnnlib.profiles import load_profile
from xnnlib.records import load_run
from xnnlib.settings import Settings

BLOCKS = {"standard", "se", "se_cond"}

# Each start of Snakemake takes seconds: a test here sees as much as it can of one.
pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


def start(project, *arguments) -> subprocess.Popen:
    command = [sys.executable, "tools/reproduce.py", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}

    def as_in_a_terminal():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # where the tests run in the background it is ignored

    return subprocess.Popen(
        command, cwd=project, env=environment(project), preexec_fn=as_in_a_terminal, **pipes
    )


def reproduce(project, *arguments) -> tuple[int, str, set[str]]:
    """The exit status, what was printed, and which notebooks and books were made."""
    (project / "calls").write_text("")
    process = start(project, *arguments)
    printed, _ = process.communicate(timeout=300)
    return process.returncode, printed, set((project / "calls").read_text().split())


def test_failing_run_stops_no_other_and_then_only_what_is_missing_is_made(project):
    (project / "fail").write_text("se")
    status, printed, made = reproduce(project, "quick", "")
    assert status == 1
    assert "not trained: se-seed0, see _build/quick/logs/se-seed0.ipynb" in printed
    assert made == BLOCKS | {"design", "implementation"}
    assert not (project / "results/quick/SHA256SUMS").exists()

    (project / "fail").unlink()
    status, printed, made = reproduce(project, "quick", "")
    assert (status, made) == (0, {"se", "results", "book"})
    assert "not the paper's result" in printed and "Top-1" in printed
    assert "se-seed0/record.json" in (project / "results/quick/SHA256SUMS").read_text()


@pytest.mark.parametrize("name", ["se", "design"])
def test_notebook_whose_kernel_did_not_start_is_tried_once_more(project, name):
    (project / "fail-once").write_text(name)
    assert reproduce(project, "quick", "")[0] == 0
    assert (project / "calls").read_text().split().count(name) == 2


def test_fresh_clone_trains_nothing(project):
    runs = "study/wide: {base: quick, blocks: [standard, se, se_cond], seeds: [0], parameters: {width: 2.0}}"
    (project / "profiles/runs.yaml").write_text(runs)
    leave_runs(project, "study/wide")
    (project / "results/study/wide/SHA256SUMS").write_text("as committed")
    (project / "results/study/wide/analysis.json").write_text("{}")
    for file in (project / "results").rglob("*"):
        os.utime(file, (1, 1))
    status, _, made = reproduce(project, "study/wide", "keep")
    assert (status, made) == (0, {"design", "results", "implementation", "analysis", "book"})
    assert (project / "results/study/wide/SHA256SUMS").read_text() == "as committed"
    source = project / "_build/study/wide/source"
    assert (source / "_config.yml").read_text() == 'paper_profile: "study/wide"\n'
    assert (source / "results/study/wide/se-seed0/train.ipynb").exists()

    for name in ("train", "design"):
        (project / f"notebooks/{name}.ipynb").write_text('{"cells": []}')
    assert reproduce(project, "study/wide", "keep")[2] == {"design", "book"}
    (project / "results/another").mkdir()
    (project / "results/another/analysis.json").write_text("{}")  # which any book may quote
    assert reproduce(project, "study/wide", "keep")[2] == {"analysis", "book"}


def test_reports_are_told_a_profile_whose_name_looks_like_a_number(project):
    (project / "profiles/runs.yaml").write_text(
        '"1_2": {base: quick, blocks: [standard, se, se_cond], seeds: [0]}'
    )
    leave_runs(project, "1_2")
    status, _, made = reproduce(project, "1_2", "keep")
    assert (status, made) == (0, {"design", "results", "implementation", "book"})
    assert set((project / "profiles-seen").read_text().split()) == {"1_2"}
    assert (project / "_build/1_2/source/_config.yml").read_text() == 'paper_profile: "1_2"\n'


def test_code_change_reruns_dependents(project):
    leave_runs(project, "quick", code="older")
    leave_runs(project, "quick", below="prepared/results")
    status, _, made = reproduce(project, "quick", "")
    assert (status, made) == (0, BLOCKS | {"design", "results", "implementation", "book"})
    assert (project / "_build/quick/replaced/se-seed0/record.json").exists()


def test_stale_runs_of_other_profiles_are_kept_until_told(project):
    # Without its quotes this name is a number to YAML, and to Snakemake.
    runs = '"1_2": {base: quick, blocks: [standard, se], seeds: [0, 1], parameters: {width: 0.5}}\n'
    (project / "profiles/runs.yaml").write_text(runs)
    leave_runs(project, "1_2", code="older")
    for file in ("record.json", "train.ipynb"):
        (project / "results/1_2/standard-seed0" / file).unlink()
    without_digest = project / "results/1_2/se-seed1/record.json"
    without_digest.write_text(without_digest.read_text().replace('"code": "older"', '"was": "older"'))
    status, printed, made = reproduce(project, "1_2", "")
    assert (status, made) == (2, set())
    assert (
        "error: results/1_2 holds trained runs that are stale: standard-seed1, se-seed0 (`make status` says"
        in printed
    )

    # Slurm is not needed to see what it would be asked for.
    slurm = ("-np", "--workflow-profile", "profiles/slurm")
    status, printed, _ = reproduce(project, "1_2", "retrain", *slurm)
    assert status == 0
    assert "To train anew: standard-seed1, se-seed0, se-seed1; to train: standard-seed0" in printed
    assert "this profile has no book" in printed and "rule book" not in printed
    (job,) = printed.split("rule train:")[1:] or [""]
    # Without -n a cluster is given no cores.
    command = [sys.executable, "-m", "snakemake", "--nolock", "--summary", *slurm[1:]]
    command += ["--config", "results=results/1_2"]
    subprocess.run(command, cwd=project, env=environment(project), check=True)
    resources = job.split("resources:")[1].splitlines()[0]
    assert "gpu=1" in resources and "cpus_per_task=8" in resources and "runtime=720" in resources
    assert (project / "results/1_2/se-seed0/train.ipynb").exists()

    assert "STALE 'yes' is unknown; choose one of keep, retrain." in reproduce(project, "1_2", "yes")[1]
    assert "usage: tools/reproduce.py PROFILE STALE" in reproduce(project, "--help")[1]


def test_runs_begun_with_other_parameters_wait_until_told(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    (project / "profiles/runs.yaml").write_text("other: {base: quick, blocks: [standard, se], seeds: [0]}\n")
    profile = load_profile(project, "other")
    for name, settings in profile.runs().items():
        run = project / "results/other" / name
        other = Settings(**settings.model_dump() | {"width": 0.5})
        leave_run(run, other if name == "se-seed0" else settings)
        save_checkpoint(run, {"record": load_run(run).record})
        (run / "record.json").unlink()
    for stale in ("", "keep"):
        with pytest.raises(
            UserError, match=r"with other parameters: se-seed0 \(.*STALE=retrain to train anew"
        ):
            prepare(profile, stale, dry=True)
    prepare(profile, "retrain", dry=True)
    assert "To train anew: se-seed0; to train: standard-seed0\n" in capsys.readouterr().out


@pytest.mark.parametrize("gpu", [0, 1])
def test_trainings_share_a_processor_but_no_gpu(project, gpu):
    command = [sys.executable, "-m", "snakemake", "--nolock", "--cores", "3", "--resources", "gpu=1"]
    command += ["--config", "results=results/quick", f"gpu={gpu}", "--until", "train"]
    subprocess.run(command, cwd=project, env=environment(project), check=True)
    lines = (project / "trainings").read_text().splitlines()
    first, second, third = sorted([float(number) for number in line.split()] for line in lines)
    if gpu:
        assert first[1] <= second[0] and second[1] <= third[0]
    else:
        assert second[0] < first[1]


@pytest.mark.parametrize("killed", ["snakemake", "everything but snakemake", "Ctrl-C"])
def test_after_a_kill_nothing_is_left_and_the_same_command_resumes(project, killed):
    (project / "wait").write_text("se")
    (project / "calls").write_text("")
    first = start(project, "quick", "")
    deadline = time.monotonic() + 120
    while "se\n" not in (project / "calls").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    session = int((project / ".snakemake/session").read_text())
    if killed == "snakemake":
        second = start(project, "quick", "")
        assert f"locked by process {first.pid}" in second.communicate(timeout=120)[0]
        assert second.returncode == 2
        os.kill(session, signal.SIGKILL)
        assert first.wait(120) == 128 + signal.SIGKILL
        assert not _processes(session)
    elif killed == "Ctrl-C":
        first.send_signal(signal.SIGINT)
        assert "stopped; the same command resumes" in first.communicate(timeout=120)[0]
        assert first.returncode == 128 + signal.SIGINT
        assert not _processes(session)
    else:
        first.kill()
        first.wait()
        assert _processes(session)
    (project / "wait").unlink()
    status, _, made = reproduce(project, "quick", "")
    assert status == 0 and "se" in made
    assert not _processes(session) and not (project / ".snakemake/session").exists()
    assert (project / "_build/quick/_build/html/index.html").exists()


def _processes(session: int) -> list[psutil.Process]:
    """The living processes of a session."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
