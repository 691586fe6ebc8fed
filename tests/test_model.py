"""The network against independent implementations: timm, torchvision, and loops over samples."""

from dataclasses import replace

import pytest
import timm.layers
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import mobilenetv2

from xnnlib.model import CondConv2d, Convolution, InvertedResidual, Network, Routing, SqueezeExcite
from xnnlib.spec import BLOCKS, ROUTINGS, TABLE_1, NetworkSpec

# Layers


@pytest.mark.parametrize("channels, reduction, hidden", [(24, 4, 6), (3, 16, 1)])
def test_squeeze_excite_equals_timm_s(channels, reduction, hidden):
    ours = SqueezeExcite(channels, reduction).double()
    theirs = timm.layers.SEModule(channels, rd_channels=hidden, bias=True).double()
    with torch.no_grad():
        for mine, other in ((ours.reduce, theirs.fc1), (ours.expand, theirs.fc2)):
            other.weight.copy_(mine.weight[:, :, None, None])
            other.bias.copy_(mine.bias)
    x = torch.randn(3, channels, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("filter_size, stride", [(3, 1), (3, 2), (5, 1)])
def test_depthwise_convolution_in_bfloat16_is_torch_s_within_rounding(filter_size, stride):
    layer = Convolution(8, 8, filter_size, stride, depthwise=True)
    plain = nn.Conv2d(8, 8, filter_size, stride, filter_size // 2, groups=8, bias=False).double()
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(4, 8, 9, 9).bfloat16().requires_grad_()
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


def experts(layer: CondConv2d) -> torch.Tensor:
    return layer.weight.view(-1, *layer.filter_shape)


def plain_routing(weight: torch.Tensor, sample: torch.Tensor, kind: str = "equalised") -> torch.Tensor:
    """The weights of the experts for one (channels, H, W) sample; `weight` is (experts, channels)."""
    means = sample.sum((1, 2)) / sample[0].numel()
    return torch.sigmoid(weight @ means / (len(sample) ** 0.5 if kind == "equalised" else 1.0))


def plain_conditional_convolution(layer: CondConv2d, x: torch.Tensor) -> torch.Tensor:
    """Figure 4 sample by sample, with nothing but F.conv2d."""
    outputs = []
    for sample in x:
        routing = plain_routing(layer.routing.weight, sample)
        kernel = sum(weight * expert for weight, expert in zip(routing, experts(layer), strict=True))
        padding, groups = kernel.shape[-1] // 2, len(sample) if layer.depthwise else 1
        outputs.append(F.conv2d(sample[None], kernel, None, layer.stride, padding, groups=groups))
    return torch.cat(outputs)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "shape, options",
    [
        ((6, 10), {}),
        ((10, 6), {"experts": 3}),
        ((8, 8, 3, 1), {"depthwise": True}),
        ((8, 8, 5, 2), {"depthwise": True, "experts": 1}),
    ],
)
def test_conditional_convolution_equals_a_loop_over_samples(shape, options, memory_format):
    layer = CondConv2d(*shape, **options).double()
    nn.init.normal_(layer.routing.weight)  # so that samples differ, as they do after the first step
    x = torch.randn(5, shape[0], 9, 9, dtype=torch.float64)
    x = x.contiguous(memory_format=memory_format).requires_grad_()
    leaves = [x, layer.weight, layer.routing.weight]
    fast, plain = layer(x), plain_conditional_convolution(layer, x)
    torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)
    direction = torch.randn_like(plain)
    gradients = (torch.autograd.grad(result, leaves, direction) for result in (fast, plain))
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ROUTINGS)
def test_routing_equals_a_loop_over_samples(kind):
    routing = Routing(7, 3, kind).double()
    nn.init.normal_(routing.weight)
    x = torch.randn(5, 7, 4, 6, dtype=torch.float64)
    expected = torch.stack([plain_routing(routing.weight, sample, kind) for sample in x])
    torch.testing.assert_close(routing(x), expected, rtol=1e-12, atol=1e-12)


