"""What this process runs on: device, names, versions, and the allocator's settings."""

import ctypes
import ctypes.util
import platform
import subprocess
from importlib import metadata

import torch

from xnnlib.paths import project_path

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def pick_device() -> torch.device:
    """The CUDA device that this process is on where there is one, else the CPU."""
    return (
        torch.device("cuda", torch.cuda.current_device())
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return True
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # the oldest torch allowed may not have it
    return bool(capabilities().get("avx512_bf16"))


def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks instead of returning them to the system; says whether it could.

    Activations of tens of megabytes are freed and taken again at every step; by default each time
    costs a page fault every 4 KiB, which was a third of a training step on two cores.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6")
    return bool(libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def describe_device(device: torch.device, count: int = 1) -> dict:
    """The record's `device`: type, name, on a CPU the threads of a process, and how many train together."""
    several = {"count": count} if count > 1 else {}
    if device.type == "cuda":
        return {"type": "cuda", "name": torch.cuda.get_device_name(device)} | several
    return {"type": device.type, "name": _processor_name(), "threads": torch.get_num_threads()} | several


def versions() -> dict[str, str]:
    """Python's version and those of the packages that a result can depend on."""
    # torch's own version names its build, which its package's does not.
    packages = {"torch": str(torch.__version__)}
    packages |= {name: metadata.version(name) for name in ("numpy", "pillow")}
    try:
        packages["xnnlib"] = metadata.version("xnnlib")
    except metadata.PackageNotFoundError:
        packages["xnnlib"] = "not installed"
    return {"python": platform.python_version(), **packages}


def commit() -> str:
    """The checkout's commit, with "-dirty" after it if the code differs from it, or "unknown"."""

    def git(*arguments):
        return subprocess.run(
            ("git", *arguments), cwd=project_path("."), capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "xnnlib", "notebooks/train.ipynb", "profiles")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
