"""The Triton kernels against torch's convolutions: on a GPU if there is one, else interpreted."""

import os
import subprocess
import sys
from pathlib import Path

import layers
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xnnlib.model import CondConv2d, DepthwiseConv2d

kernels = pytest.importorskip("triton_depthwise", reason="triton is not installed", exc_type=ImportError)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# Channels, rows, columns, filter size, stride: more and fewer than a tile, odd and even, square and not.
SHAPES = [(5, 6, 7, 3, 1), (70, 7, 7, 3, 1), (6, 8, 7, 3, 2), (3, 9, 6, 5, 1), (4, 11, 12, 5, 2)]


def sample_by_sample(x, filters, stride):
    """Each sample alone, with its own filter or the only one."""
    padding, groups = filters.shape[-1] // 2, x.shape[1]
    every = filters.expand(len(x), *filters.shape[1:])
    return torch.cat(
        [
            F.conv2d(sample[None], own[:, None], None, stride, padding, 1, groups)
            for sample, own in zip(x, every, strict=True)
        ]
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("filters_for", ["all", "each"])
@pytest.mark.parametrize("shape", SHAPES)
def test_output_and_gradients_are_torch_s(shape, filters_for, layout):
    channels, rows, columns, size, stride = shape
    make = {"dtype": torch.float64, "device": DEVICE}
    x = torch.randn(2, channels, rows, columns, **make).contiguous(memory_format=LAYOUTS[layout])
    filters = torch.randn(2 if filters_for == "each" else 1, channels, size, size, **make)
    leaves = x.requires_grad_(), filters.requires_grad_()
    found, expected = kernels.convolve(*leaves, stride), sample_by_sample(*leaves, stride)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert found.is_contiguous(memory_format=LAYOUTS[layout])
    towards = torch.randn_like(expected)
    gradients = [torch.autograd.grad(y, leaves, towards) for y in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_benchmark_s_parts_are_the_same_by_torch_and_by_these_kernels(stride):
    x = torch.randn(2, 3, 6, 6, device=DEVICE, dtype=torch.float64)
    filters, gradient = torch.randn(2, 3, 3, 3).to(x), torch.randn(2, 3, 6 // stride, 6 // stride).to(x)
    found = layers.by_triton(x, filters, gradient, stride)
    # To torch, images with filters of their own are the groups of one image.
    grouped = [tensor.reshape(1, 6, *tensor.shape[2:]) for tensor in (x, filters, gradient)]
    for name, part in layers.by_torch(*grouped, stride).items():
        result = next(tensor for tensor in part() if tensor is not None) if "gradient" in name else part()
        torch.testing.assert_close(found[name]().flatten(), result.flatten(), rtol=1e-12, atol=1e-12)


def test_bfloat16_is_summed_in_float32():
    x = torch.ones(1, 1, 40, 40, device=DEVICE, dtype=torch.bfloat16)
    gradient = kernels.filter_gradient(x, x, 3, 1)  # in more than one part
    # A bfloat16 sum of ones ends at 256.
    assert gradient[0, 0, 1, 1].item() == 1600 and gradient[0, 0, 0, 1].item() == 1560


@pytest.mark.parametrize("layout", LAYOUTS)
def test_torch_can_compile_what_uses_them(layout):
    x = torch.randn(2, 3, 5, 4, device=DEVICE).contiguous(memory_format=LAYOUTS[layout])
    filters = torch.randn(2, 3, 3, 3, device=DEVICE, requires_grad=True)
    torch.library.opcheck(kernels.convolve, (x.requires_grad_(), filters, 2))
    torch.library.opcheck(kernels.filter_gradient, (x.detach(), x.detach(), 3, 1))


@pytest.mark.parametrize("stride", [1, 2])
def test_the_layers_with_these_kernels_are_the_same_layers(stride):
    shared, own = DepthwiseConv2d(5, 3, stride), CondConv2d(5, 5, 3, stride, depthwise=True, experts=3)
    nn.init.normal_(own.routing.weight)
    network = nn.Sequential(shared, nn.ReLU(), own, CondConv2d(5, 2)).double().to(DEVICE)
    x = torch.randn(2, 5, 8, 8, dtype=torch.float64, device=DEVICE)
    results = []
    for _ in range(2):
        y = network(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), list(network.parameters()))))
        kernels.with_triton(network)
    assert {type(layer).__name__ for layer in network} == {
        "TritonDepthwiseConv2d",
        "TritonCondConv2d",
        "ReLU",
    }
    torch.testing.assert_close(*results, rtol=1e-11, atol=1e-11)


def test_the_kernels_compile_for_a_gpu(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = Path(__file__).with_name("compile_for_hopper.py")
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env=environment | {"TRITON_CACHE_DIR": tmp_path},
    )
    assert done.stdout == "compiled\n", done.stderr
