import pytest
import torch
from torch.nn import functional as F

from xnnlib.errors import UserError
from xnnlib.model import Network
from xnnlib.optimizer import make_average, make_optimizer
from xnnlib.spec import Recipe


def test_weight_decay_is_on_all_parameters_or_on_filters_alone():
    network = Network("se", 3)
    (group,) = make_optimizer(network, Recipe("r")).param_groups
    assert len(group["params"]) == len(list(network.parameters())) and group["weight_decay"] == 5e-5
    decayed, free = make_optimizer(network, Recipe("r", weight_decay_on="filters")).param_groups
    names = {id(weight): name for name, weight in network.named_parameters()}
    assert decayed["weight_decay"] == 5e-5 and free["weight_decay"] == 0
    assert all(weight.ndim > 1 for weight in decayed["params"])
    assert all(names[id(weight)].endswith(("bias", "1.weight")) for weight in free["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(names)
    with pytest.raises(UserError, match="choose one of all, filters"):
        Recipe("r", weight_decay_on="none")


def test_the_average_follows_weights_and_statistics_by_the_formula():
    torch.manual_seed(0)
    recipe = Recipe("r", averaging_decay=0.9, start_learning_rate=0.05)
    network = Network("standard", 3).double()
    optimizer, average = make_optimizer(network, recipe), make_average(network, recipe)
    expected = None
    for _ in range(3):
        images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
        F.cross_entropy(network(images), torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
        average.update_parameters(network)
        now = {
            name: value.clone() for name, value in network.state_dict().items() if value.is_floating_point()
        }
        # The first update takes the weights as they are.
        expected = (
            now
            if expected is None
            else {name: 0.9 * expected[name] + 0.1 * value for name, value in now.items()}
        )
    averaged = average.module.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(averaged[name], value, rtol=1e-9, atol=1e-12)


def test_no_average_unless_the_recipe_has_one():
    assert make_average(Network("standard", 3), Recipe("r")) is None


def test_no_momentum_is_plain_descent():
    weight = torch.nn.Parameter(torch.ones(1))
    module = torch.nn.Module()
    module.weight = weight
    optimizer = make_optimizer(module, Recipe("r", momentum=0.0, weight_decay=0.0))
    weight.grad = torch.ones(1)
    optimizer.step()
    assert weight.item() == pytest.approx(1 - Recipe("r").start_learning_rate)
