from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models import mobilenetv2

from xnnlib.model import CondConv2d, InvertedResidual, SqueezeExcite


class MobileNetV2Block(mobilenetv2.InvertedResidual):
    """torchvision's block with the paper's ReLU in place of its ReLU6."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        for convolution in self.conv[:2]:
            convolution[2] = nn.ReLU()


@pytest.mark.parametrize("channels, stride", [((16, 16), 1), ((16, 24), 1), ((16, 24), 2), ((16, 16), 2)])
@pytest.mark.parametrize("training", [True, False])
def test_the_standard_block_equals_torchvision_s(channels, stride, training):
    torch.manual_seed(0)
    ours = InvertedResidual(*channels, filter_size=3, stride=stride, expansion=4).double().train(training)
    theirs = MobileNetV2Block(*channels, stride, 4).double().train(training)
    # Batch norm's parameters and statistics start at 0 and 1, which would hide a wrong order.
    shuffled = [
        torch.rand_like(value) + 0.5 if value.is_floating_point() and value.ndim == 1 else value
        for value in ours.state_dict().values()
    ]
    ours.load_state_dict(dict(zip(ours.state_dict(), shuffled, strict=True)))
    theirs.load_state_dict(dict(zip(theirs.state_dict(), shuffled, strict=True)))
    x = torch.randn(4, channels[0], 8, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)


def test_nothing_follows_the_last_convolution_or_the_adder():
    torch.manual_seed(0)
    for out_channels in (8, 12):
        block = InvertedResidual(8, out_channels)
        assert (block(torch.rand(2, 8, 6, 6)) < 0).any()


def test_the_gate_stands_between_the_depthwise_and_the_last_convolution():
    class Silence(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.channels = channels

        def forward(self, x):
            assert x.shape[1] == self.channels == 32
            assert (x >= 0).all()
            return torch.zeros_like(x)

    block = InvertedResidual(8, 8, gate=Silence).eval()
    x = torch.rand(2, 8, 6, 6)
    torch.testing.assert_close(block(x), x)


def test_all_three_convolutions_of_block_c_are_conditional():
    block = InvertedResidual(
        8, 8, convolution=partial(CondConv2d, experts=2), gate=partial(SqueezeExcite, reduction=4)
    )
    assert sum(isinstance(module, CondConv2d) for module in block.modules()) == 3
    assert not any(isinstance(module, nn.Conv2d) for module in block.modules())
