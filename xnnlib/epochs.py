"""One pass over the data: an epoch of training, and an evaluation."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from xnnlib import distributed
from xnnlib.data import Split, train_batches, val_batches
from xnnlib.schedule import learning_rate
from xnnlib.spec import Recipe


@dataclass
class Sums:
    """What an epoch has added up so far, over all processes.

    The tensors stay on the device: reading one waits for it. `finite` counts the steps before the first
    one whose loss was not finite.
    """

    loss: Tensor
    correct: Tensor
    finite: Tensor
    seen: int = 0
    steps: int = 0

    @classmethod
    def zero(cls, device: torch.device) -> "Sums":
        return cls(*(torch.zeros((), device=device) for _ in range(3)))

    def mean_loss(self) -> float:
        return self.loss.item() / self.seen

    def top1(self) -> float:
        """In percent, of the augmented images, each seen with the weights of its step."""
        return 100.0 * self.correct.item() / self.seen

    def first_not_finite(self) -> int | None:
        """The step, from 0, whose loss was not finite, or None."""
        step = int(self.finite.item())
        return step if step < self.steps else None


def steps_of(split: Split, recipe: Recipe) -> int:
    """The steps of an epoch: the last incomplete batch is left out unless it is the only one."""
    return max(1, len(split) // recipe.batch_size)


def train_epoch(
    network: nn.Module,
    split: Split,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    epoch: int,
    generator: torch.Generator,
    device: torch.device,
    on_step: Callable[[Sums], None] = lambda sums: None,
    average: AveragedModel | None = None,
    sums: Sums | None = None,
) -> Sums:
    """Train for epoch number `epoch` (from 0), or for what is left of it after the steps of `sums`.

    `generator` is as it was when the epoch began. `on_step` is called after each step; `average`
    follows the weights, step by step.
    """
    network.train()
    sums = sums or Sums.zero(device)
    steps = steps_of(split, recipe)
    batches = train_batches(
        split,
        recipe.batch_size,
        recipe.crop,
        generator,
        device,
        recipe.smallest_crop,
        first_batch=sums.steps,
        share=(distributed.rank(), distributed.world_size()),
    )
    for images, labels in batches:
        within = sums.steps / steps if recipe.learning_rate_set == "step" else 0.0
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, epoch + within)
        loss, logits = train_step(network, images, labels, optimizer, recipe, device)
        if average is not None:
            average.update_parameters(getattr(network, "module", network))
        hits = (logits.argmax(1) == labels).sum()
        added = distributed.summed(torch.stack([loss * len(labels), hits]))
        sums.loss += added[0]
        sums.correct += added[1]
        # A sum that has once ceased to be finite stays so: the count stops at the first such step.
        sums.finite += sums.loss.isfinite()
        sums.seen += len(labels) * distributed.world_size()
        sums.steps += 1
        on_step(sums)
    return sums


def train_step(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """One step of gradient descent; the batch's mean loss, and logits (N, num_classes), both detached."""
    logits = logits_of(network, images, recipe, device)
    loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach(), logits.detach()


@torch.no_grad()
def predict(network: nn.Module, split: Split, recipe: Recipe, device: torch.device) -> Tensor:
    """Logits of every image of the split in order, (len(split), num_classes) float32 on the device."""
    network.eval()
    batches = val_batches(split, recipe.batch_size, recipe.crop, recipe.resize, device)
    return torch.cat([logits_of(network, images, recipe, device) for images, _ in batches])


@torch.no_grad()
def evaluate(network: nn.Module, split: Split, recipe: Recipe, device: torch.device) -> tuple[float, float]:
    """Mean cross entropy and top-1 in percent over the split; each process takes its share."""
    network.eval()
    share = (distributed.rank(), distributed.world_size())
    sums = torch.zeros(2, device=device)
    for images, labels in val_batches(
        split, recipe.batch_size, recipe.crop, recipe.resize, device, share=share
    ):
        logits = logits_of(network, images, recipe, device)
        sums += torch.stack(
            [F.cross_entropy(logits, labels, reduction="sum"), (logits.argmax(1) == labels).sum()]
        )
    loss, correct = distributed.summed(sums).tolist()
    return loss / len(split), 100.0 * correct / len(split)


def logits_of(network: nn.Module, images: Tensor, recipe: Recipe, device: torch.device) -> Tensor:
    """The network's logits in float32, computed in the recipe's precision."""
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        logits = network(images)
    return logits.float()
