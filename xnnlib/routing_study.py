"""What the study of block C's routing measures: trained networks without it, and a first epoch's steps."""

import math
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor
from torch.nn import functional as F

from xnnlib import runtime
from xnnlib.analysis import analyse
from xnnlib.checkpoint import TrainingState
from xnnlib.data import Dataset
from xnnlib.files import sha256, write_json
from xnnlib.model import InvertedResidual, Routing, build, memory_format
from xnnlib.records import WEIGHTS, Run, load_trained
from xnnlib.settings import Settings
from xnnlib.training import make_optimizer, predict, train_epoch

OUTLIER = 10.0  # nats: a loss beyond it gives the right class a chance of less than one in 20,000


def conditioning(run: Run, dataset: Dataset, device: torch.device) -> dict:
    """What `analyse` finds in one network, in short: accuracy without its routing, and how far that moves.

    `without` as there; `sd` is the routing weights' standard deviation over the validation images by the
    convolution that they are for, a mean over blocks. Raises UserError if weights are missing.
    """
    found = analyse({run.record["block"]: run}, dataset, device)
    sd: dict[str, list[float]] = {}
    for module in found["modules"]:
        if module["part"] != "gate":
            sd.setdefault(module["part"], []).append(module["sd"])
    replaced = found["without"].get(run.record["block"], {})
    return {
        "weights": sha256(run.path / WEIGHTS),
        "images": found["images"],
        "sd": {part: mean(values) for part, values in sd.items()},
        "without": {name: pair for name, pair in replaced.items() if name.startswith("routing")},
        **outliers(run, dataset, device),
    }


def outliers(run: Run, dataset: Dataset, device: torch.device) -> dict:
    """How many validation images have a loss beyond OUTLIER, `outliers`, and the `median_loss` of all.

    `scale` is as that of `first_epoch`, of the last block, over all validation images; None where it is not
    finite.
    """
    network, rms = load_trained(run, device), []
    *_, last_block = (module for module in network.modules() if isinstance(module, InvertedResidual))
    last_block.register_forward_hook(lambda module, inputs, output: rms.append(_rms(output)))
    logits = predict(network, dataset.val, runtime.recipe_on(device, run.recipe), device).cpu()
    losses = F.cross_entropy(logits, dataset.val.labels, reduction="none")
    scale = _imbalance(torch.cat(rms))
    return {
        "outliers": int((losses > OUTLIER).sum()),
        "median_loss": losses.median().item(),
        "scale": scale if math.isfinite(scale) else None,
    }


def _rms(output: Tensor) -> Tensor:
    """The root mean square of each image's (C, H, W)."""
    return output.detach().float().square().mean(dim=(1, 2, 3)).sqrt()


def _imbalance(rms: Tensor) -> float:
    """How many times larger the largest is than the median one."""
    return (rms.max() / rms.median()).item()


def first_epoch(settings: Settings, dataset: Dataset, device: torch.device) -> dict[str, list]:
    """The first epoch of a run as `fit` trains it, step by step.

    `loss` of each step; `routing`, the standard deviation of the routing weights over the batch, a mean over
    routings; `scale`, for each block of the network, how many times the root mean square of its output is
    larger for the batch's largest image than for the median one.
    """
    recipe = runtime.recipe_on(device, settings.routine)
    torch.manual_seed(settings.seed)
    network = build(settings.network).to(device, memory_format=memory_format(settings.block))
    state = TrainingState(network, make_optimizer(network, recipe), settings.seed, device)
    steps: dict[str, list] = {"loss": [], "routing": [], "scale": []}
    seen: dict[str, list[float]] = {"routing": [], "scale": []}

    def note_routing(module, inputs, output: Tensor) -> None:
        seen["routing"].append(output.detach().float().std(dim=0).mean().item())

    def note_scale(module, inputs, output: Tensor) -> None:
        seen["scale"].append(_imbalance(_rms(output)))

    def on_step() -> None:
        steps["loss"].append(state.sums.loss.item() / recipe.batch_size - sum(steps["loss"]))
        steps["routing"].append(mean(seen["routing"] or [0.0]))
        steps["scale"].append(list(seen["scale"]))
        for values in seen.values():
            values.clear()

    for module in network.modules():
        if isinstance(module, Routing | InvertedResidual):
            module.register_forward_hook(note_routing if isinstance(module, Routing) else note_scale)
    train_epoch(network, dataset.train, state, recipe, device, on_step)
    return steps


def add(study: dict, part: str, name: str, found: dict, device: torch.device, path: Path) -> None:
    """Put what was found, and where, into the study, `runs` or `first_epoch`, and write that to `path`."""
    study[part][name] = found | runtime.provenance(device)
    write_json(path, study)
