import pytest
import timm.layers
import torch
from torch import nn
from torch.nn import functional as F

from xnnlib.model import CondConv2d, DepthwiseConv2d, SqueezeExcite, init_filter


def test_squeeze_excite_equals_timm_s():
    torch.manual_seed(0)
    ours = SqueezeExcite(24, reduction=4).double()
    theirs = timm.layers.SEModule(24, rd_channels=6, bias=True).double()
    with torch.no_grad():
        for mine, other in ((ours.reduce, theirs.fc1), (ours.expand, theirs.fc2)):
            other.weight.copy_(mine.weight[:, :, None, None])
            other.bias.copy_(mine.bias)
    x = torch.randn(3, 24, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


def test_squeeze_excite_keeps_one_hidden_channel():
    assert SqueezeExcite(3, reduction=16)(torch.randn(2, 3, 4, 4)).shape == (2, 3, 4, 4)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("filter_size", [3, 5])
def test_depthwise_convolution_in_bfloat16_is_torch_s_within_rounding(filter_size, stride, memory_format):
    torch.manual_seed(0)
    layer = DepthwiseConv2d(8, filter_size, stride)
    plain = nn.Conv2d(8, 8, filter_size, stride, filter_size // 2, groups=8, bias=False).double()
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(4, 8, 9, 9).bfloat16().contiguous(memory_format=memory_format).requires_grad_()
    exact = x.detach().double().requires_grad_()
    expected = plain(exact)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    direction = torch.randn_like(expected).bfloat16()
    gradients = torch.autograd.grad(y, [x, layer.weight], direction)
    exact_gradients = torch.autograd.grad(expected, [exact, plain.weight], direction.double())
    for mine, other in zip([y, *gradients], [expected, *exact_gradients], strict=True):
        assert (mine.double() - other).norm() < 0.01 * other.norm()
    torch.testing.assert_close(layer.double()(exact), expected, rtol=1e-12, atol=1e-12)


def routed(*arguments, **named) -> CondConv2d:
    """A layer whose samples differ in their filters, as they do after the first step of training."""
    layer = CondConv2d(*arguments, **named)
    nn.init.normal_(layer.routing.weight)
    return layer


def experts(layer: CondConv2d) -> torch.Tensor:
    return layer.weight.view(-1, *layer.filter_shape)


def plain_conditional_convolution(layer: CondConv2d, x: torch.Tensor) -> torch.Tensor:
    """Figure 4 sample by sample, with nothing but F.conv2d."""
    outputs = []
    for sample in x:
        pooled = sample.mean((1, 2))
        routing = torch.sigmoid(layer.routing.weight / len(pooled) ** 0.5 @ pooled)
        kernel = sum(weight * expert for weight, expert in zip(routing, experts(layer), strict=True))
        outputs.append(
            F.conv2d(
                sample[None],
                kernel,
                stride=layer.stride,
                padding=kernel.shape[-1] // 2,
                groups=sample.shape[0] if layer.depthwise else 1,
            )
        )
    return torch.cat(outputs)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "arguments",
    [
        {"in_channels": 6, "out_channels": 10},
        {"in_channels": 10, "out_channels": 6, "experts": 3},
        {"in_channels": 8, "out_channels": 8, "filter_size": 3, "depthwise": True},
        {"in_channels": 8, "out_channels": 8, "filter_size": 5, "stride": 2, "depthwise": True},
        {"in_channels": 8, "out_channels": 8, "filter_size": 3, "stride": 2, "depthwise": True, "experts": 1},
    ],
)
def test_conditional_convolution_equals_a_loop_over_samples(arguments, memory_format):
    torch.manual_seed(0)
    layer = routed(**arguments).double()
    x = torch.randn(5, arguments["in_channels"], 9, 9, dtype=torch.float64)
    x = x.contiguous(memory_format=memory_format).requires_grad_()
    leaves = [x, layer.weight, layer.routing.weight]
    fast, plain = layer(x), plain_conditional_convolution(layer, x)
    torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)
    direction = torch.randn_like(plain)
    for mine, other in zip(
        torch.autograd.grad(fast, leaves, direction),
        torch.autograd.grad(plain, leaves, direction),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_one_expert_with_its_routing_at_one_is_an_ordinary_convolution(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(torch, "sigmoid", torch.ones_like)
    for arguments, groups in (((6, 10), 1), ((6, 6, 3, 1, True), 6)):
        layer = CondConv2d(*arguments, experts=1).double()
        x = torch.randn(4, 6, 7, 7, dtype=torch.float64)
        kernel = experts(layer)[0]
        ordinary = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2, groups=groups)
        torch.testing.assert_close(layer(x), ordinary, rtol=1e-12, atol=1e-12)


def test_the_filter_differs_from_sample_to_sample():
    torch.manual_seed(0)
    layer = routed(4, 4)
    x = torch.randn(1, 4, 5, 5)
    scaled = layer(torch.cat([x, 3 * x]))
    assert not torch.allclose(scaled[1], 3 * scaled[0], rtol=1e-3)


def test_at_first_every_sample_has_half_the_sum_of_the_experts():
    layer = CondConv2d(4, 6)
    x = torch.randn(3, 4, 5, 5)
    torch.testing.assert_close(layer(x), F.conv2d(x, experts(layer).sum(0) / 2))


def test_each_expert_is_initialised_like_an_ordinary_filter():
    torch.manual_seed(0)
    layer = CondConv2d(64, 256, experts=3)
    assert torch.allclose(layer.weight.std(1), torch.tensor((2 / 256) ** 0.5), rtol=0.05)
    assert not torch.equal(layer.weight[0], layer.weight[1])
    depthwise = torch.empty(4096, 1, 3, 3)
    init_filter(depthwise)
    assert depthwise.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)


@pytest.mark.parametrize("arguments", [(4, 8, 3, 1, True), (4, 8, 3, 1, False), (4, 8, 1, 2, False)])
def test_a_kind_that_the_block_does_not_have_is_refused(arguments):
    with pytest.raises(ValueError):
        CondConv2d(*arguments)
