"""The inverted residual; what varies between the paper's blocks is injected."""

from collections.abc import Callable

from torch import Tensor, nn

from xnnlib.layers import DepthwiseConv2d, init_filter

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
