"""The learning rate as a pure function of the epoch."""

import math

from xnnlib.spec import Recipe


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The learning rate after `epoch` epochs, counted from 0 and fractional within one.

    Linear from `start_learning_rate` to `peak_learning_rate` over the warm-up, then half a cosine to
    `final_learning_rate` at the end of the last epoch (paper, Table 2; arXiv:1608.03983, equation 5).
    """
    if epoch < recipe.warmup_epochs:
        share = epoch / recipe.warmup_epochs
        return recipe.start_learning_rate + share * (recipe.peak_learning_rate - recipe.start_learning_rate)
    share = min(1.0, (epoch - recipe.warmup_epochs) / (recipe.epochs - recipe.warmup_epochs))
    height = (1.0 + math.cos(math.pi * share)) / 2.0
    return recipe.final_learning_rate + height * (recipe.peak_learning_rate - recipe.final_learning_rate)
