"""What a module does, operation by operation, seen by running it."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from xnnlib.model import CondConv2d, SqueezeExcite

# torch's functions by the name of their operation.
OPERATIONS = {
    "conv2d": "conv",
    "bmm": "conv",
    "linear": "linear",
    "batch_norm": "batch norm",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "adaptive_avg_pool2d": "global average pool",
    "sum": "global average pool",
    "mul": "scale",
    "add": "add",
    "matmul": "mix",
}
# Operations that only look at a tensor or lay it out anew: nothing to draw.
SILENT = {"__get__", "__getitem__", "view", "reshape", "flatten"}
# Modules that Figure 2 draws as one box each; Figures 3 and 4 open them.
GATE, CONDITIONAL = "squeeze and excite", "cond. conv"
OPAQUE = {SqueezeExcite: GATE, CondConv2d: CONDITIONAL}
# Batch norm and nonlinearity, which belong to the operation before them.
ATTACHED = ("batch norm", "ReLU", "Sigmoid")


class Step(NamedTuple):
    """One operation and its output's shape, batch left out.

    Convolutions have the shape of their filter, (out_channels, inputs per filter, F, F), and linear layers
    say whether they have a bias.
    """

    name: str
    shape: tuple[int, ...]
    filter_shape: tuple[int, ...] = ()
    bias: bool = False

    def label(self, one_line: bool = False) -> str:
        """What its box says: stacked, with F and S for a filter's size and stride, or in one line."""
        lines = [self.name if one_line or self.filter_shape else self.name.replace(" ", "\n")]
        if self.filter_shape:
            _, inputs_per_filter, size, _ = self.filter_shape
            depthwise = ["depthwise"] if inputs_per_filter == 1 else []
            lines = ["F×F/S" if size > 1 and not one_line else f"{size}×{size}", *depthwise, *lines]
        elif self.name == "linear":
            lines = ["linear", "+ bias"] if self.bias else ["linear,", "no bias"]
        return (" " if one_line else "\n").join(lines)


class Group(NamedTuple):
    """An operation with the batch norm and the nonlinearity that follow it, and the shape they make."""

    steps: list[Step]
    shape: list[str]


def groups(steps: Iterable[Step], symbols: dict[int, str]) -> list[Group]:
    """The steps by operation; `symbols` names the sizes: a shape that has another size raises KeyError."""
    found: list[list[Step]] = []
    for step in steps:
        if step.name in ATTACHED:
            found[-1].append(step)
        else:
            found.append([step])
    return [Group(group, [symbols[size] for size in group[-1].shape]) for group in found]


def trace(module: nn.Module, shape: tuple[int, ...], opaque: dict[type, str] | None = None) -> list[Step]:
    """The operations of `module` on inputs of `shape` (batch left out), in the order in which they run.

    A module of a type in `opaque` is one step of that name, whatever is inside. Raises ValueError on an
    operation that the diagrams have no box for, so that none can be left out.
    """
    recorder, opaque = _Recorder(), opaque or {}

    def on_enter(inner, inputs):
        recorder.inside += type(inner) in opaque

    def on_leave(inner, inputs, output):
        if type(inner) in opaque:
            recorder.inside -= 1
            filter_shape = tuple(getattr(inner, "filter_shape", ()))
            recorder.steps.append(Step(opaque[type(inner)], tuple(output.shape[1:]), filter_shape))

    images = torch.zeros(2, *shape)
    hooks = register_module_forward_pre_hook(on_enter), register_module_forward_hook(on_leave)
    with torch.no_grad(), hooks[0], hooks[1], recorder:
        module(images)
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
        rescales = name == "div" and not isinstance(args[1], Tensor)  # a sum to a mean
        if self.inside or not isinstance(output, Tensor) or name in SILENT or rescales:
            return output
        if name not in OPERATIONS:
            raise ValueError(f"the diagrams have no box for the operation {name}")
        filter_shape = tuple(args[1].shape) if name == "conv2d" else ()
        bias = name == "linear" and args[2] is not None
        self.steps.append(Step(OPERATIONS[name], tuple(output.shape[1:]), filter_shape, bias))
        return output
