"""The networks that the project's are compared with: its own from others' layers, and three known ones."""

from copy import deepcopy

import timm
import torch
import torchvision
from torch import Tensor, nn

from xnnlib.model import CondConv2d, DepthwiseConv2d, Network, SqueezeExcite


class RoutedConvolution(nn.Module):
    """timm's CondConv2d, which leaves its routing to the caller, with xnnlib's routing and weights."""

    def __init__(self, source: CondConv2d):
        super().__init__()
        out_channels, inputs_per_filter, size, _ = source.filter_shape
        in_channels = source.routing.in_features
        self.routing = deepcopy(source.routing)
        self.convolution = timm.layers.CondConv2d(
            in_channels,
            out_channels,
            size,
            source.stride,
            padding=size // 2,
            groups=in_channels // inputs_per_filter,
            num_experts=len(source.weight),
        )
        self.convolution.weight = deepcopy(source.weight)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3)) / self.routing.in_features**0.5
        return self.convolution(x, torch.sigmoid(self.routing(means)))


def timm_gate(source: SqueezeExcite) -> nn.Module:
    """timm's SqueezeExcite of the same sizes and weights; its linear layers are 1x1 convolutions."""
    hidden, channels = source.reduce.weight.shape
    gate = timm.layers.SqueezeExcite(channels, rd_channels=hidden)
    for theirs, ours in ((gate.fc1, source.reduce), (gate.fc2, source.expand)):
        theirs.weight = nn.Parameter(ours.weight.detach()[:, :, None, None].clone())
        theirs.bias = deepcopy(ours.bias)
    return gate


def torch_convolution(source: DepthwiseConv2d) -> nn.Conv2d:
    """torch's own of the same sizes and weights."""
    channels = source.in_channels
    convolution = nn.Conv2d(
        channels, channels, source.kernel_size, source.stride, source.padding, groups=channels, bias=False
    )
    convolution.weight = deepcopy(source.weight)
    return convolution


def from_known_layers(network: Network) -> Network:
    """The same network and weights with timm's and torch's layers for xnnlib's. `network` stays as it was."""
    network = deepcopy(network)
    replacements = {
        DepthwiseConv2d: torch_convolution,
        SqueezeExcite: timm_gate,
        CondConv2d: RoutedConvolution,
    }
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in replacements:
                setattr(parent, name, replacements[type(child)](child))
    return network


def known_network(name: str, num_classes: int) -> nn.Module:
    """One of plan.KNOWN for small images: of its five halvings the first two are left out, as in Table 1."""
    if name == "mobilenet_v2":
        network = torchvision.models.mobilenet_v2(num_classes=num_classes)
    else:
        network = timm.create_model(name, num_classes=num_classes)
    halvings = [
        module for module in network.modules() if isinstance(module, nn.Conv2d) and module.stride == (2, 2)
    ]
    for convolution in halvings[:2]:
        convolution.stride = (1, 1)
    return network
