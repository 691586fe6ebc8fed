import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny_run import CPU

from xnnlib import analysis
from xnnlib.model import CondConv2d, Network, Routing
from xnnlib.spec import BLOCKS, RECIPES, NetworkSpec
from xnnlib.training import fit, predict

RECIPE = RECIPES["paper"].scaled(1, 4, 16)
FLOAT32 = replace(RECIPE, precision="float32")


@pytest.fixture(params=[{}, {"routing": "torch_init", "gate": "none"}, {"routing": "shared"}])
def network(request):
    """A network that routes: its weights are drawn, not zero."""
    torch.manual_seed(1)
    network = Network("se_cond", 3, width=0.25, **request.param).eval()
    for module in network.modules():
        if isinstance(module, Routing):
            torch.nn.init.normal_(module.weight)
    return network


def test_observes_every_routing_and_gate_of_every_image(network, dataset):
    seen = analysis.observe(network, dataset.val, FLOAT32, CPU)
    convolutions = sum(isinstance(module, CondConv2d) for module in network.modules())
    blocks = convolutions // 3
    assert len(seen.routing) == (blocks if network.spec.routing == "shared" else convolutions)
    assert len(seen.gates) == (blocks if network.spec.gate == "se" else 0)
    assert all(value.shape == (9, 4) for value in seen.routing.values())
    assert all(((value >= 0) & (value <= 1)).all() for value in seen.gates.values())
    torch.testing.assert_close(seen.logits, predict(network, dataset.val, FLOAT32, CPU))


def test_its_own_weights_put_back_change_nothing(network, dataset):
    seen = analysis.observe(network, dataset.val, FLOAT32, CPU)
    again = analysis.predict_with(network, dataset.val, FLOAT32, CPU, seen.routing)
    torch.testing.assert_close(again, seen.logits)
    # A gate is put back through the Sigmoid, which rounds.
    again = analysis.predict_with(network, dataset.val, FLOAT32, CPU, seen.gates)
    torch.testing.assert_close(again, seen.logits, rtol=0, atol=1e-3 * seen.logits.abs().max().item())


def test_another_image_s_weights_are_those_of_one_other_image(network, dataset):
    seen = analysis.observe(network, dataset.val, FLOAT32, CPU).routing
    other = analysis.of_another_image(seen)
    name, *more = seen
    source = [next(i for i in range(9) if torch.equal(row, seen[name][i])) for row in other[name]]
    assert sorted(source) == list(range(9)) and all(i != k for k, i in enumerate(source))
    for name in more:
        assert torch.equal(other[name], seen[name][source])


def test_a_folded_network_computes_what_the_mean_routing_does(network, dataset):
    means = analysis.means_of(analysis.observe(network, dataset.val, FLOAT32, CPU).routing)
    folded = analysis.fold(network, means)
    assert folded.spec.block == ("se" if network.spec.gate == "se" else "standard")
    expected = analysis.predict_with(network, dataset.val, FLOAT32, CPU, means)
    torch.testing.assert_close(predict(folded, dataset.val, FLOAT32, CPU), expected, rtol=1e-4, atol=1e-5)


def test_statistics_against_numbers_worked_out_by_hand():
    values = torch.tensor([[0.0, 0.5], [0.2, 0.5], [0.8, 0.5], [1.0, 0.5]])
    found = analysis.weight_statistics(values, torch.tensor([0, 0, 1, 1]))
    assert found["mean"] == pytest.approx(0.5)
    # Deviations 0.5, 0.3, 0.3, 0.5: variance 0.17, of which 0.16 between the class means 0.1 and 0.9.
    assert found["sd"] == pytest.approx((0.17**0.5 + 0) / 2)
    assert found["between"] == pytest.approx(0.16 / 0.17)
    assert (found["low"], found["high"]) == (1 / 8, 1 / 8)


def test_similarity_of_experts():
    layer = CondConv2d(2, 2, experts=2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [1.0, 1, 0, 0]]))
    assert analysis.expert_similarity(layer) == pytest.approx(0.5**0.5)
    assert analysis.expert_similarity(CondConv2d(2, 2, experts=1)) == pytest.approx(0)


@pytest.mark.parametrize("block", BLOCKS)
def test_similarity_with_the_initial_filters(block):
    run = SimpleNamespace(spec=NetworkSpec(block, 3, width=0.25), record={"seed": 5})
    torch.manual_seed(5)
    network = Network.of(run.spec)
    assert analysis.initial_similarity(run, network) == pytest.approx(1)
    with torch.no_grad():
        network.stages[1][0].depthwise[0].weight *= -3  # one of 16 blocks, turned round
    assert analysis.initial_similarity(run, network) == pytest.approx(14 / 16)


@pytest.mark.slow
def test_the_analysis_of_three_runs_holds_every_module_and_pair(dataset, tmp_path):
    runs = {
        block: fit(NetworkSpec(block, 3, width=0.25), dataset, RECIPE, tmp_path / block, device=CPU)
        for block in BLOCKS
    }
    found = analysis.analyse(runs, dataset, CPU)
    assert len(found["modules"]) == 16 + 48 + 16  # B's gates, C's routings and gates
    assert {row["level"] for row in found["modules"]} == {1, 2, 3, 4, 5}
    routing, gates = ["routing_mean", "largest_routing_mean", "routing_other"], ["gates_mean", "gates_other"]
    assert {block: list(replaced) for block, replaced in found["without"].items()} == {
        "se": gates,
        "se_cond": routing + gates,
    }
    assert all(0.5 < value < 1 for value in found["initial_similarity"].values())  # after one step
    for name, run in runs.items():
        assert found["top1"][name] == pytest.approx(run.record["last"]["top1"], abs=10)
    # C's routing starts at zero and hardly moves in a step: folding it changes nothing to speak of.
    assert found["pairs"]["folded-se_cond"]["lost"] == found["without"]["se_cond"]["routing_mean"]["lost"]
    pair = found["pairs"]["se-standard"]
    gain = 100 * (pair["gained"] - pair["lost"]) / found["images"]
    assert gain == pytest.approx(found["top1"]["se"] - found["top1"]["standard"])
    assert json.loads(json.dumps(found)) == found
