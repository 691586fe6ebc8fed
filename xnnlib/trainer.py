"""One run on its way from its last checkpoint to its record."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from tqdm import tqdm

from xnnlib import checkpoints, distributed, records, runtime
from xnnlib.compiling import compiled
from xnnlib.data import Dataset, Split, placed
from xnnlib.epochs import Sums, evaluate, steps_of, train_epoch
from xnnlib.errors import Diverged, Interrupted, UserError
from xnnlib.interrupts import Interrupts
from xnnlib.schedule import learning_rate
from xnnlib.spec import NetworkSpec, Recipe
from xnnlib.state import TrainingState


class Trainer:
    """Trains the network of a run folder that is not complete; nobody else works in that folder.

    `record` is what identifies the run, `parameters` what the user asked for; the main process writes a
    checkpoint every `checkpoint_seconds` and after each epoch.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        dataset: Dataset,
        recipe: Recipe,
        run_dir: Path,
        record: dict,
        device: torch.device,
        checkpoint_seconds: float,
        parameters: dict | None,
    ):
        runtime.keep_freed_memory()
        torch.backends.cudnn.benchmark = device.type == "cuda"
        self.recipe, self.run_dir, self.device = recipe, run_dir, device
        # On a CPU the processes of a machine share its memory; a GPU is each one's own.
        share = 0.5 / (distributed.processes_here() if device.type == "cpu" else 1)
        self.train_split, self.val_split = (
            placed(split, device, share) for split in (dataset.train, dataset.val)
        )
        self.state = TrainingState(spec, recipe, record["seed"], device, memory_format(spec.block))
        parallel = distributed.parallel(self.state.network, recipe.batch_norm)
        self.network, self.compile_seconds = compiled(parallel, recipe, device)
        self.checkpoint_seconds, self.saved_at = checkpoint_seconds, time.monotonic()
        self.saved_place: dict | None = None
        self.record = self._taken_up(record, parameters)

    def _taken_up(self, record: dict, parameters: dict | None) -> dict:
        """The record so far, and the state as the last checkpoint holds it, if there is one."""
        here = {
            "device": runtime.describe_device(self.device, distributed.world_size()),
            "versions": runtime.versions(),
            "commit": runtime.commit(),
            "code": runtime.code_digest(),
        }
        saved = checkpoints.load_checkpoint(self.run_dir)
        place = saved["state"]["place"] if saved else {"epoch": 0, "step": 0}
        if not distributed.agree(list(place.values()), self.device):
            raise UserError(
                f"{self.run_dir} does not hold the same checkpoint for all processes; put it where all see."
            )
        if not saved:
            started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return record | {"parameters": parameters} | here | {"started": started}
        records.require_same_run(self.run_dir, saved["record"], record)
        record = saved["record"]
        self.state.load_state_dict(saved["state"])
        self.saved_place = self.state.place
        last = record["continued"][-1] if "continued" in record else record
        if any(last[name] != value for name, value in here.items()):
            # It is no longer the run of one machine and one commit, and says so.
            record["continued"] = [*record.get("continued", []), self.state.place | here]
        say(f"{record['block']}, seed {record['seed']}: going on from {_words(self.state.place)}.")
        return record

    def train(self) -> records.Run:
        """Train to the end and write the record."""
        recipe, state = self.recipe, self.state
        steps = steps_of(self.train_split, recipe)
        done = len(state.rows) * steps + state.sums.steps
        with (
            Interrupts() as interrupts,
            tqdm(
                total=recipe.epochs * steps,
                initial=done,
                unit="step",
                mininterval=1.0,
                disable=not distributed.is_main(),
            ) as bar,
        ):
            try:
                for epoch in range(len(state.rows), recipe.epochs):
                    name = f"{self.record['block']} epoch {epoch + 1}/{recipe.epochs}"
                    bar.set_description(name, refresh=False)
                    self._epoch(epoch, bar, interrupts)
            except RuntimeError:
                # The main process has saved and gone: the others, asked to stop as well, lose touch with it.
                if interrupts.received and not distributed.is_main():
                    raise Interrupted("the main process has stopped.", interrupts.received) from None
                raise
        return self._finish()

    def _epoch(self, epoch: int, bar: tqdm, interrupts: Interrupts) -> None:
        recipe, state = self.recipe, self.state
        start = time.perf_counter() - state.clocks["epoch"]

        def on_step(sums: Sums) -> None:
            bar.update()
            if not distributed.is_main():
                return
            if self.device.type == "cpu":  # reading a number from a GPU would wait for it
                numbers = f"loss {sums.mean_loss():.3f}, top-1 {sums.top1():.1f} %"
                bar.set_postfix_str(numbers, refresh=False)
            if interrupts.received or time.monotonic() - self.saved_at >= self.checkpoint_seconds:
                state.clocks["epoch"] = time.perf_counter() - start
                self._save()
            if interrupts.received:
                raise Interrupted(
                    f"stopped and saved at {_words(state.place)}; the same command goes on from there.",
                    interrupts.received,
                )

        train_epoch(
            self.network,
            self.train_split,
            state.optimizer,
            recipe,
            epoch,
            state.generator,
            self.device,
            on_step,
            state.average,
            state.sums,
        )
        self._require_finite()
        trained = time.perf_counter()
        distributed.share_buffers(state.result)
        val_loss, val_top1 = evaluate(state.result, self.val_split, recipe, self.device)
        self._require_finite(val_loss)
        seconds = time.perf_counter() - start
        state.clocks["total"] += seconds
        state.clocks["training"] += trained - start
        state.rows.append(
            {
                "epoch": epoch + 1,
                "learning_rate": round(learning_rate(recipe, epoch), 8),
                "train_loss": round(state.sums.mean_loss(), 6),
                "train_top1": round(state.sums.top1(), 4),
                "val_loss": round(val_loss, 6),
                "val_top1": round(val_top1, 4),
                "seconds": round(seconds, 3),
            }
        )
        images_per_second = _images_per_epoch(self.train_split, recipe) / (trained - start)
        say(_epoch_line(state.rows[-1], recipe, images_per_second))
        state.begin_epoch()
        if distributed.is_main():
            records.save_epochs(self.run_dir, state.rows)
            self._save()

    def _save(self) -> None:
        """Write a checkpoint of a state that is worth one."""
        self._require_finite()
        checkpoints.save_checkpoint(self.run_dir, {"record": self.record, "state": self.state.state_dict()})
        self.saved_at, self.saved_place = time.monotonic(), self.state.place

    def _require_finite(self, val_loss: float = 0.0) -> None:
        """Raise Diverged, and leave a record that says so, if a loss was not finite."""
        step = self.state.sums.first_not_finite()
        if step is None and val_loss - val_loss == 0.0:
            return
        steps = steps_of(self.train_split, self.recipe)
        step = steps - 1 if step is None else step
        within = step / steps if self.recipe.learning_rate_set == "step" else 0.0
        diverged = {
            "epoch": self.state.place["epoch"],
            "step": step + 1,
            "steps_per_epoch": steps,
            "learning_rate": learning_rate(self.recipe, len(self.state.rows) + within),
            "checkpoint": self.saved_place,
        }
        if distributed.is_main():
            records.save_epochs(self.run_dir, self.state.rows)
            records.save_record(self.run_dir, self.record | {"complete": False, "diverged": diverged})
        raise Diverged(records.divergence(self.run_dir, diverged))

    def _finish(self) -> records.Run:
        rows, clocks = self.state.rows, self.state.clocks
        best = max(rows, key=lambda row: row["val_top1"])
        images = self.recipe.epochs * _images_per_epoch(self.train_split, self.recipe)
        self.record |= {
            "epochs": self.recipe.epochs,
            "last": {"epoch": rows[-1]["epoch"], "top1": rows[-1]["val_top1"], "loss": rows[-1]["val_loss"]},
            "best": {"top1": best["val_top1"], "epoch": best["epoch"]},
            "train_seconds": round(clocks["total"], 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "images_per_second": round(images / clocks["training"], 1),
            "complete": True,
        }
        if distributed.is_main():
            records.save_weights(self.run_dir, self.state.result.state_dict())
            records.save_record(self.run_dir, self.record)
            checkpoints.remove_checkpoints(self.run_dir)
        distributed.wait()
        return records.load_run(self.run_dir)


def say(line: str) -> None:
    """Print a line above the progress bar, once for all processes."""
    if distributed.is_main():
        tqdm.write(line, file=sys.stdout)


def memory_format(block: str) -> torch.memory_format:
    """The order of the activations in memory that is faster for the block."""
    # Measured on two cores: channels_last takes a quarter off A's and B's step; C's products and its
    # one-group-a-channel convolutions would copy every activation to rows first.
    return torch.contiguous_format if block == "se_cond" else torch.channels_last


def _words(place: dict[str, int]) -> str:
    return f"epoch {place['epoch']}, step {place['step']}"


def _images_per_epoch(split: Split, recipe: Recipe) -> int:
    return len(split) // recipe.batch_size * recipe.batch_size or len(split)


def _epoch_line(row: dict, recipe: Recipe, images_per_second: float) -> str:
    return (
        f"epoch {row['epoch']:3d}/{recipe.epochs}  learning rate {row['learning_rate']:.5f}"
        f"  train loss {row['train_loss']:.3f} top-1 {row['train_top1']:5.2f} %"
        f"  val loss {row['val_loss']:.3f} top-1 {row['val_top1']:5.2f} %"
        f"  {row['seconds']:.1f} s, {images_per_second:,.0f} images/s"
    )
