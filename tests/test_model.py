import pytest
import torch
from torch import nn

from xnnlib.errors import UserError
from xnnlib.model import CondConv2d, Network, SqueezeExcite
from xnnlib.spec import BLOCKS, TABLE_1


@pytest.mark.parametrize("block", BLOCKS)
def test_maps_images_to_logits(block):
    assert Network(block, num_classes=7)(torch.randn(2, 3, 56, 56)).shape == (2, 7)


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
def test_a_batch_equals_its_samples_one_by_one(block):
    torch.manual_seed(0)
    network = Network(block, num_classes=5).double().eval()
    for module in network.modules():
        if isinstance(module, CondConv2d):  # routing that is still zero gives all samples one filter
            nn.init.normal_(module.routing.weight, std=0.1)
    images = torch.randn(3, 3, 28, 28, dtype=torch.float64)
    one_by_one = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), one_by_one, rtol=1e-9, atol=1e-9)


def test_the_variants_add_what_they_are_named_for():
    def kinds(block, **sizes):
        modules = list(Network(block, **sizes).modules())
        return tuple(
            sum(isinstance(m, kind) for m in modules) for kind in (nn.Conv2d, SqueezeExcite, CondConv2d)
        )

    blocks = sum(stage.repeat for stage in TABLE_1 if stage.operation == "block")
    assert kinds("standard") == (3 * blocks + 2, 0, 0)
    assert kinds("se") == (3 * blocks + 2, blocks, 0)
    assert kinds("se_cond") == (2, blocks, 3 * blocks)


def test_reduction_and_experts_are_passed_on():
    network = Network("se_cond", reduction=8, experts=2)
    block = network.stages[1][0]
    assert block.gate.reduce.out_features == 64 // 8
    assert block.depthwise[0].weight.shape == (2, 64 * 3 * 3)
    assert block.depthwise[0].routing.bias is None
    assert block.gate.reduce.bias is not None and block.gate.expand.bias is not None


def test_another_block_name_lists_the_three():
    with pytest.raises(UserError, match="standard, se, se_cond"):
        Network(block="squeeze")


@pytest.mark.parametrize("block", BLOCKS)
def test_every_parameter_gets_a_gradient(block):
    torch.manual_seed(0)
    network = Network(block, num_classes=5)
    network(torch.randn(4, 3, 28, 28)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_initial_weights_are_those_of_table_2():
    torch.manual_seed(0)
    network = Network()
    classifier = network.stages[-1][-1]
    assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not classifier.bias.any()
    for filters in [module for module in network.modules() if isinstance(module, nn.Conv2d)]:
        fan_out = filters.weight[:, 0].numel() // filters.groups
        assert filters.weight.var().item() == pytest.approx(2 / fan_out, rel=0.25)
