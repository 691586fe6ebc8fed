"""What a module does, operation by operation, seen by running it, and the boxes that show it."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xnnlib.model import CondConv2d, SqueezeExcite
from xnnlib.report.canvas import LEARNED, NONLINEARITY, PLAIN

# torch's functions by the name of their operation.
OPERATIONS = {
    "conv2d": "conv",
    "bmm": "conv",
    "linear": "linear",
    "batch_norm": "batch norm",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "adaptive_avg_pool2d": "global average pool",
    "mean": "global average pool",
    "sum": "global average pool",
    "mul": "scale",
    "add": "add",
    "matmul": "mix",
    "__matmul__": "mix",
}
# With a number for the other operand these only rescale, as in a mean made of a sum.
SCALINGS = {"mul", "div", "__truediv__", "true_divide"}
# Operations that only look at a tensor or lay it out anew: nothing to draw.
SILENT = {"__get__", "__getitem__", "view", "reshape", "flatten", "permute", "transpose", "to"}


class Step(NamedTuple):
    """One operation and its output's shape, batch left out.

    Convolutions have the shape of their filter, (out_channels, inputs per filter, F, F), and linear layers
    say whether they have a bias.
    """

    name: str
    shape: tuple[int, ...]
    filter_shape: tuple[int, ...] = ()
    bias: bool = False


# Modules that Figure 2 draws as one box each; Figures 3 and 4 open them.
GATE, CONDITIONAL = "squeeze and excite", "cond. conv"
OPAQUE = {SqueezeExcite: GATE, CondConv2d: CONDITIONAL}


def trace(module: nn.Module, shape: tuple[int, ...], opaque: dict[type, str] | None = None) -> list[Step]:
    """The operations of `module` on inputs of `shape` (batch left out), in the order in which they run.

    A module of a type in `opaque` is one step of that name, whatever is inside. Raises ValueError on an
    operation that the diagrams have no box for, so that none can be left out.
    """
    recorder = _Recorder()

    def enter(inner, inputs):
        recorder.inside += 1

    def leave(inner, inputs, output):
        recorder.inside -= 1
        filter_shape = tuple(getattr(inner, "filter_shape", ()))
        recorder.steps.append(Step(opaque[type(inner)], tuple(output.shape[1:]), filter_shape))

    hooks = []
    for inner in module.modules():
        if type(inner) in (opaque or {}):
            hooks += [inner.register_forward_pre_hook(enter), inner.register_forward_hook(leave)]
    images = torch.zeros(2, *shape)
    try:
        with torch.no_grad(), recorder:
            module(images)
    finally:
        for hook in hooks:
            hook.remove()
    return recorder.steps


class _Recorder(TorchFunctionMode):
    """Notes each of torch's functions that runs outside an opaque module."""

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
        if name not in OPERATIONS:
            raise ValueError(f"the diagrams have no box for the operation {name}")
        filter_shape = tuple(args[1].shape) if name == "conv2d" else ()
        bias = name == "linear" and args[2] is not None
        self.steps.append(Step(OPERATIONS[name], tuple(output.shape[1:]), filter_shape, bias))
        return output


# The block that brought an operation gives it its colour.
COMPONENTS = {GATE: "se", CONDITIONAL: "se_cond"}
ROLES = {"batch norm": PLAIN, "global average pool": PLAIN, "ReLU": NONLINEARITY, "Sigmoid": NONLINEARITY}


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
        if step.name in ("batch norm", "ReLU", "Sigmoid"):
            found[-1]["boxes"].append(box(step))
        else:
            found.append({"boxes": [box(step)]})
        found[-1]["shape"] = [symbols[size] for size in step.shape]
    return found


def _text(step: Step, symbolic: bool) -> str:
    if step.filter_shape:
        _, inputs_per_filter, size, _ = step.filter_shape
        lines = ["F×F/S" if symbolic and size > 1 else f"{size}×{size}"]
        lines += ["depthwise"] if inputs_per_filter == 1 else []
        return "\n".join([*lines, step.name])
    if step.name == "linear":
        return "linear\n+ bias" if step.bias else "linear,\nno bias"
    return step.name.replace(" ", "\n")
