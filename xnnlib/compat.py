"""Cures for what a machine's installed packages do to each other."""

import importlib
import sys

import torch

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
