"""Several processes against one: real torchrun, gloo on the CPU."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import await_checkpoint, finish, interrupt, result, start

from xnnlib import records

PROGRAM = (str(Path(__file__).with_name("train_without_statistics.py")),)


def torchrun(processes: int, restarts: int = 0) -> tuple[str, ...]:
    run = ("-m", "torch.distributed.run", "--standalone")
    return (*run, f"--nproc-per-node={processes}", f"--max-restarts={restarts}")


def curve(run_dir: Path) -> torch.Tensor:
    """epochs.csv but for its seconds."""
    rows = result(run_dir)[1]
    return torch.tensor([list(map(float, row.values())) for row in rows], dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("block", ["se", "se_cond"])
def test_two_processes_equal_one_without_batch_statistics(block, tmp_path):
    """Each takes its rows of every batch, gradients are averaged, sums are over both."""
    finish(start(tmp_path / "one", f"--block={block}", program=PROGRAM))
    output = finish(start(tmp_path / "two", f"--block={block}", program=PROGRAM, launcher=torchrun(2)))
    # As the file rounds them.
    torch.testing.assert_close(curve(tmp_path / "two"), curve(tmp_path / "one"), rtol=0, atol=2e-6)
    two, one = (load_file(tmp_path / name / "weights.safetensors") for name in ("two", "one"))
    for name in one:
        # Filters are stored in half precision; crops are resampled in single precision, whose rounding
        # depends on the size of the batch.
        tight = {"rtol": 1e-3} if one[name].ndim > 1 else {"rtol": 1e-5}
        torch.testing.assert_close(two[name], one[name], atol=1e-6, **tight)
    assert records.load_run(tmp_path / "two").record["device"]["count"] == 2
    assert output.count("epoch   2/2") == 1, "more than one process speaks"


@pytest.mark.slow
def test_lost_process_restarts_from_the_checkpoint(tmp_path):
    finish(start(tmp_path / "whole", launcher=torchrun(2)))
    run = tmp_path / "run"
    process = start(run, "--checkpoint-seconds=0", launcher=torchrun(2, restarts=3))
    await_checkpoint(process, run)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout
    os.kill(int(children.split()[-1]), signal.SIGKILL)
    assert "resuming from epoch" in finish(process)
    # Not the records, which name a commit that somebody may make meanwhile.
    assert result(run)[1:] == result(tmp_path / "whole")[1:]


@pytest.mark.slow
def test_ctrl_c_saves_and_is_said_once(tmp_path):
    process = start(tmp_path, "--epochs=400", "--checkpoint-seconds=0", launcher=torchrun(2))
    await_checkpoint(process, tmp_path)
    interrupt(process)
    output, _ = process.communicate()
    assert process.returncode != 0
    assert output.count("interrupted: stopped and saved at epoch ") == 1, output
    assert "xnnlib" not in output.partition("Traceback")[2], output


@pytest.mark.slow
def test_batch_that_processes_cannot_share_is_one_line(tmp_path):
    output = finish(start(tmp_path, "--batch-size=9", launcher=torchrun(2)), 1)
    assert "error: batch_size is 9" in output and "shared equally by 2 processes" in output
    assert "Traceback" not in output.partition("error: batch_size")[0]
