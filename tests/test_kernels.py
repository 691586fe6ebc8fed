"""Kernels that are asked to end: a real training saves and says so."""

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from kernels import end_kernels, end_papermill

ROOT = Path(__file__).resolve().parents[1]
# More than a minute's work, so that it is stopped in its midst.
TINY = "dataset shapes width 0.25 num_classes 3 crop 16 batch_size 8 train_images 2400 val_images 9 epochs 50"


@pytest.fixture
def training(tmp_path, monkeypatch):
    """papermill, its run folder, and the file that takes what it prints."""
    monkeypatch.setenv("XNNLIB_CACHE", str(tmp_path / "cache"))
    names = iter([*TINY.split(), "checkpoint_seconds", "0.5", "run_dir", str(tmp_path / "run")])
    options = [part for name, value in zip(names, names, strict=True) for part in ("-p", name, value)]
    command = [sys.executable, "-m", "papermill", "notebooks/train.ipynb", str(tmp_path / "log.ipynb")]
    command += ["-k", "python3", "--no-progress-bar", *options]
    with open(tmp_path / "printed", "w") as printed:
        process = subprocess.Popen(command, cwd=ROOT, stdout=printed, stderr=subprocess.STDOUT)
    yield process, tmp_path / "run", tmp_path / "printed"
    if process.poll() is None:
        process.kill()


# A papermill that is starting: its kernel comes up late, takes a while to save, and a second signal kills it.
# The signal waits, in the kernel too, until there is a handler for it.
STARTING = """
import signal, subprocess, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("starting", flush=True)
time.sleep(0.5)
subprocess.run([sys.executable, "-c", sys.argv[1], "ipykernel_launcher"], start_new_session=True)
"""
KERNEL = """
import signal, time
def save(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(1)
    raise SystemExit(print("saved"))
signal.signal(signal.SIGTERM, save)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
time.sleep(60)
"""


@pytest.mark.parametrize("before, asks", [(signal.SIG_DFL, True), (signal.SIG_IGN, False)], ids=["", "nohup"])
def test_the_end_of_a_session_asks_to_end_unless_the_command_was_told_to_ignore_it(before, asks):
    code = "import kernels, signal; print(signal.SIGHUP in kernels.requests_to_end())"
    pipes = {"capture_output": True, "text": True, "check": True}
    set_before = partial(signal.signal, signal.SIGHUP, before)
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "tools", preexec_fn=set_before, **pipes
    ).stdout
    assert printed == f"{asks}\n"


def start(kernel: str) -> subprocess.Popen:
    command = [sys.executable, "-S", "-c", STARTING, kernel]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "starting\n"
    return process


def test_a_kernel_that_comes_up_late_is_asked_once():
    with start(KERNEL) as process:
        end_papermill(process, 20)
        assert process.stdout.read() == "saved\n"


def test_papermill_that_does_not_end_in_time_is_killed():
    with start("import time; time.sleep(1)") as process:
        end_papermill(process, 0.3)
        assert process.returncode == -signal.SIGKILL


def test_a_kernel_that_is_asked_to_end_saves_and_papermill_ends(training):
    process, run, printed = training
    deadline = time.monotonic() + 90
    while not (run / "checkpoint.pt").exists():
        assert process.poll() is None and time.monotonic() < deadline, printed.read_text()
        time.sleep(0.1)
    end_kernels(process.pid, 20)
    assert process.wait(20) != 0
    assert "stopped and saved at" in printed.read_text()
    assert (run / "checkpoint.pt").exists() and not (run / "record.json").exists()
