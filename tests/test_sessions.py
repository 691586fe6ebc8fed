"""What is left of a session is ended, and its kernels may save first."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import sessions
from sessions import end_session, renice_kernels

# A papermill whose kernel takes a while to save, dies of a second signal, and then waits for what comes next.
PAPERMILL = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", sys.argv[1], "ipykernel_launcher"], start_new_session=True)
time.sleep(120)
"""
KERNEL = """
import os, signal, time
def save(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(0.5)
    open("saved", "w").close()
signal.signal(signal.SIGTERM, save)
open("kernel", "w").write(str(os.getpid()))
print("ready", flush=True)
time.sleep(120)
"""


@pytest.fixture
def papermill(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sessions, "GRACE", 600)  # nobody waits for a kernel that has saved
    command = [sys.executable, "-S", "-c", PAPERMILL, KERNEL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "ready\n"
    yield process
    end_session(process.pid)
    process.wait()


def test_kernel_saves_before_its_session_ends(papermill):
    end_session(papermill.pid)
    assert papermill.wait() != 0
    assert Path("saved").exists()
    kernel = int(Path("kernel").read_text())
    deadline = time.monotonic() + 60
    while psutil.pid_exists(kernel) and psutil.Process(kernel).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_own_session_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "import os, sessions; sessions.end_session(os.getsid(0)); print('alive')"
    places = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=places, start_new_session=True, capture_output=True, text=True
    )
    assert done.stdout == "alive\n"


def test_session_of_another_folder_is_left_alone(papermill, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "other")
        end_session(papermill.pid)
        assert papermill.poll() is None
    assert not Path("saved").exists()


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="no autogroups here")
def test_kernel_gets_the_niceness_of_the_command(papermill, monkeypatch):
    monkeypatch.setattr(os, "nice", lambda more: 7)
    renice_kernels(papermill.pid)
    kernel = Path("kernel").read_text()
    assert Path(f"/proc/{kernel}/autogroup").read_text().endswith("nice 7\n")
