"""The notebook kernels below a process: asked to end, they save what they are training."""

import signal
import subprocess
import time
from contextlib import suppress

import psutil

GRACE = 40  # seconds for training to save and to end; on several devices it takes up to 30 to shut down


def requests_to_end() -> list[signal.Signals]:
    """The signals that ask this process to end: all but those that it was told to ignore, as by nohup."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in signals if signal.getsignal(number) != signal.SIG_IGN]


def end_kernels(pid: int, seconds: float) -> None:
    """Ask the kernels below process `pid` to end and wait for them, `seconds` at most.

    papermill starts its kernel in a session of its own, so that no signal to papermill reaches it, and
    when papermill goes it goes as well, without a chance to save.
    """
    with suppress(psutil.NoSuchProcess):
        kernels = _kernels(psutil.Process(pid))
        for kernel in kernels:
            kernel.terminate()
        psutil.wait_procs(kernels, seconds)


def end_papermill(papermill: subprocess.Popen, seconds: float) -> None:
    """Let papermill's kernel save and end, and papermill with it, within `seconds`; after that, kill it.

    It may be starting: while there is no kernel, papermill is asked to end, and a kernel that comes up
    meanwhile is asked as well. Each kernel is asked once, since a second time ends it as it is.
    """
    asked, deadline = set(), time.monotonic() + seconds
    while papermill.poll() is None and time.monotonic() < deadline:
        with suppress(psutil.NoSuchProcess):
            kernels = set(_kernels(psutil.Process(papermill.pid)))
            for process in kernels - asked if kernels or asked else [papermill]:
                process.terminate()
            asked |= kernels
        with suppress(subprocess.TimeoutExpired):
            papermill.wait(0.2)
    if papermill.poll() is None:
        papermill.kill()
        papermill.wait()


def _kernels(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if _is_kernel(child)]


def _is_kernel(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "ipykernel_launcher" in process.cmdline()
    return False
