"""The network, from its layers to Table 1: read it top to bottom.

The layers that torch does not have (squeeze-and-excite, conditional convolution), the inverted residual that
they are injected into, and the network that walks Table 1.
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xnnlib import runtime
from xnnlib.spec import AnySpec, NetworkSpec, Stage


def global_average_pool(x: Tensor) -> Tensor:
    """(N, C, H, W) to the channel means (N, C)."""
    # The gradient of a sum is a view, that of a mean a tensor as large as the input.
    return x.sum(dim=(2, 3)) / (x.shape[2] * x.shape[3])


def depthwise_conv2d(x: Tensor, filters: Tensor, stride: int) -> Tensor:
    """Depthwise convolution of (N, C, H, W) with (C, 1, F, F), zero padding of F // 2 and no bias."""
    padding = filters.shape[-1] // 2
    convolve = partial(F.conv2d, stride=stride, padding=padding, groups=len(filters))
    return runtime.in_fast_precision(convolve, x, filters, stride)


def init_filter(weight: Tensor) -> None:
    """Initialise one (out_channels, in_channels / groups, F, F) filter in place, before a ReLU.

    Normal with variance 2 / fan-out (He et al., arXiv:1502.01852); a depthwise filter, which has one
    input per channel, has a fan-out of F * F, as in EfficientNet's code. (torch's kaiming_normal_ takes
    channels * F * F for it, as RegNet's code and torchvision's networks do; `depthwise_fan_out` "layer".)
    """
    out_channels, inputs_per_filter, size, _ = weight.shape
    fan_out = size * size * (1 if inputs_per_filter == 1 else out_channels)
    with torch.no_grad():
        weight.normal_(0.0, (2.0 / fan_out) ** 0.5)


class Convolution(nn.Conv2d):
    """A convolution without bias that keeps H / stride x W / stride, rounded up.

    It is dense, or depthwise: one group a channel, in_channels = out_channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filter_size: int = 1,
        stride: int = 1,
        depthwise: bool = False,
    ):
        shape = {"padding": filter_size // 2, "groups": in_channels if depthwise else 1, "bias": False}
        super().__init__(in_channels, out_channels, filter_size, stride, **shape)
        init_filter(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        depthwise = self.groups > 1
        return depthwise_conv2d(x, self.weight, self.stride[0]) if depthwise else super().forward(x)


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
        gate = torch.sigmoid(self.expand(F.relu(self.reduce(global_average_pool(x)))))
        return x * gate[:, :, None, None]


class Routing(nn.Linear):
    """One weight per expert from channel means: (N, channels, H, W) to (N, experts) in (0, 1); Figure 4.

    r = sigmoid(V z / d), z the channel means, without bias. `kind` is one of ROUTINGS:

    - "torch_init": unscaled, d = 1, V as torch initialises a linear layer;
    - "zero_init", "shared": unscaled, V from zero, so that every sample starts with the same filter, half
      the experts' sum ("shared": one routing for the three convolutions of an `InvertedResidual`);
    - "equalised": V from zero, d = sqrt(channels) (Karras et al., arXiv:1710.10196, section 4.1). Channel
      means are mostly positive and no batch norm undoes the scale of what follows: without it one step
      changes the routing in proportion to the channels;
    - "frozen": V stays zero, a control: always half the experts' sum, nothing conditional.
    """

    def __init__(self, channels: int, experts: int, kind: str = "equalised"):
        super().__init__(channels, experts, bias=False)
        if kind != "torch_init":
            nn.init.zeros_(self.weight)
        self.weight.requires_grad_(kind != "frozen")
        self.divisor = channels**0.5 if kind == "equalised" else 1.0

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(super().forward(global_average_pool(x) / self.divisor))


class CondConv2d(nn.Module):
    """Conditional convolution: one filter per sample (Yang et al., arXiv:1904.04971; paper, Figure 4).

    `Routing` gives one weight per expert from the convolution's own input; the sample's filter is the sum of
    the experts' filters, each times its weight. Maps (N, in_channels, H, W) to (N, out_channels, H / stride,
    W / stride), rounded up, with zero padding of filter_size // 2 and no bias. With `routing` "shared" the
    layer has none of its own and is called with the weights (N, experts).

    The filter is either depthwise (in_channels = out_channels) or dense with filter_size 1
    and stride 1: the two kinds that the paper's block has. Raises ValueError on any other combination.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filter_size: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        experts: int = 4,
        routing: str = "equalised",
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
        self.routing = None if routing == "shared" else Routing(in_channels, experts, routing)
        for expert in self.weight.detach():
            init_filter(expert.view(self.filter_shape))

    def forward(self, x: Tensor, routing_weights: Tensor | None = None) -> Tensor:
        filters = (self.routing(x) if routing_weights is None else routing_weights) @ self.weight
        return self._depthwise(x, filters) if self.depthwise else self._dense(x, filters)

    def _dense(self, x: Tensor, filters: Tensor) -> Tensor:
        samples, channels, rows, columns = x.shape
        y = torch.bmm(filters.view(samples, -1, channels), x.flatten(2))
        return y.view(samples, -1, rows, columns)

    def _depthwise(self, x: Tensor, filters: Tensor) -> Tensor:
        # The samples become groups of one image, so that each channel of each sample has its filter.
        samples, channels, rows, columns = x.shape
        size = self.filter_shape[-1]
        y = depthwise_conv2d(
            x.reshape(1, samples * channels, rows, columns),
            filters.reshape(samples * channels, 1, size, size),
            self.stride,
        )
        return y.view(samples, channels, *y.shape[2:])


