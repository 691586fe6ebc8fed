"""What this process runs on: device, names, versions, and the allocator's settings."""

import ast
import ctypes
import ctypes.util
import hashlib
import importlib
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

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
        # From Ampere on: Turing and Volta (T4, V100) only imitate it.
        return torch.cuda.get_device_capability(device) >= (8, 0)
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


PACKAGE = Path(__file__).parent


def commit() -> str:
    """The commit of the checkout that this code lies in, or "unknown" outside one.

    With "-dirty" after it if the code differs from it. A repository around the code that does not track
    it, as where xnnlib is installed inside somebody's project, is none of its own.
    """

    def git(*arguments: str) -> str:
        command = ("git", "-C", str(PACKAGE.parent), *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "xnnlib/runtime.py")
        changed = git("status", "--porcelain", "--", "xnnlib", "notebooks/train.ipynb", "profiles")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@cache
def code_digest() -> str:
    """A digest of the code that training imports, without its comments and docstrings.

    Two runs with the same digest were trained by the same program, whatever the commits between them.
    """
    digest = hashlib.sha256()
    for name in sorted(_imports_of("xnnlib.training", set())):
        tree = ast.parse(_source_of(name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                    body[0].value.value = ""
        digest.update(f"{name}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()[:16]


def _imports_of(module: str, found: set[str]) -> set[str]:
    """The module and, through it, every module of this package that it imports."""
    found.add(module)
    for node in ast.walk(ast.parse(_source_of(module).read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.startswith("xnnlib.") and name not in found and _source_of(name).exists():
                _imports_of(name, found)
    return found


def _source_of(module: str) -> Path:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


_kept_alive = []


def ensure_torchvision() -> None:
    """Make `import torchvision` work where its published CUDA build stands beside a CPU torch.

    There its first import fails because the operators torchvision::nms and qnms, which only a loaded
    extension defines, do not exist; the same holds for every package that imports torchvision (timm,
    ptflops). Declaring the operators' schemas lets the import through. Everything but them and the
    image decoders then works. Elsewhere this only imports torchvision.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept_alive.append(library)
        importlib.import_module("torchvision")
