"""Training, read top to bottom: the learning rate, one step, one epoch, an evaluation, a run.

`fit` makes a run folder of a network, a data set and a recipe; `train` does so from settings, as the notebook
and the command line `python -m xnnlib.training --help` do. Under torchrun it trains on several devices.
"""

import math
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from xnnlib import checkpoint, parallel, records, runtime
from xnnlib.checkpoint import DeferSignals, TrainingState
from xnnlib.data import Dataset, Split, load_images, to_device, train_batches, val_batches
from xnnlib.errors import Diverged, Interrupted, UserError
from xnnlib.files import locked, project_path
from xnnlib.model import Routing, build, memory_format
from xnnlib.settings import CHECKPOINT_SECONDS, Settings, from_arguments
from xnnlib.spec import AnySpec, Recipe, upgrade_record


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The learning rate after `epoch` epochs, counted from 0 and fractional within one.

    Linear from `start_learning_rate` to `peak_learning_rate` over the warm-up, then half a cosine to
    `final_learning_rate` at the end of the last epoch (paper, Table 2; arXiv:1608.03983, equation 5). A
    recipe that sets it per epoch keeps the value of the epoch's beginning.
    """
    if recipe.learning_rate_set == "epoch":
        epoch = math.floor(epoch)
    if epoch < recipe.warmup_epochs:
        share = epoch / recipe.warmup_epochs
        return recipe.start_learning_rate + share * (recipe.peak_learning_rate - recipe.start_learning_rate)
    share = min(1.0, (epoch - recipe.warmup_epochs) / (recipe.epochs - recipe.warmup_epochs))
    height = (1.0 + math.cos(math.pi * share)) / 2.0
    return recipe.final_learning_rate + height * (recipe.peak_learning_rate - recipe.final_learning_rate)


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Stochastic gradient descent with Nesterov momentum; weight decay where the recipe wants it.

    A group's `rate` is a factor on the learning rate.
    """
    routing = {m.weight for m in network.modules() if isinstance(m, Routing) and m.weight.requires_grad}
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for weight in (weight for weight in network.parameters() if weight.requires_grad):
        # Filters and matrices have two dimensions or more; biases and batch norm have one.
        decays = recipe.weight_decay_on == "all" or weight.ndim > 1
        rate = recipe.routing_learning_rate if weight in routing else 1.0
        groups.setdefault((rate, recipe.weight_decay if decays else 0.0), []).append(weight)
    return torch.optim.SGD(
        [{"params": own, "weight_decay": decay, "rate": rate} for (rate, decay), own in groups.items()],
        lr=recipe.start_learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=True,
    )


def logits_of(network: nn.Module, images: Tensor, recipe: Recipe, device: torch.device) -> Tensor:
    """The network's logits (N, num_classes), float32, computed in the recipe's precision."""
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        logits = network(images)
    return logits.float()