class ConvolutionNorm(nn.Sequential):
    """A convolution, batch norm over its `channels` outputs and, unless told otherwise, a ReLU."""

    def __init__(self, convolution: nn.Module, channels: int, relu: bool = True):
        # Not in place: on a CPU torch's clamp in place is the slower one, by 6 % of the step.
        super().__init__(convolution, nn.BatchNorm2d(channels), *([nn.ReLU()] if relu else []))

    def forward(self, x: Tensor, routing_weights: Tensor | None = None) -> Tensor:
        """`routing_weights` are for a conditional convolution that has no routing of its own."""
        convolution, *others = self
        x = convolution(x) if routing_weights is None else convolution(x, routing_weights)
        for layer in others:
            x = layer(x)
        return x


class InvertedResidual(nn.Module):
    """Inverted residual with a linear bottleneck (Sandler et al., arXiv:1801.04381; paper, Figure 2).

    Maps (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride), rounded up: 1x1 convolution to
    expansion * in_channels, depthwise convolution, the gate if there is one, 1x1 convolution. There is
    no nonlinearity after the last convolution nor after the residual connection, which is present if and
    only if in_channels = out_channels and stride = 1.

    `convolution` makes the three convolutions; `gate`, called with a number of channels, makes the
    module between the depthwise convolution and the last one; `routing`, called with a number of
    channels, makes the one routing that the three conditional convolutions share.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filter_size: int = 3,
        stride: int = 1,
        expansion: int = 4,
        convolution: Callable[..., nn.Module] = Convolution,
        gate: Callable[[int], nn.Module] | None = None,
        routing: Callable[[int], nn.Module] | None = None,
    ):
        super().__init__()
        channels = expansion * in_channels
        self.identity = in_channels == out_channels and stride == 1
        self.routing = routing(in_channels) if routing else None
        self.expand = ConvolutionNorm(convolution(in_channels, channels), channels)
        self.depthwise = ConvolutionNorm(
            convolution(channels, channels, filter_size=filter_size, stride=stride, depthwise=True), channels
        )
        self.gate = gate(channels) if gate else None
        self.project = ConvolutionNorm(convolution(channels, out_channels), out_channels, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        routing_weights = None if self.routing is None else self.routing(x)
        y = self.depthwise(self.expand(x, routing_weights), routing_weights)
        if self.gate is not None:
            y = self.gate(y)
        y = self.project(y, routing_weights)
        return x + y if self.identity else y


class Network(nn.Module):
    """Maps (N, 3, 56, 56) images to (N, num_classes) logits (paper, Table 1 and Figure 1).

    Takes what `NetworkSpec` takes, as in `Network("se", num_classes=10, reduction=8)`, and raises UserError
    where it does. Other image sizes work too: the classifier averages over whatever rows and columns are
    left. `stages[i]` holds the repeats of row i.
    """

    def __init__(self, *sizes: object, **named_sizes: object):
        super().__init__()
        self.spec = NetworkSpec(*sizes, **named_sizes)
        rows = zip(self.spec.stages, self.spec.levels(), strict=True)
        self.stages = nn.Sequential(*(_build(stage, level, self.spec) for stage, level in rows))

    @classmethod
    def of(cls, spec: NetworkSpec) -> "Network":
        """The network of a specification."""
        return cls(**asdict(spec))

    def forward(self, images: Tensor) -> Tensor:
        return self.stages(images)


def build(spec: AnySpec) -> nn.Module:
    """The network of a specification, initialised from torch's default generator."""
    if isinstance(spec, NetworkSpec):
        return Network.of(spec)
    from xnnlib import baselines  # whose libraries take seconds, which the paper's networks need not wait

    return baselines.build(spec)


def untrained(spec: AnySpec) -> nn.Module:
    """The network of a specification in evaluation mode, to count and to trace; the RNG state stays."""
    with torch.random.fork_rng(devices=[]):
        return build(spec).eval()


def memory_format(block: str) -> torch.memory_format:
    """The memory format of the activations that is faster for the block."""
    # Measured on two cores: channels_last takes a quarter off the step of standard and se. The batched
    # products and depthwise convolutions of se_cond need contiguous activations, and would copy each one.
    return torch.contiguous_format if block == "se_cond" else torch.channels_last


def _build(stage: Stage, level: int, spec: NetworkSpec) -> nn.Sequential:
    if stage.operation == "classifier":
        classifier = nn.Linear(stage.in_channels, spec.num_classes)
        nn.init.normal_(classifier.weight, std=0.01)
        nn.init.zeros_(classifier.bias)
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)
    return nn.Sequential(*(_build_one(stage, level, spec) for _ in range(stage.repeat)))


def _build_one(stage: Stage, level: int, spec: NetworkSpec) -> nn.Module:
    shape = (stage.in_channels, stage.out_channels, stage.filter_size, stage.stride)
    if stage.operation != "block":
        return ConvolutionNorm(Convolution(*shape), stage.out_channels)
    parts: dict[str, Callable] = {}
    if spec.block == "se" or (spec.block == "se_cond" and spec.gate == "se"):
        parts["gate"] = partial(SqueezeExcite, reduction=spec.reduction)
    if spec.block == "se_cond" and level >= spec.conditional_from:
        parts["convolution"] = partial(CondConv2d, experts=spec.experts, routing=spec.routing)
        if spec.routing == "shared":
            parts["routing"] = partial(Routing, experts=spec.experts, kind="shared")
    block = InvertedResidual(*shape, stage.expansion, **parts)
    if spec.depthwise_fan_out == "layer":
        with torch.no_grad():
            block.depthwise[0].weight /= (stage.expansion * stage.in_channels) ** 0.5
    return block
