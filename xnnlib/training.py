"""Training: `fit` makes a run folder of a network, a data set and a recipe; `train` does so from settings.

`python -m xnnlib.training --help` trains one network without a notebook, on several devices under torchrun.
"""

import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import torch

from xnnlib import distributed, records, runtime
from xnnlib.data import Dataset, load_images
from xnnlib.errors import Interrupted, UserError
from xnnlib.files import held
from xnnlib.model import Network
from xnnlib.paths import project_path
from xnnlib.settings import CHECKPOINT_SECONDS, Settings, from_arguments
from xnnlib.spec import NetworkSpec, Recipe
from xnnlib.trainer import Trainer, memory_format, say


def fit(
    spec: NetworkSpec,
    dataset: Dataset,
    recipe: Recipe,
    run_dir: str | Path,
    seed: int = 0,
    profile: str = "custom",
    device: torch.device | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    parameters: dict | None = None,
) -> records.Run:
    """Train one network to the end of its recipe and leave a complete run folder.

    A run that is already complete is returned as it is. One that was interrupted goes on from
    its last checkpoint, to the same result: there is one every `checkpoint_seconds` and after each epoch.
    `parameters` goes into the record as it is. Raises UserError if the folder holds another run or is in
    use, if the network's classes are not as many as the data's, if a file cannot be written, or if the
    loss ceases to be finite; Interrupted, a KeyboardInterrupt, after Ctrl-C or SIGTERM.
    """
    if spec.num_classes != len(dataset.class_names):
        raise UserError(
            f"num_classes is {spec.num_classes}, but the data has {len(dataset.class_names)} classes."
        )
    run_dir = project_path(run_dir)
    device = device or runtime.pick_device()
    if not runtime.has_bfloat16(device):
        recipe = replace(recipe, precision="float32")
    if distributed.world_size() > 1 and len(dataset.train) < recipe.batch_size:
        raise UserError(f"batch_size is {recipe.batch_size}, more than the {len(dataset.train)} images.")
    record = {
        "profile": profile,
        "block": spec.block,
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
    if not finished:
        with held(run_dir) if distributed.is_main() else nullcontext():
            # Once more: the process that held the folder before may just have finished.
            finished = records.finished_run(run_dir, record)
            if not finished:
                return Trainer(
                    spec, dataset, recipe, run_dir, record, device, checkpoint_seconds, parameters
                ).train()
    say(f"{spec.block}, seed {seed}: already complete, not trained again.")
    return finished


def train(settings: Settings, dataset: Dataset | None = None) -> records.Run:
    """Train what the settings say, on as many devices as they say; `dataset` if it is loaded already.

    Raises UserError and Interrupted as `fit` does.
    """
    if settings.devices > 1 and distributed.world_size() > 1:
        raise UserError(
            "devices is for one process that starts the others; torchrun has started them already."
        )
    if settings.devices > 1:
        # Packed once, before the processes start: a mistake about them is one line, not one of each.
        load_images(settings)
        distributed.launch(settings.devices, settings.arguments())
        return records.load_run(project_path(settings.run_dir))
    return fit(
        settings.network,
        dataset or distributed.main_first(lambda: load_images(settings)),
        settings.routine,
        settings.run_dir,
        settings.seed,
        settings.profile,
        checkpoint_seconds=settings.checkpoint_seconds,
        parameters=settings.recorded(),
    )


def load_trained(run: records.Run, device: torch.device | None = None) -> Network:
    """The network of a complete run with its last epoch's weights.

    Raises UserError if they are missing, damaged or another network's.
    """
    network = Network(run.record["block"], **run.record["network"])
    try:
        network.load_state_dict(records.load_weights(run.path))
    except RuntimeError as error:
        raise UserError(
            f"{run.path / records.WEIGHTS} does not hold the weights of this code's network "
            f"({str(error).splitlines()[-1].strip()}); train the run again."
        ) from error
    return network.to(device or runtime.pick_device(), memory_format=memory_format(run.record["block"]))


def main(arguments: list[str] | None = None) -> int:
    """Train one network from the command line; returns the exit status."""
    try:
        settings = from_arguments(arguments, "python -m xnnlib.training", __doc__.splitlines()[0])
        with distributed.joined():
            run = train(settings)
            result = run.record["last"]
            say(f"{settings.run_dir}: top-1 {result['top1']:.2f} % after epoch {result['epoch']}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as why:
        if distributed.is_main():
            print(f"interrupted: {why}", file=sys.stderr)
        return why.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
