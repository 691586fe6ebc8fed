"""The networks that the paper's came from, as torchvision and timm keep them, for the same small images.

A baseline is built by the library that keeps it and adapted as Table 1 is: of its five halvings of rows and
columns the first two become stride 1, since an image here has a quarter of the rows and columns that the
network was made for. Batch norm's momentum is at least 0.01, and depthwise convolutions are computed in the
precision that the paper's own are; nothing else is changed.
"""

from difflib import get_close_matches
from functools import partial
from importlib import import_module, metadata

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from xnnlib.errors import UserError
from xnnlib.runtime import ensure_torchvision, in_fast_precision
from xnnlib.spec import BaselineSpec

# In this order: a name that both libraries have is torchvision's.
LIBRARIES = ("torchvision", "timm")
_MADE_FOR, _HALVINGS = 224, 5


def find(name: str, num_classes: int) -> BaselineSpec:
    """The specification of the network `name`, with the library that has it and its version.

    Raises UserError if no library has it, naming the nearest names, or if a library is missing.
    """
    known = []
    for library in LIBRARIES:
        names = _registry(library).list_models()
        if name in names:
            return BaselineSpec(name, f"{library} {metadata.version(library)}", num_classes)
        known += names
    near = ", ".join(get_close_matches(name, known, n=3))
    raise UserError(
        f"model {name!r} is unknown; choose xnn, or a name of torchvision or timm"
        + (f", such as {near}." if near else ".")
    )


def build(spec: BaselineSpec) -> nn.Module:
    """The network, from its library's own initialisation, for 56x56 images.

    Raises UserError if it cannot be adapted: if it does not halve its input five times, step by step.
    """
    registry = _registry(spec.library.split()[0])
    make = registry.get_model if hasattr(registry, "get_model") else registry.create_model
    network = adapt(make(spec.model, num_classes=spec.num_classes), spec.model)
    for module in network.modules():
        if type(module) is nn.Conv2d and module.groups == module.in_channels == module.out_channels:
            module.__class__ = _Depthwise
        if isinstance(module, nn.BatchNorm2d):
            # MnasNet's 0.0003 averages over thousands of steps: when a short training ends, its statistics
            # are still those of the first ones, and validation is no better than guessing.
            module.momentum = max(module.momentum, 0.01)
    return network


class _Depthwise(nn.Conv2d):
    """A library's depthwise convolution, computed in the precision that the paper's own are."""

    def _conv_forward(self, x: Tensor, filters: Tensor, bias: Tensor | None) -> Tensor:
        convolve = partial(super()._conv_forward, bias=bias)
        return in_fast_precision(convolve, x, filters, self.stride[0])


def adapt(network: nn.Module, name: str) -> nn.Module:
    """Let the first two of the network's five halvings keep the rows and columns, in place."""
    strided = _strided(network, _MADE_FOR)
    sizes = sorted(strided, reverse=True)
    if sizes != [_MADE_FOR >> halving for halving in range(_HALVINGS)]:
        raise UserError(f"model {name!r} does not halve its input five times; it cannot be adapted to 56x56.")
    # A shortcut halves beside the path that it is added to: all that read one size belong to one halving.
    for size in sizes[:2]:
        for module in strided[size]:
            module.stride = 1 if isinstance(module.stride, int) else (1, 1)
    if len(_strided(network, _MADE_FOR // 4)) != _HALVINGS - 2:
        raise UserError(f"model {name!r} has filters that do not keep the size at stride 1.")
    return network


def _strided(network: nn.Module, size: int) -> dict[int, list[nn.Module]]:
    """The modules that halve, by the rows of their input, for an input of size x size."""
    found: dict[int, list[nn.Module]] = {}

    def note(module, inputs, output):
        # timm's conditional convolution is a module of its own, whose stride is one all the same.
        kinds = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
        if isinstance(module, kinds) or type(module).__name__ == "CondConv2d":
            rows = inputs[0].shape[-2]
            if module.stride in (2, (2, 2)) and output.shape[-2] == (rows + 1) // 2:
                found.setdefault(rows, []).append(module)

    with torch.no_grad(), torch.random.fork_rng(devices=[]), register_module_forward_hook(note):
        network.eval()(torch.zeros(1, 3, size, size))
    network.train()
    return found


def _registry(library: str):
    """The module that lists and makes a library's networks."""
    try:
        ensure_torchvision()  # timm imports it as well
        return import_module("torchvision.models" if library == "torchvision" else library)
    except ImportError:
        raise UserError(f"{library} is not installed; install it with: pip install {library}") from None
