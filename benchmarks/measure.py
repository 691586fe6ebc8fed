"""Measure one job of throughput.py in a process of its own: `python benchmarks/measure.py FOLDER`.

FOLDER holds job.json; result.json, or one line in it that says why there is none, is written beside it.
The allocator's settings, cuDNN's choices and the peak memory belong to a process, and so does every job.
"""

import importlib
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import torch
from plan import KNOWN, TRAIN_IMAGES
from stopwatch import WARM_UP, timed
from torch import Tensor, nn
from torch.nn import functional as F

from xnnlib import runtime
from xnnlib.compat import ensure_torchvision
from xnnlib.compiling import OPTIONS, compiled
from xnnlib.data import Split, load_dataset, placed
from xnnlib.epochs import train_epoch, train_step
from xnnlib.errors import UserError
from xnnlib.model import Network
from xnnlib.optimizer import make_optimizer
from xnnlib.spec import RECIPES, NetworkSpec, Recipe
from xnnlib.state import TrainingState
from xnnlib.trainer import memory_format

COPIED_BYTES = 2**29  # much larger than any processor's caches
LAYOUTS = {torch.channels_last: "channels_last", torch.contiguous_format: "contiguous"}


@dataclass
class Subject:
    """A network that is ready to train. `compile_seconds` is None where its first step compiles it."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    recipe: Recipe
    layout: torch.memory_format
    step: Callable[[Tensor, Tensor], object]
    compile_seconds: float | None = 0.0


def imported(name: str) -> ModuleType:
    """The module beside this one, with torchvision and timm: not for rows whose memory they would swell."""
    ensure_torchvision()
    return importlib.import_module(name)


def recipe_of(settings: dict, device: torch.device) -> Recipe:
    """The paper's recipe at this batch size, in the precision that training on the device has."""
    paper = RECIPES["paper"]
    recipe = paper.scaled(paper.epochs, settings["batch_size"], settings["crop"])
    return recipe if runtime.has_bfloat16(device) else replace(recipe, precision="float32")


def ours(block: str, settings: dict, device: torch.device) -> Subject:
    """As Trainer trains."""
    runtime.keep_freed_memory()
    recipe, layout = recipe_of(settings, device), memory_format(block)
    state = TrainingState(NetworkSpec(block, settings["num_classes"]), recipe, 0, device, layout)
    network, seconds = compiled(state.network, recipe, device)

    def step(images: Tensor, labels: Tensor) -> object:
        return train_step(network, images, labels, state.optimizer, recipe, device)

    return Subject(network.train(), state.optimizer, recipe, layout, step, seconds)


def plain(block: str, settings: dict, device: torch.device) -> Subject:
    """As a reader would write it first: float32, torch's default memory format and allocation, eager."""
    rivals = imported("rivals")
    recipe = replace(recipe_of(settings, device), precision="float32")
    network = rivals.from_known_layers(Network(block, settings["num_classes"])).to(device).train()
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.start_learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )

    def step(images: Tensor, labels: Tensor) -> None:
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return Subject(network, optimizer, recipe, torch.contiguous_format, step)


def with_our_step(
    network: nn.Module,
    recipe: Recipe,
    layout: torch.memory_format,
    device: torch.device,
    options: dict | None,
) -> Subject:
    """A network with the project's step and optimiser; `options`: the compiler's, if it is to be compiled."""
    network = network.to(device, memory_format=layout).train()
    optimizer = make_optimizer(network, recipe)
    called = network if options is None else torch.compile(network, options=options)

    def step(images: Tensor, labels: Tensor) -> object:
        return train_step(called, images, labels, optimizer, recipe, device)

    return Subject(called, optimizer, recipe, layout, step, 0.0 if options is None else None)


def part_way(block: str, taken: list[str], settings: dict, device: torch.device) -> Subject:
    """The plain way with those of STEPS that are `taken`."""
    if not taken:
        return plain(block, settings, device)
    if "memory" in taken:
        runtime.keep_freed_memory()
    recipe = recipe_of(settings, device)
    if "bfloat16" not in taken:
        recipe = replace(recipe, precision="float32")
    layout = memory_format(block) if "channels_last" in taken else torch.contiguous_format
    graphs = {"triton.cudagraphs": True} if "graphs" in taken else {}
    options = OPTIONS | graphs if "compiled" in taken else None
    network = Network(block, settings["num_classes"])
    if "triton" in taken:
        network = importlib.import_module("triton_depthwise").with_triton(network)
    return with_our_step(network, recipe, layout, device, options)


def rival(name: str, compiles: bool, settings: dict, device: torch.device) -> Subject:
    """Another's layers or network in all that the project's has: precision, optimiser, kept memory."""
    rivals = imported("rivals")
    runtime.keep_freed_memory()
    classes = settings["num_classes"]
    if name in KNOWN:
        network = rivals.known_network(name, classes)
    else:
        network = rivals.from_known_layers(Network(name, classes))
    recipe, options = recipe_of(settings, device), {} if compiles else None
    return with_our_step(network, recipe, torch.channels_last, device, options)


SUBJECTS = {
    "xnnlib": ours,
    "plain": plain,
    "timm-eager": lambda name, *others: rival(name, False, *others),
    "timm-compiled": lambda name, *others: rival(name, True, *others),
    "compiled": lambda name, *others: rival(name, True, *others),
}


def random_batch(layout: torch.memory_format, settings: dict, device: torch.device) -> tuple[Tensor, Tensor]:
    images = torch.randn(settings["batch_size"], 3, settings["crop"], settings["crop"], device=device)
    labels = torch.randint(settings["num_classes"], (settings["batch_size"],), device=device)
    return images.contiguous(memory_format=layout), labels


