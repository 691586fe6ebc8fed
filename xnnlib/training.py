"""Training: one epoch, one evaluation, and `fit`, which makes a run folder of them.

`python -m xnnlib.training --help` trains one network without a notebook.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from xnnlib import records, runtime
from xnnlib.data import SOURCES, Dataset, Split, load_dataset, train_batches, val_batches
from xnnlib.errors import UserError
from xnnlib.network import Network
from xnnlib.optimizer import make_average, make_optimizer
from xnnlib.paths import project_path
from xnnlib.schedule import learning_rate
from xnnlib.spec import BLOCKS, RECIPES, NetworkSpec, Recipe, recipe_for


def train_epoch(
    network: nn.Module,
    split: Split,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    epoch: int,
    generator: torch.Generator,
    device: torch.device,
    on_step: Callable[[Tensor, Tensor, int], None] = lambda loss, correct, seen: None,
    average: AveragedModel | None = None,
) -> tuple[float, float]:
    """Train for epoch number `epoch` (from 0); returns its mean loss and its top-1 in percent.

    Both are of the augmented images, each seen with the weights of its step. The sums stay on the
    device and are read once, at the end; `on_step` gets them as tensors with the images seen.
    `average` follows the weights, step by step.
    """
    network.train()
    loss_sum = torch.zeros((), device=device)
    correct = torch.zeros((), device=device)
    seen = 0
    steps = max(1, len(split) // recipe.batch_size)
    batches = train_batches(split, recipe.batch_size, recipe.crop, generator, device, recipe.smallest_crop)
    for step, (images, labels) in enumerate(batches):
        within = step / steps if recipe.learning_rate_set == "step" else 0.0
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, epoch + within)
        logits = _logits(network, images, recipe, device)
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if average is not None:
            average.update_parameters(network)
        loss_sum += loss.detach() * len(labels)
        correct += (logits.detach().argmax(1) == labels).sum()
        seen += len(labels)
        on_step(loss_sum, correct, seen)
    return loss_sum.item() / seen, 100.0 * correct.item() / seen


@torch.no_grad()
def predict(network: nn.Module, split: Split, recipe: Recipe, device: torch.device) -> Tensor:
    """Logits of every image of the split in order, (len(split), num_classes) float32 on the device."""
    network.eval()
    batches = val_batches(split, recipe.batch_size, recipe.crop, recipe.resize, device)
    return torch.cat([_logits(network, images, recipe, device) for images, _ in batches])


def evaluate(network: nn.Module, split: Split, recipe: Recipe, device: torch.device) -> tuple[float, float]:
    """Mean cross entropy and top-1 in percent over the split."""
    logits = predict(network, split, recipe, device)
    labels = split.labels.to(device)
    loss = F.cross_entropy(logits, labels).item()
    return loss, 100.0 * (logits.argmax(1) == labels).sum().item() / len(labels)


def fit(
    spec: NetworkSpec,
    dataset: Dataset,
    recipe: Recipe,
    run_dir: str | Path,
    seed: int = 0,
    profile: str = "custom",
    device: torch.device | None = None,
) -> records.Run:
    """Train one network to the end of its recipe and leave a complete run folder.

    A run that is already complete is returned as it is; one that was interrupted goes on after its
    last whole epoch, to the same result. Raises UserError if the folder holds another run, or if the
    network's classes are not as many as the data's.
    """
    if spec.num_classes != len(dataset.class_names):
        raise UserError(
            f"num_classes is {spec.num_classes}, but the data has {len(dataset.class_names)} classes."
        )
    block = spec.block
    run_dir = project_path(run_dir)
    device = device or runtime.pick_device()
    if device.type != "cuda":
        recipe = replace(recipe, precision="float32")
    record = {
        "profile": profile,
        "block": block,
        "seed": seed,
        "recipe": asdict(recipe),
        "network": spec.sizes(),
        "dataset": {
            "name": dataset.name,
            "num_classes": len(dataset.class_names),
            "train_images": len(dataset.train),
            "val_images": len(dataset.val),
            "fingerprint": dataset.fingerprint,
        },
    }
    finished = records.finished_run(run_dir, record)
    if finished:
        tqdm.write(f"{block}, seed {seed}: already complete, not trained again.", file=sys.stdout)
        return finished

    runtime.keep_freed_memory()
    torch.backends.cudnn.benchmark = device.type == "cuda"
    torch.manual_seed(seed)
    network = Network.of(spec).to(device, memory_format=_memory_format(block))
    optimizer = make_optimizer(network, recipe)
    average = make_average(network, recipe)
    result = network if average is None else average.module
    generator = torch.Generator().manual_seed(seed)
    rows, clocks = [], {"total": 0.0, "training": 0.0}
    state = records.load_checkpoint(run_dir)
    if state:
        records.require_same_run(run_dir, state["record"], record)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load_state_dict(state["average"])
        generator.set_state(state["generator"])
        rows, clocks = state["rows"], state["clocks"]
        record = state["record"]
        tqdm.write(f"{block}, seed {seed}: resuming after epoch {len(rows)}.", file=sys.stdout)
    else:
        record |= {
            "device": runtime.describe_device(device),
            "versions": runtime.versions(),
            "commit": runtime.commit(),
            "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    train, val = dataset.train.to(device), dataset.val.to(device)
    steps = max(1, len(train) // recipe.batch_size)
    with tqdm(total=recipe.epochs * steps, initial=len(rows) * steps, unit="step", mininterval=1.0) as bar:
        for epoch in range(len(rows), recipe.epochs):
            bar.set_description(f"{block} epoch {epoch + 1}/{recipe.epochs}", refresh=False)
            start = time.perf_counter()
            train_loss, train_top1 = train_epoch(
                network, train, optimizer, recipe, epoch, generator, device, _show_step(bar, device), average
            )
            trained = time.perf_counter()
            val_loss, val_top1 = evaluate(result, val, recipe, device)
            seconds = time.perf_counter() - start
            clocks["total"] += seconds
            clocks["training"] += trained - start
            rows.append(
                {
                    "epoch": epoch + 1,
                    "learning_rate": round(learning_rate(recipe, epoch), 8),
                    "train_loss": round(train_loss, 6),
                    "train_top1": round(train_top1, 4),
                    "val_loss": round(val_loss, 6),
                    "val_top1": round(val_top1, 4),
                    "seconds": round(seconds, 3),
                }
            )
            images_per_second = _images_per_epoch(train, recipe) / (trained - start)
            bar.write(_epoch_line(rows[-1], recipe, images_per_second), file=sys.stdout)
            records.save_epochs(run_dir, rows)
            records.save_checkpoint(
                run_dir,
                {
                    "record": record,
                    "network": network.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "average": average.state_dict() if average is not None else None,
                    "generator": generator.get_state(),
                    "rows": rows,
                    "clocks": clocks,
                },
            )

    best = max(rows, key=lambda row: row["val_top1"])
    record |= {
        "epochs": recipe.epochs,
        "last": {"epoch": rows[-1]["epoch"], "top1": rows[-1]["val_top1"], "loss": rows[-1]["val_loss"]},
        "best": {"top1": best["val_top1"], "epoch": best["epoch"]},
        "train_seconds": round(clocks["total"], 1),
        "images_per_second": round(recipe.epochs * _images_per_epoch(train, recipe) / clocks["training"], 1),
        "complete": True,
    }
    records.save_weights(run_dir, result.state_dict())
    records.save_record(run_dir, record)
    records.remove_checkpoint(run_dir)
    return records.load_run(run_dir)


def load_trained(run: records.Run, device: torch.device | None = None) -> Network:
    """The network of a complete run with its last epoch's weights."""
    network = Network(run.record["block"], **run.record["network"])
    network.load_state_dict(records.load_weights(run.path))
    return network.to(device or runtime.pick_device(), memory_format=_memory_format(run.record["block"]))


