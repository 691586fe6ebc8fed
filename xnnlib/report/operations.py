"""From traced operations to the boxes of a diagram: text, shape and colour of each."""

from collections.abc import Iterable

from torch import nn

from xnnlib.model import CondConv2d, SqueezeExcite
from xnnlib.report.canvas import LEARNED, NONLINEARITY, NORM, POOL
from xnnlib.report.trace import Step

# Types that Figure 2 draws as one box; Figures 3 and 4 open them.
OPAQUE = {SqueezeExcite: "squeeze and excite", CondConv2d: "conditional convolution"}
# The block that brought an operation gives it its colour.
COMPONENTS = {"squeeze and excite": "se", "conditional convolution": "se_cond"}
ROLES = {"batch norm": NORM, "ReLU": NONLINEARITY, "Sigmoid": NONLINEARITY, "pool": POOL}
TEXTS = {
    "batch norm": "batch\nnorm",
    "pool": "global\naverage\npool",
    "squeeze and excite": "squeeze\nand\nexcite",
}

TIMES = r"{\times}"


def shape_text(*sizes: object) -> str:
    """`16×56×56` or `N_e×H×W` in mathematical type."""
    return "$" + TIMES.join(str(size) for size in sizes) + "$"


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
        shape = filter_shape(step.module)
        size = shape[-1]
        sizes = "F×F/S" if symbolic and size > 1 else f"{size}×{size}"
        lines = [sizes, "cond. conv" if step.name == "conditional convolution" else "conv"]
        if shape[1] == 1:
            lines.insert(1, "depthwise")
        return "\n".join(lines)
    if step.name == "linear":
        return "linear\n+ bias" if step.module.bias is not None else "linear,\nno bias"
    return TEXTS.get(step.name, step.name)
