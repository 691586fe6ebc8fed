"""The network, from its layers to Table 1: read it top to bottom.

The layers that torch does not have (squeeze-and-excite, conditional convolution), the inverted residual that
they are injected into, and the network that walks Table 1.
"""

import math
from collections.abc import Callable
from dataclasses import fields
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xnnlib.spec import NetworkSpec, Stage


def channel_means(x: Tensor) -> Tensor:
    """The global average pool: (N, C, H, W) to (N, C)."""
    # The gradient of a sum is a view, that of a mean a tensor as large as the input.
    return x.sum(dim=(2, 3)) / (x.shape[2] * x.shape[3])


def convolve_each_channel(x: Tensor, filters: Tensor, stride: int) -> Tensor:
    """Fully grouped convolution of (N, C, H, W) with (C, 1, F, F), zero padding of F // 2 and no bias."""

    def convolve(x, filters):
        return F.conv2d(x, filters, stride=stride, padding=filters.shape[-1] // 2, groups=len(filters))

    if stride == 1 or x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return convolve(x, filters)
    # On a CPU torch has no fast bfloat16 kernel for this one's input gradient: of (64, 96, 56, 56), in two
    # cores, it took 85 ms where float32 took 7. The three of a network were a quarter of its step.
    with torch.autocast("cpu", enabled=False):
        return convolve(x.float(), filters.float()).to(torch.get_autocast_dtype("cpu"))


class DepthwiseConv2d(nn.Conv2d):
    """A fully grouped convolution of `channels` without bias, zero padded by filter_size // 2."""

    def __init__(self, channels: int, filter_size: int, stride: int = 1):
        super().__init__(
            channels, channels, filter_size, stride, filter_size // 2, groups=channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        return convolve_each_channel(x, self.weight, self.stride[0])


class SqueezeExcite(nn.Module):
    """Squeeze-and-excite (Hu et al., arXiv:1709.01507; paper, Figure 3).

    Scales each channel of an (N, channels, H, W) tensor by a gate in (0, 1) computed from the
    channel means: linear with bias to channels / reduction (at least 1), ReLU, linear with bias back,
    Sigmoid. Returns the input's shape.
    """

    def __init__(self, channels: int, reduction: int = 4):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.reduce = nn.Linear(channels, hidden)
        self.expand = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.expand(F.relu(self.reduce(channel_means(x)))))
        return x * gate[:, :, None, None]


class CondConv2d(nn.Module):
    """Conditional convolution: one filter per sample (Yang et al., arXiv:1904.04971; paper, Figure 4).

    The channel means of the convolution's own input pass a linear layer without bias and a Sigmoid
    to give one routing weight an expert; the sample's filter is the sum of the experts' filters, each
    times its routing weight. Maps (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)
    with zero padding of filter_size // 2 and no bias.

    Routing starts at zero, so that the layer starts as an ordinary convolution with half the sum of the
    experts. The filter is either fully grouped (`depthwise`, in_channels = out_channels) or dense with
    filter_size 1 and stride 1: the two kinds that the paper's block has.

    Raises ValueError on any other combination.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filter_size: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        experts: int = 4,
    ):
        super().__init__()
        if depthwise and in_channels != out_channels:
            raise ValueError(f"a depthwise CondConv2d keeps its {in_channels} channels, not {out_channels}")
        if not depthwise and (filter_size, stride) != (1, 1):
            raise ValueError("a dense CondConv2d has filter_size 1 and stride 1")
        self.stride = stride
        self.depthwise = depthwise
        self.filter_shape = (out_channels, 1 if depthwise else in_channels, filter_size, filter_size)
        # All experts as one (experts, coefficients) matrix: mixing is one matrix product.
        self.weight = nn.Parameter(torch.empty(experts, math.prod(self.filter_shape)))
        self.routing = nn.Linear(in_channels, experts, bias=False)
        # Every sample starts with the same filter, half the experts' sum. Random routing scales samples
        # differently in each of the network's 48 such layers, which batch norm cannot undo.
        nn.init.zeros_(self.routing.weight)
        for expert in self.weight.detach():
            init_filter(expert.view(self.filter_shape))

    def forward(self, x: Tensor) -> Tensor:
        # Routing is not followed by a batch norm that would undo its scale, and channel means are mostly
        # positive: what one step adds to it grows with the channels. Equalised (Karras et al.,
        # arXiv:1710.10196, section 4.1): the linear layer's weight is `routing.weight` / sqrt(in_channels).
        routing = torch.sigmoid(self.routing(channel_means(x) / self.routing.in_features**0.5))
        filters = routing @ self.weight
        return self._depthwise(x, filters) if self.depthwise else self._dense(x, filters)

    def _dense(self, x: Tensor, filters: Tensor) -> Tensor:
        samples, channels, rows, columns = x.shape
        y = torch.bmm(filters.view(samples, -1, channels), x.flatten(2))
        return y.view(samples, -1, rows, columns)

    def _depthwise(self, x: Tensor, filters: Tensor) -> Tensor:
        # The samples become groups of one image, so that each channel of each sample has its filter.
        samples, channels, rows, columns = x.shape
        size = self.filter_shape[-1]
        y = convolve_each_channel(
            x.reshape(1, samples * channels, rows, columns),
            filters.reshape(samples * channels, 1, size, size),
            self.stride,
        )
        return y.view(samples, channels, *y.shape[2:])


def init_filter(weight: Tensor) -> None:
    """Initialise one (out_channels, in_channels / groups, F, F) filter in place, before a ReLU.

    Normal with variance 2 / fan-out (He et al., arXiv:1502.01852); a depthwise filter, which has one
    input a channel, has a fan-out of F * F.
    """
    out_channels, inputs_per_filter, size, _ = weight.shape
    fan_out = size * size * (1 if inputs_per_filter == 1 else out_channels)
    with torch.no_grad():
        weight.normal_(0.0, (2.0 / fan_out) ** 0.5)


# Called as convolution(in_channels, out_channels, filter_size=, stride=, depthwise=).
Convolution = Callable[..., nn.Module]


def ordinary_convolution(
    in_channels: int, out_channels: int, filter_size: int = 1, stride: int = 1, depthwise: bool = False
) -> nn.Conv2d:
    """A convolution without bias that keeps H / stride x W / stride; depthwise is fully grouped,
    with in_channels = out_channels.
    """
    if depthwise:
        convolution = DepthwiseConv2d(in_channels, filter_size, stride)
    else:
        convolution = nn.Conv2d(
            in_channels, out_channels, filter_size, stride, padding=filter_size // 2, bias=False
        )
    init_filter(convolution.weight)
    return convolution


def convolution_norm(convolution: nn.Module, channels: int, relu: bool = True) -> nn.Sequential:
    """A convolution, batch norm over its `channels` outputs and, unless told otherwise, a ReLU."""
    layers = [convolution, nn.BatchNorm2d(channels)]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """Inverted residual with a linear bottleneck (Sandler et al., arXiv:1801.04381; paper, Figure 2).

    Maps (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride): 1x1 convolution to
    expansion * in_channels, depthwise convolution, the gate if there is one, 1x1 convolution. There is
    no nonlinearity after the last convolution nor after the adder, which is present if and only if
    in_channels = out_channels and stride = 1.

    `convolution` makes the three convolutions; `gate`, called with a number of channels, makes the
    module between the depthwise convolution and the last one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filter_size: int = 3,
        stride: int = 1,
        expansion: int = 4,
        convolution: Convolution = ordinary_convolution,
        gate: Callable[[int], nn.Module] | None = None,
    ):
        super().__init__()
        channels = expansion * in_channels
        self.identity = in_channels == out_channels and stride == 1
        self.expand = convolution_norm(convolution(in_channels, channels), channels)
        self.depthwise = convolution_norm(
            convolution(channels, channels, filter_size=filter_size, stride=stride, depthwise=True), channels
        )
        self.gate = gate(channels) if gate else None
        self.project = convolution_norm(convolution(channels, out_channels), out_channels, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        if self.gate is not None:
            y = self.gate(y)
        y = self.project(y)
        return x + y if self.identity else y


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
