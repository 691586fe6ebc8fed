"""What a module does, operation by operation, seen by running it: the source of the diagrams."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xnnlib.model import DepthwiseConv2d

MODULES = {
    nn.Conv2d: "convolution",
    DepthwiseConv2d: "convolution",
    nn.BatchNorm2d: "batch norm",
    nn.ReLU: "ReLU",
    nn.Sigmoid: "Sigmoid",
    nn.Linear: "linear",
    nn.AdaptiveAvgPool2d: "pool",
}
FUNCTIONS = {
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "mean": "pool",
    "sum": "pool",
    "mul": "scale",
    "add": "add",
    "__matmul__": "mix",
    "matmul": "mix",
    "bmm": "convolution",
    "conv2d": "convolution",
}
# With a number for the other operand these only rescale, as in a mean made of a sum.
SCALINGS = {"mul", "div", "__truediv__", "true_divide"}
# Operations that only look at a tensor or lay it out anew: nothing to draw.
SILENT = {"__get__", "__getitem__", "view", "reshape", "flatten", "permute", "transpose", "to"}


class Step(NamedTuple):
    """One operation, the module that does it (None for a function) and its output's shape, batch left out."""

    name: str
    module: nn.Module | None
    shape: tuple[int, ...]


def trace(module: nn.Module, shape: tuple[int, ...], opaque: dict[type, str] | None = None) -> list[Step]:
    """The operations of `module` on inputs of `shape` (batch left out), in the order in which they run.

    A module of a type in `opaque` is one step of that name, whatever is inside. Raises ValueError on an
    operation that the diagrams have no box for, so that none can be left out.
    """
    names = MODULES | (opaque or {})
    steps: list[Step] = []
    recorder = _Recorder(steps)

    def enter(leaf, inputs):
        recorder.inside += 1

    def leave(leaf, inputs, output):
        recorder.inside -= 1
        steps.append(Step(names[type(leaf)], leaf, tuple(output.shape[1:])))

    hooks = []
    for leaf in _leaves(module, opaque or {}):
        if isinstance(leaf, nn.Flatten):
            continue
        if type(leaf) not in names:
            raise ValueError(f"the diagrams have no box for the module {type(leaf).__name__}")
        hooks += [leaf.register_forward_pre_hook(enter), leaf.register_forward_hook(leave)]
    images = torch.zeros(2, *shape, device=next(module.parameters()).device)
    try:
        with torch.no_grad(), recorder:
            module(images)
    finally:
        for hook in hooks:
            hook.remove()
    return steps


def _leaves(module: nn.Module, opaque: dict[type, str]) -> list[nn.Module]:
    if type(module) in opaque or not list(module.children()):
        return [module]
    return [leaf for child in module.children() for leaf in _leaves(child, opaque)]


class _Recorder(TorchFunctionMode):
    """Notes the functions that run outside the leaves."""

    def __init__(self, steps: list[Step]):
        super().__init__()
        self.steps = steps
        self.inside = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        name = func.__name__
        rescales = name in SCALINGS and sum(isinstance(arg, Tensor) for arg in args) == 1
        if self.inside or not isinstance(output, Tensor) or name in SILENT or rescales:
            return output
        if name not in FUNCTIONS:
            raise ValueError(f"the diagrams have no box for the operation {name}")
        self.steps.append(Step(FUNCTIONS[name], None, tuple(output.shape[1:])))
        return output
