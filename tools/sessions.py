"""What Snakemake started: the processes of its session, and the notebook kernels below them."""

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

GRACE = 40  # seconds for a training to save and to end
BUSY = (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)


def renice_kernels(session: int) -> None:
    """Hand this process' niceness on to the session's kernels.

    jupyter_client starts each kernel in a session of its own, and Linux shares the processor among sessions
    (autogroup) before it looks at niceness: without this, `nice make reproduce` does not yield.
    """
    niceness = os.nice(0)
    for kernel in _kernels(session) if niceness > 0 else []:
        with suppress(OSError):  # no autogroup here, or asked again too soon
            Path(f"/proc/{kernel.pid}/autogroup").write_text(str(niceness))


def end_session(session: int) -> None:
    """End what is left of a session; its kernels may save first.

    No signal to papermill reaches its kernel, and when papermill goes the kernel goes as well, without a
    chance to save: so the kernels are asked first.
    """
    members = _members(session)
    for process in members:  # which start no other job and complain of nothing from here on
        with suppress(psutil.Error):
            process.suspend()
    kernels = _kernels(session)
    for kernel in kernels:
        with suppress(psutil.Error):
            kernel.terminate()
    deadline = time.monotonic() + GRACE
    while any(map(_is_busy, kernels)) and time.monotonic() < deadline:
        pass
    for process in [*kernels, *members]:
        with suppress(psutil.Error):
            process.kill()


def _members(session: int) -> list[psutil.Process]:
    """The session's processes that work in this folder: the number may be another's by now."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session != os.getsid(0) and process.cwd() == str(Path.cwd()):
                found.append(process)
    return found


def _is_busy(kernel: psutil.Process) -> bool:
    """Whether it computes or writes in the next two seconds: once it has saved, it waits for papermill."""
    with suppress(psutil.Error):
        return kernel.cpu_percent(2) > 2 or kernel.status() in BUSY
    return False


def _kernels(session: int) -> list[psutil.Process]:
    found = []
    for process in _members(session):
        with suppress(psutil.Error):
            found += [child for child in process.children() if "ipykernel_launcher" in child.cmdline()]
    return found
