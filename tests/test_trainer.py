import errno
import json
import os
import random
import signal
import subprocess
import time

import pytest
import torch
from kill_and_resume import command, kill_and_resume, result

from xnnlib import checkpoints, epochs, files, records, runtime, trainer
from xnnlib.data import load_dataset
from xnnlib.errors import Interrupted, UserError
from xnnlib.spec import BLOCKS, RECIPES, NetworkSpec
from xnnlib.training import fit

CPU = torch.device("cpu")
RECIPE = RECIPES["paper"].scaled(epochs=2, batch_size=8, crop=16)
SPEC = NetworkSpec("se", num_classes=3, width=0.25)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return load_dataset("shapes", num_classes=3, train_images=24, val_images=9, size=18, cache_dir=cache)


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """The result of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    fit(SPEC, dataset, RECIPE, folder, device=CPU)
    return result(folder)


def at_step(monkeypatch, epoch, step, happen):
    """Let `happen` be called after that step, both from 0, the first time that it is done."""
    plain, happened = trainer.train_epoch, []

    def train_epoch(*arguments):
        arguments = list(arguments)
        on_step = arguments[7]

        def watched(sums):
            if (arguments[4], sums.steps) == (epoch, step + 1) and not happened:
                happened.append(True)
                happen()
            on_step(sums)

        arguments[7] = watched
        return plain(*arguments)

    monkeypatch.setattr(trainer, "train_epoch", train_epoch)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_run_killed_at_a_random_moment_ends_as_one_left_alone(block, tmp_path):
    kill_and_resume(block, 1, tmp_path, random.Random(BLOCKS.index(block)))


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_saves_between_two_steps_and_the_run_goes_on(
    dataset, whole, tmp_path, monkeypatch, capsys, number, status
):
    at_step(monkeypatch, 1, 0, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match="stopped and saved at epoch 2, step 1; the same command") as why:
        fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)
    assert why.value.exit_status == status
    assert not (tmp_path / "record.json").exists()
    fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)
    assert "going on from epoch 2, step 1." in capsys.readouterr().out
    assert result(tmp_path) == whole


def test_ctrl_c_on_the_command_line_says_how_to_go_on(tmp_path):
    run = tmp_path / "run"
    with subprocess.Popen(
        command("se", run, tmp_path / "cache"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while not (run / checkpoints.CHECKPOINT).exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate()
    assert process.returncode == 130
    assert error.splitlines()[-1].endswith("; the same command goes on from there.")
    assert "Traceback" not in error


def test_a_torn_checkpoint_costs_only_steps(dataset, whole, tmp_path, monkeypatch, capsys):
    at_step(monkeypatch, 1, 1, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)
    (tmp_path / checkpoints.CHECKPOINT).write_bytes(b"torn")
    fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)
    seen = capsys.readouterr()
    assert "checkpoint.pt is damaged; it is not used." in seen.err
    assert "going on from epoch 2, step 0." in seen.out
    assert result(tmp_path) == whole


def test_a_full_disk_stops_the_run_with_one_line_and_loses_nothing(dataset, whole, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        at_step(patch, 1, 1, lambda: patch.setattr(files.os, "fsync", full))
        with pytest.raises(UserError, match="epochs.csv cannot be written .No space left on device."):
            fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)
    fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)
    assert result(tmp_path) == whole


def test_a_folder_in_use_is_refused(dataset, tmp_path):
    with files.held(tmp_path), pytest.raises(UserError, match=f"is in use by process {os.getpid()}, since"):
        fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)


def test_a_loss_that_is_not_finite_stops_the_run_and_is_told(dataset, tmp_path, monkeypatch):
    def fail():
        monkeypatch.setattr(epochs, "logits_of", lambda network, *_: next(network.parameters()).sum() * NAN)

    at_step(monkeypatch, 1, 0, fail)
    line = (
        r"diverged: the loss was not finite at epoch 2, step 2 of 3, learning rate 0\.00\d+ "
        r"\(last good checkpoint: epoch 2, step 1\); delete the folder"
    )
    with pytest.raises(UserError, match=line):
        fit(SPEC, dataset, RECIPE, tmp_path / "p" / "run", device=CPU, checkpoint_seconds=0)
    record = json.loads((tmp_path / "p" / "run" / "record.json").read_text())
    assert record["complete"] is False
    assert {name: record["diverged"][name] for name in ("epoch", "step", "checkpoint")} == {
        "epoch": 2,
        "step": 2,
        "checkpoint": {"epoch": 2, "step": 1},
    }
    assert not (tmp_path / "p" / "run" / "weights.safetensors").exists()
    for again in (
        lambda: records.load_runs(tmp_path, "p"),
        lambda: fit(SPEC, dataset, RECIPE, tmp_path / "p/run"),
    ):
        with pytest.raises(UserError, match=line):
            again()


NAN = torch.full((8, 3), float("nan"))


def test_a_validation_loss_that_is_not_finite_counts_as_well(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "evaluate", lambda *_: (float("inf"), 0.0))
    with pytest.raises(UserError, match="not finite at epoch 1, step 3 of 3, .*last good checkpoint: none"):
        fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)


def test_a_record_names_each_place_that_a_run_was_continued_on(dataset, tmp_path, monkeypatch):
    at_step(monkeypatch, 1, 0, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)
    monkeypatch.setattr(runtime, "commit", lambda: "another")
    record = fit(SPEC, dataset, RECIPE, tmp_path, device=CPU).record
    (continued,) = record["continued"]
    assert (continued["epoch"], continued["step"], continued["commit"]) == (2, 1, "another")
    assert record["commit"] != "another"
