from dataclasses import replace

import pytest
import torch

from xnnlib import compiling
from xnnlib.epochs import train_step
from xnnlib.model import Network
from xnnlib.optimizer import make_optimizer
from xnnlib.spec import BLOCKS, RECIPES

CPU = torch.device("cpu")
RECIPE = replace(RECIPES["paper"], batch_size=4, crop=16, precision="float32")


def tiny(block: str) -> Network:
    torch.manual_seed(0)
    return Network(block, num_classes=3, width=0.25)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 16, 16, generator=generator).contiguous(memory_format=torch.channels_last)
    return images, torch.tensor([0, 1, 2, 0])


@pytest.fixture
def without_kernels(monkeypatch):
    """Trace and differentiate as for a GPU, but run the parts as they are: no C++ to compile for seconds."""
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, options: compile(network, backend="aot_eager"))


@pytest.mark.parametrize("block", BLOCKS)
def test_a_compiled_network_trains_as_the_plain_one(block, without_kernels):
    networks = [tiny(block), tiny(block)]
    fast, seconds = compiling.compile_for_training(networks[1], RECIPE, CPU)
    assert seconds > 0
    for network, trained in zip(networks, (networks[0], fast), strict=True):
        optimizer = make_optimizer(network, RECIPE)
        for _ in range(2):
            loss, logits = train_step(trained, *batch(), optimizer, RECIPE, CPU)
        assert loss.isfinite() and logits.shape == (4, 3)
    for (name, plain), (_, other) in zip(
        networks[0].state_dict().items(), networks[1].state_dict().items(), strict=True
    ):
        torch.testing.assert_close(other, plain, rtol=1e-4, atol=1e-5, msg=name)


def test_compiling_leaves_weights_statistics_and_gradients_alone(without_kernels):
    network, before = tiny("se_cond"), tiny("se_cond").state_dict()
    compiling.compile_for_training(network, RECIPE, CPU)
    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(weights.grad is None for weights in network.parameters())


def test_a_network_that_does_not_compile_trains_as_it_is(monkeypatch, capsys):
    def fails(network, options):
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(torch, "compile", fails)
    network = tiny("standard")
    assert compiling.compiled(network, RECIPE, torch.device("cuda")) == (network, 0.0)
    assert capsys.readouterr().err == "warning: not compiled, trains slower: no compiler\n"


def test_the_compiler_knows_the_options():
    torch.compile(tiny("standard"), options=compiling.OPTIONS)  # refuses one that it does not know
    with pytest.raises(RuntimeError, match="not_an_option"):
        torch.compile(tiny("standard"), options={"not_an_option": False})


def test_a_processor_runs_the_network_as_it_is():
    network = tiny("standard")
    assert compiling.compiled(network, RECIPE, CPU) == (network, 0.0)
