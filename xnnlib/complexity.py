"""MACs and filter coefficients, counted by shape from the network itself (paper, section 5).

A MAC is one multiply-accumulate of a convolution or matrix product. Batch norm, ReLU, pooling, bias,
the gates' scaling and the identity adds are left out. Coefficients are the weights of the same
operations, without biases and batch-norm parameters.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from xnnlib.errors import UserError
from xnnlib.model import CondConv2d, Routing, SqueezeExcite, untrained
from xnnlib.spec import AnySpec, BaselineSpec

KINDS = ("convolution", "linear", "se", "routing", "mixing")


@dataclass(frozen=True)
class Operation:
    """One operation of one row of Table 1, counted for one image and one of its `repeat` blocks.

    `stage` is the row's index. `kind` is one of KINDS. A conditional convolution is three operations:
    "convolution" is the convolution with the sample's one filter, which compares with the standard
    block's; "routing" is its linear layer; "mixing" is the weighted sum of the experts: its MACs are
    those of forming one filter, its coefficients those of the experts beyond the first.
    """

    stage: int
    kind: str
    repeat: int
    description: str
    macs: int
    coefficients: int


@cache
def count(spec: AnySpec) -> tuple[Operation, ...]:
    """The operations of the network, in the order in which they run; a baseline's are one row.

    Raises UserError if it has filters or matrices of a kind that nothing here counts.
    """
    operations = []
    network, images = untrained(spec), torch.zeros(1, 3, 56, 56)
    if isinstance(spec, BaselineSpec):
        return tuple(_count_unit(network, images, 0, 1))
    # Run for real: torch's meta device would first import its compiler, which takes seconds.
    with torch.no_grad():
        for index, (stage, row) in enumerate(zip(spec.stages, network.stages, strict=True)):
            # The repeats of a row are alike, so that its first block stands for all.
            unit = row if stage.operation == "classifier" else row[0]
            operations += _count_unit(unit, images, index, stage.repeat)
            images = row(images)
    return tuple(operations)


def total(operations: Iterable[Operation], kinds: Container[str] = KINDS) -> tuple[int, int]:
    """MACs and coefficients over all repeats of the operations of the given kinds."""
    chosen = [operation for operation in operations if operation.kind in kinds]
    return (
        sum(operation.repeat * operation.macs for operation in chosen),
        sum(operation.repeat * operation.coefficients for operation in chosen),
    )


def _count_unit(unit: nn.Module, images: torch.Tensor, stage: int, repeat: int) -> list[Operation]:
    operations = []

    def add(kind: str, description: str, macs: int, coefficients: int) -> None:
        operations.append(Operation(stage, kind, repeat, description, macs, coefficients))

    def add_convolution(images, output, shape, stride, kind="convolution", experts=0):
        out_channels, inputs_per_filter, size, *_ = shape
        coefficients = out_channels * inputs_per_filter * size * size
        depthwise = inputs_per_filter == 1 and images.shape[1] > 1
        channels = f"{out_channels}" if depthwise else f"{images.shape[1]} → {out_channels}"
        description = f"{size}×{size} {'depthwise ' if depthwise else ''}conv {channels}"
        description += f", stride {stride}" if stride > 1 else ""
        if experts:
            others = (experts - 1) * coefficients
            add("mixing", f"mix {experts} experts, {description}", experts * coefficients, others)
        add(kind, description, coefficients * output.shape[2] * output.shape[3], coefficients)

    def add_linear(module, kind, label):
        weights = module.weight.numel()
        add(kind, f"{label} {module.in_features} → {module.out_features}", weights, weights)

    gates = {layer for gate in unit.modules() if isinstance(gate, SqueezeExcite) for layer in gate.children()}

    def on_forward(module, inputs, output):
        if isinstance(module, CondConv2d):
            add_convolution(inputs[0], output, module.filter_shape, module.stride, experts=len(module.weight))
        elif type(module).__name__ == "CondConv2d":  # timm's
            stride, experts = module.stride[0], module.num_experts
            add_convolution(inputs[0], output, module.weight_shape, stride, experts=experts)
        elif isinstance(module, nn.Conv2d):
            kind = "se" if module in gates else "convolution"
            add_convolution(inputs[0], output, module.weight.shape, module.stride[0], kind)
        elif isinstance(module, Routing):
            add_linear(module, "routing", "routing linear")
        elif isinstance(module, nn.Linear):
            add_linear(module, *(("se", "SE linear") if module in gates else ("linear", "linear")))
        elif any(parameter.ndim > 1 for parameter in module.parameters(recurse=False)):
            raise UserError(f"{type(module).__name__} is not counted; say how in xnnlib/complexity.py.")

    with register_module_forward_hook(on_forward):
        unit(images)
    return operations
