"""The network compiled into fewer, larger kernels, on a device where that pays."""

import sys
import time

import torch
from torch import nn

from xnnlib import distributed
from xnnlib.epochs import logits_of
from xnnlib.spec import Recipe

# Every convolution keeps the memory format that the network gives it. Left to itself the compiler copies the
# activations of C's, which are (1, N x channels, H, W) with a filter for each, to channels_last and back.
OPTIONS = {"layout_optimization": False}


def compiled(network: nn.Module, recipe: Recipe, device: torch.device) -> tuple[nn.Module, float]:
    """The network to train with, and the seconds that compiling it took.

    On one GPU it shares its weights with `network`, and where it cannot be compiled it is `network`, which
    is said. Elsewhere it is `network`: compiling for two processor cores took minutes, and made B's step a
    twentieth faster and C's slower (benchmarks/throughput.py); for several GPUs it was not tried.
    """
    if device.type != "cuda" or distributed.world_size() > 1:
        return network, 0.0
    try:
        return compile_for_training(network, recipe, device)
    except Exception as error:  # whatever goes wrong in a compiler, the plain network trains as well
        reason = (str(error) or type(error).__name__).splitlines()[0]
        print(f"warning: not compiled, trains slower: {reason}", file=sys.stderr)
        return network, 0.0


def compile_for_training(network: nn.Module, recipe: Recipe, device: torch.device) -> tuple[nn.Module, float]:
    """Compile forward and backward for the recipe's batches; weights and statistics stay as they were."""
    start = time.perf_counter()
    fast = torch.compile(network.train(), options=OPTIONS)
    statistics = [buffer.clone() for buffer in network.buffers()]
    images = torch.zeros(recipe.batch_size, 3, recipe.crop, recipe.crop, device=device)
    try:
        # Compiling waits for the first batch, and its backward pass for the first gradient.
        logits_of(fast, images.contiguous(memory_format=torch.channels_last), recipe, device).sum().backward()
    finally:
        network.zero_grad(set_to_none=True)
        for buffer, before in zip(network.buffers(), statistics, strict=True):
            buffer.copy_(before)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return fast, time.perf_counter() - start
