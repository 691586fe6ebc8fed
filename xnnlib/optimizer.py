"""What a recipe does to the weights at each step: the optimiser and the moving average."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from xnnlib.spec import Recipe


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Stochastic gradient descent with Nesterov momentum; weight decay where the recipe wants it."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    if recipe.weight_decay_on == "all":
        groups = [{"params": weights, "weight_decay": recipe.weight_decay}]
    else:
        # Filters and matrices have two dimensions or more; biases and batch norm have one.
        groups = [
            {
                "params": [weight for weight in weights if weight.ndim > 1],
                "weight_decay": recipe.weight_decay,
            },
            {"params": [weight for weight in weights if weight.ndim == 1], "weight_decay": 0.0},
        ]
    return torch.optim.SGD(
        groups,
        lr=recipe.start_learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=True,
    )


def make_average(network: nn.Module, recipe: Recipe) -> AveragedModel | None:
    """The exponential moving average of weights and batch-norm statistics; None if the recipe has none."""
    if not recipe.averaging_decay:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging_decay), use_buffers=True)
