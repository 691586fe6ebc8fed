import pytest
from ptflops import get_model_complexity_info
from torch import nn

from xnnlib.complexity import count, total
from xnnlib.model import Network
from xnnlib.spec import BLOCKS, TABLE_1, NetworkSpec


def by_hand() -> tuple[int, int]:
    """Table 4's totals for block A, straight from Table 1's numbers."""
    macs = coefficients = 0
    for stage in TABLE_1:
        pixels = stage.size**2
        after = (stage.size // stage.stride) ** 2
        ni, no = stage.in_channels, stage.out_channels
        if stage.operation == "block":
            ne = 4 * ni
            weights = (ni * ne, 9 * ne, ne * no)
            work = (weights[0] * pixels, weights[1] * after, weights[2] * after)
        elif stage.operation == "classifier":
            weights = work = (ni * 100,)
        else:
            weights = (ni * no * stage.filter_size**2,)
            work = (weights[0] * after,)
        macs += stage.repeat * sum(work)
        coefficients += stage.repeat * sum(weights)
    return macs, coefficients


def test_convolution_part_is_the_same_in_every_block():
    parts = {total(count(NetworkSpec(block)), ["convolution", "linear"]) for block in BLOCKS}
    assert parts == {by_hand()}


VARIATIONS = [{}, {"routing": "shared"}, {"conditional_from": 4, "width": 0.5, "gate": "none"}]


@pytest.mark.parametrize("block, variation", [("se", {}), *(("se_cond", varied) for varied in VARIATIONS)])
def test_coefficients_are_the_filters_and_matrices(block, variation):
    network = Network(block, num_classes=13, reduction=8, experts=3, **variation)
    filters = sum(p.numel() for p in network.parameters() if p.ndim > 1)
    assert total(count(network.spec))[1] == filters


@pytest.mark.parametrize("block", BLOCKS)
def test_ptflops_counts_the_same_and_the_biases(block):
    """ptflops adds one operation an output for the bias of a linear layer; the paper leaves biases out.

    Nothing else differs: it counts the mixing of experts as the matrix product that it is, and its
    `aten` backend, too, leaves out batch norm, ReLU, pooling, the gates' scaling and the adds.
    """
    network = Network(block)
    biases = sum(m.bias.numel() for m in network.modules() if isinstance(m, nn.Linear) and m.bias is not None)
    quiet = {"as_strings": False, "print_per_layer_stat": False, "verbose": False}
    macs, _ = get_model_complexity_info(network.eval(), (3, 56, 56), backend="aten", **quiet)
    assert macs == total(count(network.spec))[0] + biases