def _logits(network: nn.Module, images: Tensor, recipe: Recipe, device: torch.device) -> Tensor:
    low = recipe.precision == "bfloat16" and device.type == "cuda"
    with torch.autocast(device.type, torch.bfloat16, enabled=low):
        logits = network(images)
    return logits.float()


def _memory_format(block: str) -> torch.memory_format:
    # Measured on two cores: channels_last takes a quarter off A's and B's step; C's products and its
    # one-group-a-channel convolutions would copy every activation to rows first.
    return torch.contiguous_format if block == "se_cond" else torch.channels_last


def _images_per_epoch(split: Split, recipe: Recipe) -> int:
    return len(split) // recipe.batch_size * recipe.batch_size or len(split)


def _show_step(bar: tqdm, device: torch.device) -> Callable[[Tensor, Tensor, int], None]:
    def on_step(loss_sum, correct, seen):
        # Reading a number from a GPU would wait for it; there the epoch's line shows the numbers.
        if device.type == "cpu":
            numbers = f"loss {loss_sum.item() / seen:.3f}, top-1 {100.0 * correct.item() / seen:.1f} %"
            bar.set_postfix_str(numbers, refresh=False)
        bar.update()

    return on_step


def _epoch_line(row: dict, recipe: Recipe, images_per_second: float) -> str:
    return (
        f"epoch {row['epoch']:3d}/{recipe.epochs}  learning rate {row['learning_rate']:.5f}"
        f"  train loss {row['train_loss']:.3f} top-1 {row['train_top1']:5.2f} %"
        f"  val loss {row['val_loss']:.3f} top-1 {row['val_top1']:5.2f} %"
        f"  {row['seconds']:.1f} s, {images_per_second:,.0f} images/s"
    )


def main(arguments: list[str] | None = None) -> int:
    """Train one network from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m xnnlib.training", description=__doc__.splitlines()[0])
    parser.add_argument("--block", default="standard", help=f"one of {', '.join(BLOCKS)}")
    parser.add_argument("--recipe", default="paper", help=f"one of {', '.join(RECIPES)}")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the augmentation")
    parser.add_argument("--epochs", type=int, default=55)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--crop", type=int, default=56, help="rows and columns that the network sees")
    parser.add_argument("--dataset", default="shapes", help=f"one of {', '.join(SOURCES)}")
    parser.add_argument("--data-root", default="", help="the data's archive or folder")
    parser.add_argument("--num-classes", type=int, default=100)
    parser.add_argument("--train-images", type=int, default=0, help="in all; 0 takes every one")
    parser.add_argument("--val-images", type=int, default=0, help="in all; 0 takes every one")
    parser.add_argument("--profile", default="custom", help="the name that the record carries")
    parser.add_argument("--run-dir", required=True, help="the run folder to make or to go on with")
    options = parser.parse_args(arguments)
    try:
        recipe = recipe_for(options.recipe, options.block).scaled(
            options.epochs, options.batch_size, options.crop
        )
        dataset = load_dataset(
            options.dataset,
            options.data_root,
            options.num_classes,
            options.train_images,
            options.val_images,
            size=recipe.resize,
        )
        spec = NetworkSpec(options.block, len(dataset.class_names))
        run = fit(spec, dataset, recipe, options.run_dir, options.seed, options.profile)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{run.path}: top-1 {run.record['last']['top1']:.2f} % after epoch {run.record['epochs']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
