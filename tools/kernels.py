"""The notebook kernels below a process: asked to end, they save what they are training."""

from contextlib import suppress

import psutil


def end_kernels(pid: int, seconds: float) -> None:
    """Ask the kernels below process `pid` to end and wait for them, `seconds` at most.

    papermill starts its kernel in a session of its own, so that no signal to papermill reaches it, and
    when papermill goes it goes as well, without a chance to save.
    """
    with suppress(psutil.NoSuchProcess):
        kernels = [child for child in psutil.Process(pid).children(recursive=True) if _is_kernel(child)]
        for kernel in kernels:
            kernel.terminate()
        psutil.wait_procs(kernels, seconds)


def _is_kernel(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "ipykernel_launcher" in process.cmdline()
    return False
