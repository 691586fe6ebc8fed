import pytest
import torch
from ptflops import get_model_complexity_info
from test_report_tables import a_by_hand
from torch import nn

from xnnlib import complexity
from xnnlib.complexity import count, total
from xnnlib.errors import UserError
from xnnlib.model import Network
from xnnlib.spec import BLOCKS, NetworkSpec


def test_convolution_part_is_the_same_in_every_block():
    parts = {total(count(NetworkSpec(block)), ["convolution", "linear"]) for block in BLOCKS}
    assert parts == {a_by_hand()}


VARIATIONS = [{}, {"routing": "shared"}, {"conditional_from": 4, "width": 0.5, "gate": "none"}]


@pytest.mark.parametrize("block, variation", [("se", {}), *(("se_cond", varied) for varied in VARIATIONS)])
def test_coefficients_are_the_filters_and_matrices(block, variation):
    network = Network(block, num_classes=13, reduction=8, experts=3, **variation)
    filters = sum(p.numel() for p in network.parameters() if p.ndim > 1)
    assert total(count(network.spec))[1] == filters


class Scale(nn.Module):
    """A layer with a matrix, of a class that the library does not have."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 1))

    def forward(self, images):
        return images * self.weight


@pytest.fixture
def extended(monkeypatch):
    """Block A with another layer behind the first block of row 2, which has 24 channels, counted anew."""

    def count_with(layer: nn.Module):
        network = Network("standard")
        network.stages[2][0] = nn.Sequential(network.stages[2][0], layer)
        monkeypatch.setattr(complexity, "untrained", lambda spec: network)
        return count.__wrapped__(network.spec)

    return count_with


def test_what_is_not_counted_is_refused(extended):
    with pytest.raises(UserError, match="Scale is not counted; say how in xnnlib/complexity.py"):
        extended(Scale())


def test_convolution_of_a_gate_is_the_gate_s(extended, monkeypatch):
    class Gate(nn.Sequential):
        pass

    monkeypatch.setattr(complexity, "SqueezeExcite", Gate)
    found = extended(Gate(nn.Conv2d(24, 24, 1, bias=False)))
    assert total(found, ["se"]) == (24 * 24 * 56 * 56, 24 * 24)
    assert total(found, ["convolution", "linear"]) == a_by_hand()


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
