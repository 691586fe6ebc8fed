"""What this process runs on: device, precision, compiler, allocator, versions, and the digest of the code."""

import ast
import ctypes
import hashlib
import importlib
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import metadata
from modulefinder import ModuleFinder
from pathlib import Path

import torch
from torch import Tensor, nn

from xnnlib.spec import Recipe

PACKAGE = Path(__file__).parent
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's malloc.h


def pick_device() -> torch.device:
    """The CUDA device that this process is on where there is one, else the CPU."""
    cuda = torch.cuda.is_available()
    return torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 faster than in float32."""
    if device.type == "cuda":
        # From Ampere on: Turing and Volta (T4, V100) only emulate it.
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # the oldest torch allowed may not have it
    return bool(capabilities().get("avx512_bf16"))


def recipe_on(device: torch.device, recipe: Recipe) -> Recipe:
    """The recipe as the device trains and evaluates it: in float32 where bfloat16 would be no faster."""
    return recipe if has_bfloat16(device) else replace(recipe, precision="float32")


def in_fast_precision(convolve: Callable, x: Tensor, filters: Tensor, stride: int) -> Tensor:
    """`convolve(x, filters)`, depthwise, in float32 where under autocast bfloat16 would be slower."""
    autocast = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if not autocast or (filters.shape[-1], stride) == (3, 1):
        return convolve(x, filters)
    # On a CPU torch has no fast bfloat16 kernel for the gradients of other filters. For (32, 72, 56, 56) they
    # took 71 ms with 3x3 at stride 2 and 206 ms with 5x5, in float32 23 and 39 ms.
    with torch.autocast("cpu", enabled=False):
        return convolve(x.float(), filters.float()).to(torch.get_autocast_dtype("cpu"))


def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks instead of returning them to the system; says whether it could.

    Activations of tens of megabytes are freed and taken again at every step; by default each time
    costs a page fault every 4 KiB, which was a third of a training step on two cores.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL("libc.so.6")
    return bool(libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def compiled(network: nn.Module, recipe: Recipe, device: torch.device) -> tuple[nn.Module, float]:
    """The network to train with, and the seconds that compiling it took.

    On one GPU it shares its weights with `network`, and where it cannot be compiled it is `network`, which
    is said. Elsewhere it is `network`: compiling for two processor cores took minutes and gained 5 %.
    """
    if device.type != "cuda" or torch.distributed.is_initialized():
        return network, 0.0
    try:
        return compile_network(network, recipe, device)
    except Exception as error:  # whatever goes wrong in a compiler, the eager network trains as well
        reason = (str(error) or type(error).__name__).splitlines()[0]
        print(f"warning: not compiled, trains slower: {reason}")
        return network, 0.0


def compile_network(network: nn.Module, recipe: Recipe, device: torch.device) -> tuple[nn.Module, float]:
    """Compile forward and backward for the recipe's batches; weights and statistics stay as they were."""
    start = time.perf_counter()
    # Left to itself the compiler copies the activations of C's convolutions, (1, N x channels, H, W) with a
    # filter for each, to channels_last and back.
    fast = torch.compile(network.train(), options={"layout_optimization": False})
    statistics = [buffer.clone() for buffer in network.buffers()]
    images = torch.zeros(recipe.batch_size, 3, recipe.crop, recipe.crop, device=device)
    try:
        # torch.compile is lazy: forward is compiled at the first batch, backward at the first gradient.
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            logits = fast(images.contiguous(memory_format=torch.channels_last))
        logits.float().sum().backward()
    finally:
        network.zero_grad(set_to_none=True)
        for buffer, before in zip(network.buffers(), statistics, strict=True):
            buffer.copy_(before)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return fast, time.perf_counter() - start


def provenance(device: torch.device, count: int = 1) -> dict:
    """Where and with what something is measured: `device` (`count` of them), `versions` and `commit`."""
    return {"device": describe_device(device, count), "versions": versions(), "commit": commit()}


def describe_device(device: torch.device, count: int = 1) -> dict:
    """The record's `device`: type, name, on a CPU the threads of a process, and how many train together."""
    several = {"count": count} if count > 1 else {}
    if device.type == "cuda":
        return {"type": "cuda", "name": torch.cuda.get_device_name(device)} | several
    return {"type": device.type, "name": _processor_name(), "threads": torch.get_num_threads()} | several


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text() if cpuinfo.exists() else "", re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Python's version and those of the packages that a result can depend on."""
    # torch's own version names its build, which its package's does not.
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    found |= {name: metadata.version(name) for name in ("numpy", "pillow")}
    try:
        own = metadata.version("xnnlib")
    except metadata.PackageNotFoundError:
        own = "not installed"
    return found | {"xnnlib": own}


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
def code_digest(package: Path = PACKAGE) -> str:
    """The first 16 hex digits of the SHA-256 of the code that training imports.

    Imports are followed from xnnlib.training through the package's files, inside functions too.
    xnnlib.report, the functions `main` and what runs as a script do not count. Comments, docstrings and
    layout change nothing, nor does the version of Python.
    """
    # Where the package is installed, its neighbours are all that it imports.
    others = {path.name.split(".")[0] for path in package.parent.iterdir()} - {package.name}
    finder = ModuleFinder([str(package.parent)], excludes=[*others, f"{package.name}.report"])
    finder.run_script(str(package / "training.py"))
    found = {}
    for path in (Path(module.__file__) for module in finder.modules.values() if module.__file__):
        if path != package / "__init__.py":
            tree = ast.parse(path.read_bytes())
            tree.body = [node for node in tree.body if not _is_command_line(node)]
            found[path.relative_to(package).as_posix()] = _plain(tree)
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]


def _is_command_line(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return "__name__" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef) and node.name == "main"


def _plain(node: object) -> object:
    """The code as lists and dictionaries: the text of ast.dump depends on the version of Python."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    given = dict(ast.iter_fields(node))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        given["body"] = node.body[ast.get_docstring(node, clean=False) is not None :]
    fields = {name: _plain(value) for name, value in given.items() if value not in (None, [])}
    return [type(node).__name__, fields]


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