def test_routing_starts_from_zero_but_as_torch_initialises_where_asked():
    assert {kind for kind in ROUTINGS if Routing(8, 2, kind).weight.any()} == {"torch_init"}
    torch.manual_seed(0)
    drawn = Routing(8, 2, "torch_init").weight
    torch.manual_seed(0)
    assert torch.equal(drawn, nn.Linear(8, 2, bias=False).weight)


def test_each_expert_is_initialised_like_an_ordinary_filter():
    layer = CondConv2d(64, 256, experts=3)
    assert torch.allclose(layer.weight.std(1), torch.tensor((2 / 256) ** 0.5), rtol=0.05)
    assert not torch.equal(layer.weight[0], layer.weight[1])
    depthwise = CondConv2d(4096, 4096, 3, depthwise=True, experts=1)
    assert depthwise.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)


@pytest.mark.parametrize("arguments", [(4, 8, 3, 1, True), (4, 8, 3, 1, False), (4, 8, 1, 2, False)])
def test_kind_that_the_block_does_not_have_is_refused(arguments):
    with pytest.raises(ValueError):
        CondConv2d(*arguments)


# The block


@pytest.mark.parametrize("channels, stride", [((16, 16), 1), ((16, 24), 1), ((16, 24), 2), ((16, 16), 2)])
@pytest.mark.parametrize("training", [True, False])
def test_standard_block_equals_torchvision_s(channels, stride, training):
    ours = InvertedResidual(*channels, filter_size=3, stride=stride, expansion=4).double().train(training)
    theirs = mobilenetv2.InvertedResidual(*channels, stride, 4).double().train(training)
    for convolution in theirs.conv[:2]:
        convolution[2] = nn.ReLU()  # the paper's, in place of its ReLU6
    # Batch norm's parameters and statistics start at 0 and 1, which would hide a wrong order.
    shuffled = [
        torch.rand_like(value) + 0.5 if value.is_floating_point() and value.ndim == 1 else value
        for value in ours.state_dict().values()
    ]
    ours.load_state_dict(dict(zip(ours.state_dict(), shuffled, strict=True)))
    theirs.load_state_dict(dict(zip(theirs.state_dict(), shuffled, strict=True)))
    x = torch.randn(4, channels[0], 8, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)


def test_gate_stands_between_the_depthwise_and_the_last_convolution():
    class Silence(nn.Module):
        def forward(self, x):
            assert x.shape[1] == 32 and (x >= 0).all()
            return torch.zeros_like(x)

    block = InvertedResidual(8, 8, gate=lambda channels: Silence()).eval()
    x = torch.rand(2, 8, 6, 6)
    torch.testing.assert_close(block(x), x)


def test_shared_routing_gives_the_three_convolutions_of_a_block_one_set_of_weights():
    """Against the same filters in an ordinary block, sample by sample."""
    network = Network("se_cond", 3, routing="shared", width=0.25).double().eval()
    block = network.stages[4][0]
    nn.init.normal_(block.routing.weight)
    x = torch.rand(3, block.routing.in_features, 6, 6, dtype=torch.float64)
    stage, expected = network.spec.stages[4], []
    shape = (stage.in_channels, stage.out_channels, 3, stage.stride, 4)
    for sample in x:
        weights = plain_routing(block.routing.weight, sample, "shared")
        ordinary = InvertedResidual(*shape, gate=lambda channels: block.gate).double().eval()
        for name in ("expand", "depthwise", "project"):
            mixed = block.get_submodule(name)[0]
            assert mixed.routing is None
            ordinary.get_submodule(name)[0].weight.data = torch.tensordot(weights, experts(mixed), 1)
        expected.append(ordinary(sample[None]))
    torch.testing.assert_close(block(x), torch.cat(expected), rtol=1e-9, atol=1e-9)


# The network


