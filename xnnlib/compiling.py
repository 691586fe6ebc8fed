"""The network compiled into fewer, larger kernels, on a GPU, where that pays."""

import sys
import time

import torch
from torch import nn

from xnnlib import parallel
from xnnlib.spec import Recipe


def compiled(network: nn.Module, recipe: Recipe, device: torch.device) -> tuple[nn.Module, float]:
    """The network to train with, and the seconds that compiling it took.

    On one GPU it shares its weights with `network`, and where it cannot be compiled it is `network`, which
    is said. Elsewhere it is `network`: compiling for two processor cores took minutes and gained a twentieth.
    """
    if device.type != "cuda" or parallel.world_size() > 1:
        return network, 0.0
    try:
        return compile_network(network, recipe, device)
    except Exception as error:  # whatever goes wrong in a compiler, the eager network trains as well
        reason = (str(error) or type(error).__name__).splitlines()[0]
        print(f"warning: not compiled, trains slower: {reason}", file=sys.stderr)
        return network, 0.0


def compile_network(network: nn.Module, recipe: Recipe, device: torch.device) -> tuple[nn.Module, float]:
    """Compile forward and backward for the recipe's batches; weights and statistics stay as they were."""
    start = time.perf_counter()
    # Left to itself the compiler copies the activations of C's convolutions, (1, N x channels, H, W) with a
    # filter for each, to channels_last and back.
    fast = torch.compile(network.train(), options={"layout_optimization": False})
    statistics = [buffer.clone() for buffer in network.buffers()]
    images = torch.zeros(recipe.batch_size, 3, recipe.crop, recipe.crop, device=device)
    try:
        # Compiling waits for the first batch, and its backward pass for the first gradient.
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            logits = fast(images.contiguous(memory_format=torch.channels_last))
        logits.float().sum().backward()
    finally:
        network.zero_grad(set_to_none=True)
        for buffer, before in zip(network.buffers(), statistics, strict=True):
            buffer.copy_(before)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return fast, time.perf_counter() - start
