"""The paper's network, built by walking Table 1."""

from dataclasses import fields
from functools import partial

import torch
from torch import Tensor, nn

from xnnlib.blocks import InvertedResidual, convolution_norm, ordinary_convolution
from xnnlib.layers import CondConv2d, SqueezeExcite
from xnnlib.spec import NetworkSpec, Stage


class Network(nn.Module):
    """Maps (N, 3, 56, 56) images to (N, num_classes) logits (paper, Table 1 and Figure 1).

    `block` is "standard" (A), "se" (B: + squeeze-and-excite with `reduction` R) or "se_cond"
    (C: + conditional convolution with `experts` M). Other image sizes work too: the classifier
    averages over whatever rows and columns are left. `variation` is what else NetworkSpec takes:
    filter_size, expansion, width, table. `stages[i]` holds the repeats of row i.

    Raises UserError on an unknown block or a size below one.
    """

    def __init__(
        self,
        block: str = "standard",
        num_classes: int = 100,
        reduction: int = 4,
        experts: int = 4,
        **variation: object,
    ):
        super().__init__()
        self.spec = NetworkSpec(block, num_classes, reduction, experts, **variation)
        self.stages = nn.Sequential(*(_build(stage, self.spec) for stage in self.spec.stages))

    @classmethod
    def of(cls, spec: NetworkSpec) -> "Network":
        """The network of a specification."""
        return cls(**{field.name: getattr(spec, field.name) for field in fields(spec)})

    def forward(self, images: Tensor) -> Tensor:
        return self.stages(images)


def untrained(spec: NetworkSpec) -> Network:
    """The network of a specification, to walk and to count; the caller's random numbers stay as they were."""
    with torch.random.fork_rng(devices=[]):
        return Network.of(spec).eval()


def _build(stage: Stage, spec: NetworkSpec) -> nn.Sequential:
    repeats = range(stage.repeat)
    if stage.operation == "block":
        return nn.Sequential(*(_block(stage, spec) for _ in repeats))
    if stage.operation == "classifier":
        classifier = nn.Linear(stage.in_channels, spec.num_classes)
        nn.init.normal_(classifier.weight, std=0.01)
        nn.init.zeros_(classifier.bias)
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)
    return nn.Sequential(
        *(
            convolution_norm(
                ordinary_convolution(stage.in_channels, stage.out_channels, stage.filter_size, stage.stride),
                stage.out_channels,
            )
            for _ in repeats
        )
    )


def _block(stage: Stage, spec: NetworkSpec) -> InvertedResidual:
    conditional = spec.block == "se_cond"
    gated = spec.block in ("se", "se_cond")
    return InvertedResidual(
        stage.in_channels,
        stage.out_channels,
        stage.filter_size,
        stage.stride,
        stage.expansion,
        convolution=partial(CondConv2d, experts=spec.experts) if conditional else ordinary_convolution,
        gate=partial(SqueezeExcite, reduction=spec.reduction) if gated else None,
    )
