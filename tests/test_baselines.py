import sys
from types import SimpleNamespace

import pytest
import torch
from tiny_run import CPU, result
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from xnnlib import baselines, complexity
from xnnlib.errors import Interrupted, UserError
from xnnlib.model import build, untrained
from xnnlib.records import load_trained, save_weights
from xnnlib.settings import Settings
from xnnlib.spec import RECIPES
from xnnlib.training import fit

# Trainable parameters for 1,000 classes, as torchvision's and timm's documentation gives them.
PUBLISHED = {
    "mobilenet_v2": 3_504_872,
    "mnasnet1_0": 4_383_312,
    "mobilenet_v3_large": 5_483_032,
    "efficientnet_b0": 5_288_548,
    "regnet_x_400mf": 5_495_976,
    "regnet_y_400mf": 4_344_144,
    "efficientnet_cc_b0_4e": 13.31e6,  # timm's results tables give millions with two digits
    "seresnet18": 11.78e6,
}


@pytest.fixture(params=PUBLISHED, scope="module")
def name(request):
    return request.param


def test_has_the_published_parameter_count(name):
    network = untrained(baselines.find(name, 1000))  # strides have no parameters
    count = sum(weight.numel() for weight in network.parameters())
    assert count == PUBLISHED[name] or round(count, -4) == PUBLISHED[name]


def test_halves_three_times_after_adaptation(name):
    network = untrained(baselines.find(name, 7))
    rows = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: rows.append(output.shape[-2]))
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 56, 56)).shape == (1, 7)
    # A gate's convolutions work on single pixels.
    assert sorted({size for size in rows if size > 1}, reverse=True) == [56, 28, 14, 7]


def test_saved_weights_are_loaded(name, tmp_path):
    spec = baselines.find(name, 3)
    saved = build(spec).state_dict()
    save_weights(tmp_path, saved)
    loaded = load_trained(SimpleNamespace(path=tmp_path, spec=spec), CPU).state_dict()
    assert all(
        torch.equal(loaded[key], value.half().to(value) if value.ndim > 1 else value)
        for key, value in saved.items()
    )


def test_batch_norm_follows_a_short_training(name):
    norms = [m for m in untrained(baselines.find(name, 3)).modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and min(norm.momentum for norm in norms) >= 0.01


def test_counts_as_many_macs_as_torch_s_counter(name):
    spec = baselines.find(name, 100)
    macs, _ = complexity.total(complexity.count(spec))
    network = untrained(spec)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 56, 56))
    assert 2 * macs == counter.get_total_flops()


def test_depthwise_convolution_without_a_fast_bfloat16_kernel_is_float32_s_rounded():
    layers = build(baselines.find("mobilenet_v2", 3)).modules()
    layer = next(m for m in layers if isinstance(m, nn.Conv2d) and m.groups > 1 and m.stride == (2, 2))
    x = torch.randn(2, layer.in_channels, 14, 14).bfloat16()
    expected = F.conv2d(x.float(), layer.weight, stride=2, padding=1, groups=layer.groups).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), expected)


@pytest.mark.slow
def test_resumes_bit_for_bit(dataset, tmp_path):
    """EfficientNet draws random numbers as it trains: dropout, and stochastic depth."""
    spec = baselines.find("efficientnet_b0", 3)
    recipe = RECIPES["paper"].scaled(epochs=2, batch_size=8, crop=16)

    def interrupt(run):
        raise Interrupted("here", 2)

    whole = fit(spec, dataset, recipe, tmp_path / "whole", device=CPU)
    with pytest.raises(Interrupted):
        fit(spec, dataset, recipe, tmp_path / "run", device=CPU, on_epoch=interrupt)
    resumed = fit(spec, dataset, recipe, tmp_path / "run", device=CPU)
    assert resumed.record["network"]["model"] == "efficientnet_b0" and resumed.spec == spec
    assert result(resumed.path)[1:] == result(whole.path)[1:]


def test_unknown_name_and_size_of_the_paper_s_network_are_refused():
    with pytest.raises(UserError, match="model 'mobilenetv2' is unknown; .* such as mobilenet_v2"):
        Settings(model="mobilenetv2")
    with pytest.raises(UserError, match="reduction is of model xnn; leave it 4 for model mobilenet_v2"):
        Settings(model="mobilenet_v2", reduction=2)


def test_network_without_five_halvings_is_refused():
    with pytest.raises(UserError, match="'vit_b_16' does not halve its input five times"):
        build(baselines.find("vit_b_16", 10))


def test_missing_library_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(UserError, match="pip install torchvision"):
        baselines.find("mobilenet_v2", 10)
