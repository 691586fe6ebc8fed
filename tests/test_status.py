"""Which runs are stale, and what `make status` says of them."""

import os
import subprocess
import sys
from dataclasses import asdict

import pytest
import status
from report_runs import change_record
from status import main, run_status
from tiny_project import leave_run, leave_runs, make_project

from xnnlib.checkpoint import save_checkpoint
from xnnlib.records import load_run
from xnnlib.settings import Settings

ASKED = {"block": "se", "num_classes": 10, "epochs": 3, "batch_size": 32, "run_dir": "results/quick/se-seed0"}
SETTINGS = Settings(**ASKED)


@pytest.fixture
def run(tmp_path):
    leave_run(tmp_path, SETTINGS)
    return tmp_path


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(make_project(tmp_path))
    leave_runs(tmp_path, "quick")
    return tmp_path


def test_time_stamps_make_nothing_stale(run):
    for file in run.iterdir():
        os.utime(file, (2e9, 2e9))
    assert run_status(run, SETTINGS, "abc") == "up to date"
    change_record(run, parameters=None)  # as fit leaves it for who names none
    assert run_status(run, SETTINGS, "abc") == "up to date"


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"epochs": 4}, "epochs was 3, is 4"),
        ({"expansion": 2}, "expansion was 4, is 2"),
        ({"hold_out": True}, "hold_out was False, is True"),
    ],
)
def test_changed_parameter_makes_a_run_stale(run, changes, told):
    assert told in run_status(run, Settings(**ASKED | changes))


def test_a_run_of_another_model_is_stale(tmp_path):
    ours = Settings(**ASKED | {"block": "standard"})
    theirs = Settings(**ASKED | {"block": "standard", "model": "mobilenet_v2"})
    leave_run(tmp_path, theirs, network=theirs.network.sizes())
    assert "model was mobilenet_v2, is xnn" in run_status(tmp_path, ours)
    leave_run(tmp_path, ours, parameters=None)
    assert "model was xnn, is mobilenet_v2" in run_status(tmp_path, theirs)


def test_other_data_makes_a_run_stale(run):
    assert run_status(run, SETTINGS, "other") == "stale: the data changed"


def test_code_change_makes_only_runs_with_a_digest_stale(run, monkeypatch):
    monkeypatch.setattr(status, "code_digest", lambda: "other")
    assert run_status(run, SETTINGS) == "stale: the code changed"
    change_record(run, code=...)
    assert run_status(run, SETTINGS) == "made by older code, commit fffffff"


def test_device_without_bfloat16_makes_no_run_stale(run):
    change_record(run, recipe=asdict(SETTINGS.routine) | {"precision": "float32"})
    assert run_status(run, SETTINGS) == "up to date"


@pytest.mark.parametrize("checkpoint", ["checkpoint.pt", "checkpoint-previous.pt"])
def test_untrained_runs_say_how_far_they_are(run, checkpoint):
    (run / "record.json").unlink()
    assert run_status(run, SETTINGS) == "missing"  # nothing to resume from
    (run / checkpoint).touch()
    assert run_status(run, SETTINGS) == "interrupted in epoch 4"
    (run / "epochs.csv").unlink()
    assert run_status(run, SETTINGS) == "interrupted in epoch 1"


def test_an_interrupted_run_of_other_parameters_is_said_to_be_so(run):
    record = load_run(run).record | {"code": "other"}  # other code may resume it
    (run / "record.json").unlink()
    save_checkpoint(run, {"record": record})
    assert run_status(run, SETTINGS, "abc") == "interrupted in epoch 4"
    assert (
        run_status(run, Settings(**ASKED | {"width": 0.5}), "other")
        == "interrupted with other parameters: width was 1.0, is 0.5; the data changed"
    )


def test_diverged_and_damaged_runs_are_said_to_be_so(run):
    diverged = {"epoch": 2, "step": 3, "steps_per_epoch": 9, "learning_rate": 0.1, "checkpoint": None}
    change_record(run, complete=False, diverged=diverged)
    assert run_status(run, SETTINGS) == "diverged"
    (run / "record.json").write_text("{")
    assert "damaged" in run_status(run, SETTINGS)


def test_each_state_is_a_line_and_a_broken_profile_hides_no_other(project, capsys):
    change_record(project / "results/quick/se-seed0", code="other")
    with open(project / "profiles/runs.yaml", "a") as runs:
        runs.write("gone: {blocks: [se], seeds: [0]}\nbroken: {blocks: [sse], seeds: [0]}\n")
        runs.write("study/one: {base: quick, blocks: [se], seeds: [0, 1]}\n")
    assert main() == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1:] == [
        f"{'quick':28}    2  up to date (standard-seed0, se_cond-seed0)",
        f"{'quick':28}    1  stale: the code changed (se-seed0)",
        f"{'study/one':28}    2  missing",
    ]
    first, second = printed.err.splitlines()
    assert first.startswith("error: profiles/gone.yaml cannot be read")
    assert second.startswith("error: profiles/runs.yaml: broken")

    (project / "profiles/runs.yaml").unlink()
    assert main() == 2
    assert capsys.readouterr().err.startswith("error: profiles/runs.yaml cannot be read")


def test_a_reader_that_has_read_enough_is_no_traceback(project):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run([sys.executable, status.__file__], stdout=closed, stderr=subprocess.PIPE)
    assert done.stderr == b""