def train_step(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """One step of gradient descent on images (N, 3, H, W), float32, and labels (N,), int64.

    Returns the batch's mean loss in nats and logits (N, num_classes), both detached.
    """
    logits = logits_of(network, images, recipe, device)
    loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach(), logits.detach()


def steps_per_epoch(split: Split, recipe: Recipe) -> int:
    """The steps of an epoch: the last incomplete batch is left out unless it is the only one."""
    return max(1, len(split) // recipe.batch_size)


def images_per_epoch(split: Split, recipe: Recipe) -> int:
    """The images that an epoch trains on."""
    return steps_per_epoch(split, recipe) * min(recipe.batch_size, len(split))


def train_epoch(
    network: nn.Module,
    split: Split,
    state: TrainingState,
    recipe: Recipe,
    device: torch.device,
    on_step: Callable[[], None] = lambda: None,
) -> None:
    """Train the current epoch of `state` from step `state.sums.steps` on; call `on_step` after each step."""
    network.train()
    sums, steps, epoch = state.sums, steps_per_epoch(split, recipe), len(state.rows)
    budget = (recipe.batch_size, recipe.crop, state.generator, device, recipe.smallest_crop)
    batches = train_batches(split, *budget, first_batch=sums.steps, **parallel.shard())
    for images, labels in batches:
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, epoch + sums.steps / steps) * group["rate"]
        loss, logits = train_step(network, images, labels, state.optimizer, recipe, device)
        correct = (logits.argmax(1) == labels).sum()
        added = parallel.all_reduce_sum(torch.stack([loss * len(labels), correct]))
        sums.loss += added[0]
        sums.correct += added[1]
        # A sum that has once ceased to be finite stays so: the count stops at the first such step.
        sums.finite += sums.loss.isfinite()
        sums.seen += len(labels) * parallel.world_size()
        sums.steps += 1
        on_step()


@torch.no_grad()
def predict(network: nn.Module, split: Split, recipe: Recipe, device: torch.device) -> Tensor:
    """Logits of every image of the split in order, (len(split), num_classes) float32 on the device."""
    network.eval()
    batches = val_batches(split, recipe.batch_size, recipe.crop, recipe.resize, device)
    return torch.cat([logits_of(network, images, recipe, device) for images, _ in batches])


@torch.no_grad()
def evaluate(network: nn.Module, split: Split, recipe: Recipe, device: torch.device) -> tuple[float, float]:
    """Mean cross entropy in nats and top-1 in percent over the split; each rank takes its part."""
    network.eval()
    sums = torch.zeros(2, device=device)
    budget = (recipe.batch_size, recipe.crop, recipe.resize, device)
    for images, labels in val_batches(split, *budget, **parallel.shard()):
        logits = logits_of(network, images, recipe, device)
        sums += torch.stack(
            [F.cross_entropy(logits, labels, reduction="sum"), (logits.argmax(1) == labels).sum()]
        )
    loss, correct = parallel.all_reduce_sum(sums).tolist()
    return loss / len(split), 100.0 * correct / len(split)


def fit(
    spec: AnySpec,
    dataset: Dataset,
    recipe: Recipe,
    run_dir: str | Path,
    seed: int = 0,
    profile: str = "custom",
    device: torch.device | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    parameters: dict | None = None,
    on_epoch: Callable[[records.Run], None] = lambda run: None,
) -> records.Run:
    """Train one network to the end of its recipe and leave a complete run folder.

    A run that is already complete is returned as it is. One that was interrupted resumes from its last
    checkpoint, to the same result: there is one every `checkpoint_seconds` and after each epoch.
    `parameters` goes into the record as it is; `on_epoch` is called with the run so far. Raises UserError
    before any work if the record could not hold a value, the network's classes are not as many as the data's,
    or the folder holds another run or is locked; later if the processes cannot share a batch equally or a
    file cannot be written, and Diverged, a UserError, if the loss ceases to be finite. Raises Interrupted, a
    KeyboardInterrupt, after Ctrl-C or SIGTERM.
    """
    if spec.num_classes != len(dataset.class_names):
        raise UserError(
            f"num_classes is {spec.num_classes}, but the data has {len(dataset.class_names)} classes."
        )
    run_dir = project_path(run_dir)
    device = device or runtime.pick_device()
    recipe = runtime.recipe_on(device, recipe)
    record = records.identity(spec, recipe, dataset, seed, profile, parameters or {})
    complete = records.complete_run(run_dir, record)
    if not complete:
        with locked(run_dir) if parallel.is_main() else nullcontext():
            # Once more: the process that held the lock before may just have finished.
            complete = records.complete_run(run_dir, record)
            if not complete:
                trainer = Trainer(spec, dataset, recipe, run_dir, record, device, checkpoint_seconds)
                return trainer.train(on_epoch)
    parallel.print0(f"{spec.name}, seed {seed}: already complete, not trained again.")
    return complete


class Trainer:
    """Trains the network of a run folder that is not complete, from its checkpoint, if there is one.

    `record` is what identifies the run. Rank 0 writes a checkpoint every `checkpoint_seconds` and after each
    epoch. The caller holds the folder's lock.
    """

    def __init__(
        self,
        spec: AnySpec,
        dataset: Dataset,
        recipe: Recipe,
        run_dir: Path,
        record: dict,
        device: torch.device,
        checkpoint_seconds: float,
    ):
        runtime.keep_freed_memory()
        torch.backends.cudnn.benchmark = device.type == "cuda"
        self.name, self.recipe, self.run_dir, self.device = spec.name, recipe, run_dir, device
        self.train_split = to_device(dataset.train, device)
        self.val_split = to_device(dataset.val, device)
        torch.manual_seed(record["seed"])
        network = build(spec).to(device, memory_format=memory_format(spec.block))
        self.state = TrainingState(network, make_optimizer(network, recipe), record["seed"], device)
        parallel_network = parallel.data_parallel(network)
        self.network, self.compile_seconds = runtime.compiled(parallel_network, recipe, device)
        self.checkpoint_seconds, self.saved_at = checkpoint_seconds, time.monotonic()
        self.saved_place: dict | None = None
        self.record = self._resume(record)

    def _resume(self, record: dict) -> dict:
        """The record so far, and the state as the last checkpoint holds it, if there is one."""
        here = runtime.provenance(self.device, parallel.world_size()) | {"code": runtime.code_digest()}
        saved = checkpoint.load_checkpoint(self.run_dir)
        if not saved:
            return record | here | {"started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        begun = upgrade_record(saved["record"])
        records.require_same_run(self.run_dir, begun, record)
        self.state.restore(saved["state"])
        self.saved_place = self.state.place
        parallel.print0(f"{self.name}, seed {record['seed']}: resuming from {self.state.where}.")
        return records.resumed(begun, here, self.state.place)

    def train(self, on_epoch: Callable[[records.Run], None]) -> records.Run:
        """Train to the end and write the record."""
        recipe, state = self.recipe, self.state
        steps = steps_per_epoch(self.train_split, recipe)
        done = len(state.rows) * steps + state.sums.steps
        quiet = not parallel.is_main()
        bar = tqdm(total=recipe.epochs * steps, initial=done, unit="step", mininterval=1.0, disable=quiet)
        with DeferSignals() as signals, bar:
            try:
                for epoch in range(len(state.rows) + 1, recipe.epochs + 1):
                    bar.set_description(f"{self.name} epoch {epoch}/{recipe.epochs}", refresh=False)
                    self._epoch(epoch, bar, signals)
                    on_epoch(records.Run(self.run_dir, self.record, records.columns(state.rows)))
            except RuntimeError:
                # Rank 0 has saved and exited: the others, signalled as well, fail on the lost connection.
                if signals.received and not parallel.is_main():
                    raise Interrupted("rank 0 has stopped.", signals.received) from None
                raise
        return self._finish()

    def _epoch(self, epoch: int, bar: tqdm, signals: DeferSignals) -> None:
        recipe, state = self.recipe, self.state
        start = time.perf_counter() - state.clocks["epoch"]

        def on_step() -> None:
            bar.update()
            if not parallel.is_main():
                return
            if self.device.type == "cpu":  # reading a number synchronises with a GPU
                numbers = f"loss {state.sums.mean_loss():.3f}, top-1 {state.sums.top1():.1f} %"
                bar.set_postfix_str(numbers, refresh=False)
            if signals.received or time.monotonic() - self.saved_at >= self.checkpoint_seconds:
                state.clocks["epoch"] = time.perf_counter() - start
                self._save()
            if signals.received:
                raise Interrupted(
                    f"stopped and saved at {state.where}; the same command resumes there.",
                    signals.received,
                )

        train_epoch(self.network, self.train_split, state, recipe, self.device, on_step)
        self._require_finite()
        trained = time.perf_counter()
        parallel.broadcast_buffers(state.network)
        val_loss, val_top1 = evaluate(state.network, self.val_split, recipe, self.device)
        self._require_finite(val_loss)
        seconds = time.perf_counter() - start
        state.clocks["total"] += seconds
        state.clocks["training"] += trained - start
        state.rows.append(
            {
                "epoch": epoch,
                "learning_rate": round(learning_rate(recipe, epoch - 1), 8),
                "train_loss": round(state.sums.mean_loss(), 6),
                "train_top1": round(state.sums.top1(), 4),
                "val_loss": round(val_loss, 6),
                "val_top1": round(val_top1, 4),
                "seconds": round(seconds, 3),
            }
        )
        row, speed = state.rows[-1], images_per_epoch(self.train_split, recipe) / (trained - start)
        parallel.print0(
            f"epoch {epoch:3d}/{recipe.epochs}  learning rate {row['learning_rate']:.5f}"
            f"  train loss {row['train_loss']:.3f} top-1 {row['train_top1']:5.2f} %"
            f"  val loss {row['val_loss']:.3f} top-1 {row['val_top1']:5.2f} %"
            f"  {row['seconds']:.1f} s, {speed:,.0f} images/s"
        )
        state.begin_epoch()
        if parallel.is_main():
            records.save_epochs(self.run_dir, state.rows)
            self._save()

    def _save(self) -> None:
        """Write a checkpoint; raises Diverged instead if a loss was not finite."""
        self._require_finite()
        checkpoint.save_checkpoint(self.run_dir, {"record": self.record, "state": self.state.state_dict()})
        self.saved_at, self.saved_place = time.monotonic(), self.state.place

    def _require_finite(self, val_loss: float = 0.0) -> None:
        """Raise Diverged, and leave a record that says so, if a loss was not finite."""
        step = self.state.sums.first_not_finite()
        if step is None and math.isfinite(val_loss):
            return
        steps = steps_per_epoch(self.train_split, self.recipe)
        step = steps - 1 if step is None else step
        self.record["diverged"] = {
            "epoch": self.state.place["epoch"],
            "step": step + 1,
            "steps_per_epoch": steps,
            "learning_rate": learning_rate(self.recipe, len(self.state.rows) + step / steps),
            "checkpoint": self.saved_place,
        }
        if parallel.is_main():
            records.save_epochs(self.run_dir, self.state.rows)
            records.save_record(self.run_dir, self.record | {"complete": False})
        raise Diverged(records.divergence(self.run_dir, self.record["diverged"]))

    def _finish(self) -> records.Run:
        rows, clocks = self.state.rows, self.state.clocks
        best = max(rows, key=lambda row: row["val_top1"])
        speed = self.recipe.epochs * images_per_epoch(self.train_split, self.recipe) / clocks["training"]
        self.record |= {
            "epochs": self.recipe.epochs,
            "last": {"epoch": rows[-1]["epoch"], "top1": rows[-1]["val_top1"], "loss": rows[-1]["val_loss"]},
            "best": {"top1": best["val_top1"], "epoch": best["epoch"]},
            "train_seconds": round(clocks["total"], 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "images_per_second": round(speed, 1) or speed,
            "complete": True,
        }
        if parallel.is_main():
            records.save_weights(self.run_dir, self.state.network.state_dict())
            records.save_record(self.run_dir, self.record)
            checkpoint.remove_checkpoints(self.run_dir)
        parallel.barrier()
        return records.load_run(self.run_dir)


def train(
    settings: Settings,
    dataset: Dataset | None = None,
    on_epoch: Callable[[records.Run], None] = lambda run: None,
) -> records.Run:
    """Train what the settings say; `dataset` if it is loaded already. Raises as `fit` does."""
    return fit(
        settings.network,
        dataset or parallel.main_process_first(lambda: load_images(settings)),
        settings.routine,
        settings.run_dir,
        settings.seed,
        settings.profile,
        checkpoint_seconds=settings.checkpoint_seconds,
        parameters=settings.recorded(),
        on_epoch=on_epoch,
    )


def main(arguments: list[str] | None = None) -> int:
    """Train one network from the command line; returns the exit status."""
    try:
        settings = from_arguments(arguments, "python -m xnnlib.training", "Train one network.")
        with parallel.process_group():
            result = train(settings).record["last"]
            parallel.print0(f"{settings.run_dir}: top-1 {result['top1']:.2f} % after epoch {result['epoch']}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as why:
        if parallel.is_main():
            print(f"interrupted: {why}", file=sys.stderr)
        return why.exit_status
    except KeyboardInterrupt:
        print("interrupted before the first step; give the same command again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
