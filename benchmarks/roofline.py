"""What memory alone allows: bytes that a training step moves for an image, and how fast they can be moved.

The count is of a step run operation by operation, each of which reads its tensors from memory and writes
them back. Fused or cached, fewer bytes move, and a step may come out faster than this roofline; weights,
which a batch shares, linear layers and copies between memory formats are left out.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from xnnlib.model import CondConv2d, InvertedResidual, SqueezeExcite, untrained
from xnnlib.spec import NetworkSpec

ELEMENT_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Passes:
    """How often a training step reads or writes a module's whole input, and output, forward and backward."""

    over_input: int
    over_output: int


PASSES = {
    # Forward: reads the input, writes the output. Backward: the weights' gradient reads the input and the
    # output's gradient, the input's reads the output's gradient again and writes itself.
    nn.Conv2d: Passes(3, 3),
    # Forward: one read for the statistics, a second and a write to normalise. Backward: input and
    # gradient read for the two sums, both read again, and the input's gradient written.
    nn.BatchNorm2d: Passes(0, 8),
    # In place: read and write; backward: output and gradient read, the input's gradient written.
    nn.ReLU: Passes(0, 5),
    # The adder, where there is one: two reads and a write; backward two gradients become one.
    InvertedResidual: Passes(0, 6),
    # Forward: read for the means, read and write to scale. Backward: the input's gradient is one read and
    # one write, the gate's a product of two (two reads, a write) and its sum (a read), the means' gradient
    # is added to the input's (a read, a write).
    SqueezeExcite: Passes(0, 11),
    # A convolution; besides, its input is read for the means, whose gradient is added to the input's.
    CondConv2d: Passes(6, 3),
    # The global average: read once; its gradient is written once.
    nn.AdaptiveAvgPool2d: Passes(2, 0),
}
# Of an image's own filters: written when mixed and read by the convolution; backward they are read, their
# gradient is written, and read for the experts' and for the routing's gradient.
FILTER_PASSES = 6


def passes_of(module: nn.Module) -> Passes | None:
    """What counts for the module itself, without the modules inside it; None if nothing does."""
    return next((passes for kind, passes in PASSES.items() if isinstance(module, kind)), None)


@cache
def elements_per_image(spec: NetworkSpec, crop: int) -> int:
    """Elements of activations and filters that a training step reads or writes for one image, by PASSES."""
    network, counted = untrained(spec), 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal counted
        if isinstance(module, InvertedResidual) and not module.identity:
            return
        passes, images = passes_of(module), inputs[0]
        counted += passes.over_input * images.numel() + passes.over_output * output.numel()
        if not images.requires_grad:  # nobody asks for the gradient of the network's own input
            counted -= images.numel() + output.numel()
        if isinstance(module, CondConv2d):
            counted += FILTER_PASSES * module.weight.shape[1]

    for module in network.modules():
        if passes_of(module):
            module.register_forward_hook(count)
    network(torch.zeros(1, spec.stages[0].in_channels, crop, crop))
    return counted


def roofline(rows: list[dict], gigabytes_per_second: float | None, num_classes: int, crop: int) -> dict:
    """For each block whose step was measured: bytes an image, images a second at most, the share reached."""
    measured = {
        row["network"]: row
        for row in rows
        if row["id"] == f"xnnlib-{row['network']}-model" and "error" not in row
    }
    if gigabytes_per_second is None:
        return {}
    shares = {}
    for block, row in measured.items():
        elements = elements_per_image(NetworkSpec(block, num_classes), crop)
        image_bytes = elements * ELEMENT_BYTES[row["precision"]]
        most = 1e9 * gigabytes_per_second / image_bytes
        shares[block] = {
            "bytes_per_image": image_bytes,
            "images_per_second": round(most, 1),
            "share": round(row["images_per_second"] / most, 4),
        }
    return shares