def test_every_row_of_table_1_reads_the_shape_that_it_says():
    network = Network().eval()
    x = torch.randn(1, 3, 56, 56)
    for stage, row in zip(TABLE_1, network.stages, strict=True):
        assert x.shape == (1, stage.in_channels, stage.size, stage.size)
        if stage.operation == "block":
            assert len(row) == stage.repeat
            assert row[0].identity == stage.identity
        x = row(x)
    assert x.shape == (1, 100)


@pytest.mark.parametrize("block", BLOCKS)
def test_batch_equals_its_samples_one_by_one(block):
    network = Network(block, num_classes=5).double().eval()
    for module in network.modules():
        if isinstance(module, CondConv2d):  # routing that is still zero gives all samples one filter
            nn.init.normal_(module.routing.weight, std=0.1)
    images = torch.randn(3, 3, 28, 28, dtype=torch.float64)
    one_by_one = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), one_by_one, rtol=1e-9, atol=1e-9)


def test_variants_add_what_they_are_named_for():
    kinds = (nn.Conv2d, SqueezeExcite, CondConv2d)
    for block, counts in {"standard": (50, 0, 0), "se": (50, 16, 0), "se_cond": (2, 16, 48)}.items():
        modules = list(Network(block).modules())
        assert tuple(sum(isinstance(module, kind) for module in modules) for kind in kinds) == counts


def test_reduction_and_experts_are_passed_on():
    block = Network("se_cond", reduction=8, experts=2).stages[1][0]
    assert block.gate.reduce.out_features == 64 // 8
    assert block.depthwise[0].weight.shape == (2, 64 * 3 * 3)


@pytest.mark.parametrize("gate, block", [("se", "se"), ("none", "standard")])
def test_blocks_of_earlier_levels_are_those_without_conditional_convolution(gate, block):
    network = Network("se_cond", 3, width=0.25, gate=gate, conditional_from=4)
    plain = Network(block, 3, width=0.25)
    for level, row, other in zip(network.spec.levels(), network.stages, plain.stages, strict=True):
        assert ("CondConv2d" in str(row)) == (level >= 4)
        assert ("SqueezeExcite" in str(row)) == ("SqueezeExcite" in str(other))
        if level < 4:
            assert str(row) == str(other)
    assert str(Network("se", 3, conditional_from=4)) == str(Network("se", 3))


@pytest.mark.parametrize(
    "spec",
    [NetworkSpec(), NetworkSpec("se"), *(NetworkSpec("se_cond", routing=kind) for kind in ROUTINGS)],
    ids=lambda spec: f"{spec.block}-{spec.routing}",
)
def test_every_parameter_gets_a_gradient_but_frozen_routing(spec):
    network = Network.of(replace(spec, num_classes=5, width=0.25))
    network(torch.randn(4, 3, 28, 28)).square().sum().backward()
    for name, parameter in network.named_parameters():
        if "routing" in name and spec.routing == "frozen":
            assert parameter.grad is None and not parameter.any()
        else:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_initial_weights_are_those_of_table_2():
    network = Network()
    classifier = network.stages[-1][-1]
    assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not classifier.bias.any()
    for filters in [module for module in network.modules() if isinstance(module, nn.Conv2d)]:
        fan_out = filters.weight[:, 0].numel() // filters.groups
        assert filters.weight.var().item() == pytest.approx(2 / fan_out, rel=0.25)


@pytest.mark.parametrize("block", BLOCKS)
def test_depthwise_filters_start_as_torch_s_where_asked_and_nothing_else_does(block):
    weights = []
    for fan_out in ("channel", "layer"):
        torch.manual_seed(0)
        weights.append(Network(block, depthwise_fan_out=fan_out).stages[9][0].state_dict())
    usual, other = weights
    filters = other["depthwise.0.weight"]
    torch_s = nn.init.kaiming_normal_(torch.empty(640, 1, 3, 3), mode="fan_out", nonlinearity="relu")
    assert filters.std().item() == pytest.approx(torch_s.std().item(), rel=0.1)
    assert [name for name in usual if not torch.equal(usual[name], other[name])] == ["depthwise.0.weight"]
