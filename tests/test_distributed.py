"""Several processes against one: real torchrun, gloo on the CPU."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from kill_and_resume import TINY, result
from safetensors.torch import load_file

from xnnlib import distributed, records
from xnnlib.checkpoints import CHECKPOINT
from xnnlib.errors import UserError
from xnnlib.settings import Settings, from_arguments
from xnnlib.training import train

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


@pytest.fixture(autouse=True)
def machine(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XNNLIB_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def train_with(launcher: list[str], run_dir: Path, *more: str) -> subprocess.Popen:
    """Train in double precision."""
    command = [*launcher, str(HERE / "train_in_double.py"), f"--run-dir={run_dir}", *TINY.split(), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen, status: int = 0) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == status, output
    return output


def standalone(processes: int, restarts: int = 0) -> list[str]:
    return [*TORCHRUN, "--standalone", f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]


def curve(run_dir: Path) -> torch.Tensor:
    """epochs.csv but for its seconds."""
    with open(run_dir / "epochs.csv", newline="", encoding="utf-8") as file:
        rows = [[float(value) for value in row.values()][:-1] for row in csv.DictReader(file)]
    return torch.tensor(rows, dtype=torch.float64)


# Three steps an epoch, as a processor convolves the channels of each image in double precision one by one.
FEW_STEPS = ("--block=se_cond", "--train-images=24")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The run of a single process."""
    run = tmp_path_factory.mktemp("one")
    finish(train_with([sys.executable], run, *FEW_STEPS, "--epochs=3"))
    return run


def test_two_processes_equal_one(one, tmp_path):
    output = finish(train_with(standalone(2), tmp_path, *FEW_STEPS, "--epochs=3"))
    torch.testing.assert_close(curve(tmp_path), curve(one), rtol=0, atol=2e-6)  # as the file rounds them
    mine, other = (load_file(run / "weights.safetensors") for run in (tmp_path, one))
    for name in other:
        # Filters are stored in half precision; crops are resampled in single precision, whose rounding
        # depends on the size of the batch.
        tight = {"rtol": 1e-3} if other[name].ndim > 1 else {"rtol": 1e-5}
        torch.testing.assert_close(mine[name], other[name], atol=1e-7, **tight)
    assert records.load_run(tmp_path).record["device"]["count"] == 2
    assert output.count("epoch   3/3") == 1, "more than one process speaks"


def test_batch_norm_of_each_process_alone_is_another_recipe(one, tmp_path):
    alone = "--recipe-changes=batch_norm=per_process"
    finish(train_with(standalone(2), tmp_path, *FEW_STEPS, "--epochs=3", alone))
    assert (curve(tmp_path)[0] - curve(one)[0])[2].abs() > 1e-3  # the training loss


def test_a_lost_process_is_replaced_from_the_checkpoint(tmp_path):
    finish(train_with(standalone(2), tmp_path / "whole", "--epochs=2"))
    run = tmp_path / "run"
    process = train_with(standalone(2, restarts=3), run, "--epochs=2", "--checkpoint-seconds=0")
    while not (run / CHECKPOINT).exists():
        assert process.poll() is None
        time.sleep(0.01)
    lost = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()[
        -1
    ]
    os.kill(int(lost), signal.SIGKILL)
    assert "going on from epoch" in finish(process)
    ran, whole = result(run), result(tmp_path / "whole")
    del ran[0]["parameters"], whole[0]["parameters"]  # checkpoint_seconds
    assert ran == whole


def test_two_nodes_meet_at_an_address(tmp_path):
    meeting = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:29417"]
    for node in [train_with([*TORCHRUN, *meeting], tmp_path, "--epochs=1") for _ in range(2)]:
        finish(node)
    assert records.load_run(tmp_path).record["device"]["count"] == 2


def test_the_settings_start_as_many_processes_as_devices_and_share_the_cores(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    options = [*TINY.split(), "--devices=2", "--epochs=1", f"--run-dir={tmp_path}"]
    device = train(from_arguments(options, "", "")).record["device"]
    assert device["count"] == 2 and device["threads"] <= max(1, os.cpu_count() // 2)


def test_ctrl_c_stops_all_processes_with_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "xnnlib.training",
        *TINY.split(),
        "--epochs=400",
        "--checkpoint-seconds=0",
    ]
    command += ["--devices=2", f"--run-dir={tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while not (tmp_path / CHECKPOINT).exists():
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "interrupted: stopped; the same command goes on from the last checkpoint." in output
    assert "Traceback" not in output


def test_images_that_are_not_there_are_one_line_before_any_process_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "launch", None)
    settings = Settings(devices=2, batch_size=8, dataset="folder", data_root=str(tmp_path / "none"))
    with pytest.raises(UserError, match="none"):
        train(settings)


def test_a_batch_that_cannot_be_shared_is_refused_before_any_work(tmp_path):
    with pytest.raises(UserError, match="batch_size is 9; it must be a multiple of devices, 2."):
        Settings(batch_size=9, devices=2, run_dir=str(tmp_path))