def stepping(step: Callable, batches: Iterator[tuple[Tensor, Tensor]]) -> Callable[[Callable], None]:
    """The loop, without end, of a step over batches."""

    def loop(on_step: Callable) -> None:
        for images, labels in batches:
            step(images, labels)
            on_step()

    return loop


def stored_images(settings: dict, train_images: int) -> Split:
    """The training images, packed into the cache when they are first asked for."""
    classes = settings["num_classes"]
    return load_dataset(
        settings["data"], num_classes=classes, train_images=train_images, val_images=classes
    ).train


def training(subject: Subject, split: Split, device: torch.device) -> Callable[[Callable], None]:
    """The loop of the project's own epochs over the images, from where its Trainer would put them."""
    split, generator = placed(split, device), torch.Generator().manual_seed(0)

    def loop(on_step: Callable) -> None:
        for epoch in itertools.count():
            train_epoch(
                subject.network, split, subject.optimizer, subject.recipe, epoch, generator, device, on_step
            )

    return loop


def part(job: dict, settings: dict, device: torch.device, folder: Path) -> dict:
    """The speed of one network's step part of the way from plain to the project's."""
    subject = part_way(job["network"], job["taken"], settings, device)
    batch = random_batch(subject.layout, settings, device)
    timing = timed(stepping(subject.step, itertools.repeat(batch)), device, settings["repeats"])
    return timing.images_per_second(settings["batch_size"])


def row(job: dict, settings: dict, device: torch.device, folder: Path) -> dict:
    """A row of the table: speed and memory of one network's training in one way."""
    subject = SUBJECTS[job["way"]](job["network"], settings, device)
    if job["scope"] == "model":
        loop = stepping(subject.step, itertools.repeat(random_batch(subject.layout, settings, device)))
    elif job["way"] == "xnnlib":
        loop = training(subject, stored_images(settings, TRAIN_IMAGES), device)
    else:
        jpegs = imported("jpegs")
        jpegs.write_jpegs(settings["data"], settings["num_classes"], TRAIN_IMAGES, folder / "images")
        batches = jpegs.batches(
            folder / "images", settings["batch_size"], settings["crop"], settings["workers"], device
        )
        loop = stepping(subject.step, batches)
    timing = timed(loop, device, settings["repeats"])
    seconds = subject.compile_seconds
    return {
        "precision": subject.recipe.precision,
        "memory_format": LAYOUTS[subject.layout],
        **timing.images_per_second(settings["batch_size"]),
        "step_milliseconds": round(1000 * timing.median(), 2),
        "peak_memory_megabytes": round(timing.peak_bytes / 1e6, 1),
        "compile_seconds": round(timing.excess_of_first() if seconds is None else seconds, 1),
    }


def growth(job: dict, settings: dict, device: torch.device, folder: Path) -> dict:
    """Speed and memory of block A, end to end, at a size of the batch and of the data."""
    settings = settings | {"batch_size": job["batch_size"]}
    subject = ours("standard", settings, device)
    loop = training(subject, stored_images(settings, job["train_images"]), device)
    timing = timed(loop, device, settings["repeats"])
    return {
        "images_per_second": timing.images_per_second(job["batch_size"])["images_per_second"],
        "peak_memory_megabytes": round(timing.peak_bytes / 1e6, 1),
    }


def kernels(job: dict, settings: dict, device: torch.device, folder: Path) -> dict:
    """Where the time of one warm step goes: the eight operations of the most time of their own."""
    subject = ours(job["network"], settings, device)
    images, labels = random_batch(subject.layout, settings, device)
    for _ in range(WARM_UP[device.type]):
        subject.step(images, labels)
    cuda = [torch.profiler.ProfilerActivity.CUDA] if device.type == "cuda" else []
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU, *cuda]) as profile:
        subject.step(images, labels)
        if cuda:
            torch.cuda.synchronize(device)
    # On CUDA a kernel counts for the operation that started it, which has the shorter name.
    operations = [
        event for event in profile.key_averages() if event.device_type == torch.autograd.DeviceType.CPU
    ]
    times = {
        event.key: event.self_device_time_total if cuda else event.self_cpu_time_total for event in operations
    }
    longest = sorted(times, key=times.get, reverse=True)[:8]
    return {
        "operations": [
            {"name": name.removeprefix("aten::"), "share": round(times[name] / sum(times.values()), 4)}
            for name in longest
        ]
    }


def copying(job: dict, settings: dict, device: torch.device, folder: Path) -> dict:
    """The speed of memory: bytes read and bytes written by a copy much larger than the caches."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    loop = stepping(lambda source, target: target.copy_(source), itertools.repeat((source, target)))
    seconds = timed(loop, device, settings["repeats"]).median()
    return {"gigabytes_per_second": round(2 * COPIED_BYTES / seconds / 1e9, 2)}


KINDS = {"row": row, "part": part, "growth": growth, "kernels": kernels, "copy": copying}


def one_line(error: BaseException) -> str:
    """The kind of error and the first line of its message, without the folders of this machine."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    said = lines[0] if isinstance(error, UserError) else f"{type(error).__name__}: {lines[0]}"
    return re.sub(r"(?:/[^\s/'\":]+)+/([^\s/'\":]+)", r"\1", said)[:200]


def main(folder: Path) -> None:
    asked = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    device = runtime.pick_device()
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        result = KINDS[asked["job"]["kind"]](asked["job"], asked["settings"], device, folder)
    except Exception as error:
        result = {"error": one_line(error)}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
