"""What a module does, operation by operation, seen by running it, and the boxes that show it."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xnnlib.model import CondConv2d, DepthwiseConv2d, SqueezeExcite
from xnnlib.report.canvas import LEARNED, NONLINEARITY, NORM, POOL

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
# Types that Figure 2 draws as one box; Figures 3 and 4 open them.
OPAQUE = {SqueezeExcite: "squeeze and excite", CondConv2d: "conditional convolution"}


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
    recorder = _Recorder()

    def enter(leaf, inputs):
        recorder.inside += 1

    def leave(leaf, inputs, output):
        recorder.inside -= 1
        recorder.steps.append(Step(names[type(leaf)], leaf, tuple(output.shape[1:])))

    hooks = []
    for leaf in _leaves(module, opaque or {}):
        if isinstance(leaf, nn.Flatten):
            continue
        if type(leaf) not in names:
            raise ValueError(f"the diagrams have no box for the module {type(leaf).__name__}")
        hooks += [leaf.register_forward_pre_hook(enter), leaf.register_forward_hook(leave)]
    images = torch.zeros(2, *shape)
    try:
        with torch.no_grad(), recorder:
            module(images)
    finally:
        for hook in hooks:
            hook.remove()
    return recorder.steps


def _leaves(module: nn.Module, opaque: dict[type, str]) -> list[nn.Module]:
    if type(module) in opaque or not list(module.children()):
        return [module]
    return [leaf for child in module.children() for leaf in _leaves(child, opaque)]


class _Recorder(TorchFunctionMode):
    """Notes the functions that run outside the leaves."""

    def __init__(self):
        super().__init__()
        self.steps: list[Step] = []
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


# The block that brought an operation gives it its colour.
COMPONENTS = {"squeeze and excite": "se", "conditional convolution": "se_cond"}
ROLES = {"batch norm": NORM, "ReLU": NONLINEARITY, "Sigmoid": NONLINEARITY, "pool": POOL}
TEXTS = {
    "batch norm": "batch\nnorm",
    "pool": "global\naverage\npool",
    "squeeze and excite": "squeeze\nand\nexcite",
}


def box(step: Step, symbolic: bool = True) -> dict:
    """How a step is drawn; `symbolic` writes F and S for a filter's size and stride."""
    return {
        "text": _text(step, symbolic),
        "role": ROLES.get(step.name, LEARNED),
        "component": COMPONENTS.get(step.name, ""),
    }


def groups(steps: Iterable[Step], symbols: dict[int, str]) -> list[dict]:
    """Each operation with the batch norm and the nonlinearity that follow it, and the shape they make.

    `symbols` names the sizes: a shape that has another size raises KeyError.
    """
    found: list[dict] = []
    for step in steps:
        drawn = box(step)
        if found and drawn["role"] in (NORM, NONLINEARITY):
            found[-1]["boxes"].append(drawn)
        else:
            found.append({"boxes": [drawn]})
        found[-1]["shape"] = [symbols[size] for size in step.shape]
    return found


def filter_shape(module: nn.Module) -> tuple[int, ...]:
    """(out_channels, inputs per filter, F, F) of an ordinary or conditional convolution."""
    return tuple(module.filter_shape if isinstance(module, CondConv2d) else module.weight.shape)


def _text(step: Step, symbolic: bool) -> str:
    if step.name in ("convolution", "conditional convolution"):
        _, inputs_per_filter, size, _ = filter_shape(step.module)
        lines = ["F×F/S" if symbolic and size > 1 else f"{size}×{size}"]
        lines += ["depthwise"] if inputs_per_filter == 1 else []
        return "\n".join([*lines, "cond. conv" if step.name == "conditional convolution" else "conv"])
    if step.name == "linear":
        return "linear\n+ bias" if step.module.bias is not None else "linear,\nno bias"
    return TEXTS.get(step.name, step.name)
