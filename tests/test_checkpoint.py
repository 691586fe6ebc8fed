"""Whatever ends a run, the same command resumes it to the result of one that was left alone."""

import os
import random
import signal
import threading
import time

import pytest
import torch
from tiny_run import CPU, RECIPE, SPEC, at_step, await_checkpoint, disk_full, finish, interrupt, result, start

from xnnlib import checkpoint, files, runtime
from xnnlib.checkpoint import CHECKPOINT, PREVIOUS, DeferSignals, load_checkpoint, save_checkpoint
from xnnlib.errors import Interrupted, UserError
from xnnlib.spec import BLOCKS
from xnnlib.training import fit

# The two files


def save_two(folder):
    for step in (1, 2):
        save_checkpoint(folder, {"step": step, "weight": torch.full((300,), float(step))})


def test_newest_is_read_and_one_before_is_kept(tmp_path):
    assert load_checkpoint(tmp_path) is None
    save_two(tmp_path)
    assert load_checkpoint(tmp_path)["step"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, PREVIOUS}
    checkpoint.remove_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_damaged_checkpoint_is_named_and_one_before_is_used(tmp_path, capsys, monkeypatch):
    save_two(tmp_path)
    newest = tmp_path / CHECKPOINT
    newest.write_bytes(newest.read_bytes()[:-200])
    state = load_checkpoint(tmp_path)
    assert state["step"] == 1 and (state["weight"] == 1).all()
    assert f"{CHECKPOINT} is damaged; it is not used." in capsys.readouterr().out
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(tmp_path, {"step": 3})
    assert load_checkpoint(tmp_path)["step"] == 1  # the damaged one was not put in its place


def test_killed_between_the_two_renames(tmp_path):
    save_two(tmp_path)
    (tmp_path / CHECKPOINT).unlink()
    assert load_checkpoint(tmp_path)["step"] == 1
    (tmp_path / PREVIOUS).write_bytes(b"")
    assert load_checkpoint(tmp_path) is None


# Signals


def test_second_ctrl_c_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt), DeferSignals():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_are_restored_and_other_threads_leave_them():
    def handlers():
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def defer():
        with DeferSignals():
            seen.append(handlers())

    before, seen = handlers(), []
    defer()
    thread = threading.Thread(target=defer)
    thread.start()
    thread.join()
    assert seen[0][0] != before[0] and seen[1] == before and handlers() == before


# A run that is ended and resumed


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """The result of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    fit(SPEC, dataset, RECIPE, folder, device=CPU)
    return result(folder)


def interrupted(dataset, run_dir, monkeypatch, epoch, step, number=signal.SIGINT) -> Interrupted:
    with monkeypatch.context() as patch:
        at_step(patch, epoch, step, lambda: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted) as raised:
            fit(SPEC, dataset, RECIPE, run_dir, device=CPU)
    return raised.value


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_saves_between_two_steps_and_the_run_resumes(
    dataset, whole, tmp_path, monkeypatch, capsys, number, status
):
    why = interrupted(dataset, tmp_path, monkeypatch, 2, 1, number)
    assert str(why) == "stopped and saved at epoch 2, step 1; the same command resumes there."
    assert why.exit_status == status
    assert not (tmp_path / "record.json").exists()
    fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)
    assert "resuming from epoch 2, step 1." in capsys.readouterr().out
    assert result(tmp_path) == whole


def test_torn_checkpoint_costs_only_steps(dataset, whole, tmp_path, monkeypatch, capsys):
    interrupted(dataset, tmp_path, monkeypatch, 2, 2)
    (tmp_path / CHECKPOINT).write_bytes(b"torn")
    fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)
    seen = capsys.readouterr()
    assert "checkpoint.pt is damaged; it is not used." in seen.out
    assert "resuming from epoch 2, step 0." in seen.out
    assert result(tmp_path) == whole


def test_full_disk_is_one_line_and_loses_nothing(dataset, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        at_step(patch, 2, 2, lambda: patch.setattr(files.os, "fsync", disk_full))
        with pytest.raises(UserError, match="epochs.csv cannot be written .No space left on device."):
            fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)
    fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)
    assert result(tmp_path) == whole


def test_locked_folder_is_refused(dataset, tmp_path):
    with files.locked(tmp_path), pytest.raises(UserError, match=f"locked by process {os.getpid()}, since"):
        fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)


def test_record_names_each_commit_and_code_that_it_ran_on(dataset, tmp_path, monkeypatch):
    interrupted(dataset, tmp_path, monkeypatch, 2, 1)
    saved = load_checkpoint(tmp_path)
    del saved["record"]["network"]["depthwise_fan_out"]  # as code wrote it that did not know it
    save_checkpoint(tmp_path, saved)
    monkeypatch.setattr(runtime, "commit", lambda: "another")
    monkeypatch.setattr(runtime, "code_digest", lambda: "changed")
    record = fit(SPEC, dataset, RECIPE, tmp_path, device=CPU).record
    (continued,) = record["continued"]
    assert (continued["epoch"], continued["step"]) == (2, 1)
    assert (continued["commit"], continued["code"]) == ("another", "changed")
    assert record["commit"] != "another" and record["code"] != "changed"


def test_checkpoint_of_another_run_is_refused(dataset, tmp_path, monkeypatch):
    interrupted(dataset, tmp_path, monkeypatch, 1, 1)
    with pytest.raises(UserError, match="holds a run with seed 0, not 1; choose another run_dir"):
        fit(SPEC, dataset, RECIPE, tmp_path, seed=1, device=CPU)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_killed_at_a_random_moment_ends_as_one_left_alone(block, tmp_path):
    arguments = (f"--block={block}", "--checkpoint-seconds=0")
    began = time.monotonic()
    finish(start(tmp_path / "whole", *arguments))
    seconds = time.monotonic() - began
    process = start(tmp_path / "killed", *arguments)
    time.sleep(random.Random(block).uniform(0.3, 1) * seconds)
    process.kill()
    process.communicate()
    finish(start(tmp_path / "killed", *arguments))
    # Not the records, which name a commit that somebody may make meanwhile.
    assert result(tmp_path / "killed")[1:] == result(tmp_path / "whole")[1:]


@pytest.mark.slow
def test_ctrl_c_on_the_command_line_is_one_line(tmp_path):
    process = start(tmp_path / "run", "--epochs=400", "--checkpoint-seconds=0")
    await_checkpoint(process, tmp_path / "run")
    interrupt(process)
    output = finish(process, 130)
    assert output.splitlines()[-1].startswith("interrupted: stopped and saved at epoch ")
    assert "Traceback" not in output
