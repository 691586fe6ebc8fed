"""How fast the three blocks train and predict on this device, beside baselines: `make benchmark`.

A processor's speed drifts within minutes, more so beside other work. Therefore all is measured in one
process and in interleaved rounds: a round takes every measurement once, the next one in reverse order. Two
networks are compared round by round, and the benchmark may end after any whole round. On a processor,
training is measured with one thread, as runs side by side train, and with all.

Variants:
- "project": the project's `train_step` on batches of `train_batches`, as it trains on this device;
- "timm": the same step on networks of timm's InvertedResidual, SqueezeExcite and CondConvResidual;
- "plain": timm's again, in the loop one writes first: float32, contiguous, eager, SGD that is not fused;
- "torchvision": the networks that this one came from, adapted to small images, in the project's step;
- "folded", inference alone: block C with its routing fixed, folded into ordinary convolutions.

All take the same batches and the allocator's setting that training makes, which speeds up the plain loop
too. The bound of all is one large matrix product in the precision of training. After each round the result
is written to OUTPUT/<device>.json, which `xnnlib.report.speed` reads.
"""

import argparse
import itertools
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from xnnlib import baselines, runtime
from xnnlib.analysis import fold
from xnnlib.data import Split, load_dataset, to_device, train_batches
from xnnlib.errors import UserError
from xnnlib.files import write_atomically
from xnnlib.model import Network, Routing, memory_format
from xnnlib.report.speed import Benchmark, speed_table
from xnnlib.report.summary import BASELINE_TITLES
from xnnlib.runtime import compiled
from xnnlib.spec import BLOCKS, RECIPES, Recipe
from xnnlib.training import logits_of, make_optimizer, train_step

runtime.ensure_torchvision()

from timm.models import _efficientnet_blocks as timm_blocks  # noqa: E402

CLASSES = 100
LATENCY_IMAGES = (1, 32)
MATMUL_SIZE = {"cpu": 2048, "cuda": 8192}
QUIET = 1.0  # a load average above it means other work beside the benchmark

Batches = Iterator[tuple[Tensor, Tensor]]
Step = Callable[[], object]


# Networks


def with_timm_blocks(network: Network) -> Network:
    """Exchange, in place, the network's blocks for timm's of the same sizes.

    timm's conditional block has one routing, of the block's input, for its three convolutions; the project's
    has one for each.
    """
    spec = network.spec
    kind, options = timm_blocks.InvertedResidual, {}
    if spec.block != "standard":
        options["se_layer"] = partial(timm_blocks.SqueezeExcite, rd_ratio=1 / spec.reduction)
    if spec.block == "se_cond":
        kind, options["num_experts"] = timm_blocks.CondConvResidual, spec.experts
    for stage, blocks in zip(spec.stages, network.stages, strict=True):
        for index in range(stage.repeat if stage.operation == "block" else 0):
            blocks[index] = kind(
                stage.in_channels,
                stage.out_channels,
                dw_kernel_size=stage.filter_size,
                stride=stage.stride,
                exp_ratio=stage.expansion,
                act_layer=nn.ReLU,
                **options,
            )
    return network


def folded(network: Network) -> Network:
    """Block C, each routing fixed at one half, where it starts; at another mean it is as fast."""
    routings = {name: layer for name, layer in network.named_modules() if isinstance(layer, Routing)}
    return fold(network, {name: torch.full((1, layer.out_features), 0.5) for name, layer in routings.items()})


def forward_macs(network: nn.Module, crop: int) -> int:
    """Multiply-accumulates of one image's forward pass, by torch's counter, which counts each as two."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        deepcopy(network).cpu().eval()(torch.zeros(1, 3, crop, crop))
    return counter.get_total_flops() // 2


# Steps


def endless_batches(split: Split, recipe: Recipe, device: torch.device) -> Batches:
    """The project's augmented training batches, epoch after epoch."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield from train_batches(
            split, recipe.batch_size, recipe.crop, generator, device, recipe.smallest_crop
        )


def project_step(network: nn.Module, batches: Batches, recipe: Recipe, device: torch.device) -> Step:
    """A step as training takes it: its precision, fused optimizer and, on a GPU, compiler."""
    optimizer = make_optimizer(network, recipe)
    fast, _ = compiled(network.train(), recipe, device)

    def step() -> None:
        images, labels = next(batches)
        train_step(fast, images, labels, optimizer, recipe, device)

    return step


def plain_step(network: nn.Module, batches: Batches, recipe: Recipe) -> Step:
    """A step as PyTorch's tutorials write it."""
    optimizer = torch.optim.SGD(
        network.train().parameters(),
        lr=recipe.start_learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )

    def step() -> None:
        images, labels = next(batches)
        loss = F.cross_entropy(network(images.contiguous()), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def prediction(network: nn.Module, images: Tensor, recipe: Recipe) -> Step:
    """A forward pass as evaluation takes it."""
    network.eval()
    images = images.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def step() -> Tensor:
        return logits_of(network, images, recipe, images.device)

    return step


def matrix_product(size: int, recipe: Recipe, device: torch.device) -> Step:
    left, right = torch.randn(2, size, size, device=device, dtype=getattr(torch, recipe.precision))
    return lambda: left @ right


def peak_bytes(network: nn.Module, step: Step, device: torch.device) -> int:
    """Bytes of the weights and, at most, of the tensors that the step allocates."""
    weights = sum(tensor.nbytes for tensor in itertools.chain(network.parameters(), network.buffers()))
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return weights + torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_bytes())["traceEvents"]
    return weights + max(event["args"]["Total Allocated"] for event in events if event["name"] == "[memory]")


# Rounds


@dataclass(frozen=True)
class Job:
    """What a round measures: `step` at a number of threads; `values` gets the seconds, or `work` a second."""

    step: Step
    threads: int
    values: list[float]
    work: float | None = None

    def measure(self, seconds: float) -> None:
        """Take at least one step, after one to warm up, and steps for `seconds` at least."""
        timer = Timer("step()", globals={"step": self.step}, num_threads=self.threads)
        median = timer.blocked_autorange(min_run_time=seconds).median
        self.values.append(self.work / median if self.work else median)


def prepare(recipe: Recipe, device: torch.device) -> tuple[dict, list[Job]]:
    """The fields `matmul` and `entries` of Benchmark, without values, and the jobs that fill them."""
    torch.manual_seed(0)
    batch_size, size = recipe.batch_size, MATMUL_SIZE[device.type]
    threads = sorted({1, torch.get_num_threads()} if device.type == "cpu" else {torch.get_num_threads()})
    split = load_dataset("shapes", num_classes=10, train_images=4 * batch_size + 10, val_images=10).train
    batches = endless_batches(to_device(split, device), recipe, device)
    result: dict = {"matmul": {count: [] for count in threads}, "entries": []}
    product = matrix_product(size, recipe, device)
    jobs = [Job(product, count, values, size**3) for count, values in result["matmul"].items()]

    def add(name: str, variant: str, network: nn.Module, step: Step | None, predicts: bool) -> None:
        entry = {
            "network": name,
            "variant": variant,
            "precision": "float32" if variant == "plain" else recipe.precision,
            "macs": forward_macs(network, recipe.crop),
        }
        result["entries"].append(entry)
        if step:
            entry["training"] = {count: [] for count in threads}
            jobs.extend(Job(step, count, values, batch_size) for count, values in entry["training"].items())
        if predicts:
            entry["latency"] = {images: [] for images in LATENCY_IMAGES}
            still = deepcopy(network)
            for images, values in entry["latency"].items():
                inputs = torch.randn(images, 3, recipe.crop, recipe.crop, device=device)
                step = prediction(still, inputs, recipe)
                jobs.append(Job(step, threads[0], values))
                entry["peak_bytes"] = peak_bytes(still, step, device)

    def network_to_device(network: nn.Module, layout: torch.memory_format = torch.channels_last) -> nn.Module:
        return network.to(device, memory_format=layout)

    for block in BLOCKS:
        network = network_to_device(Network(block, CLASSES), memory_format(block))
        add(block, "project", network, project_step(network, batches, recipe, device), predicts=True)
        if block == "se_cond":
            still = network_to_device(folded(Network(block, CLASSES)))
            add(block, "folded", still, None, predicts=True)
    for block in BLOCKS:
        network = network_to_device(with_timm_blocks(Network(block, CLASSES)))
        add(block, "timm", network, project_step(network, batches, recipe, device), predicts=False)
    for block in BLOCKS:
        network = with_timm_blocks(Network(block, CLASSES)).to(device)
        add(block, "plain", network, plain_step(network, batches, recipe), predicts=False)
    for name in BASELINE_TITLES:
        network = network_to_device(baselines.build(baselines.find(name, CLASSES)))
        add(name, "torchvision", network, project_step(network, batches, recipe, device), predicts=False)
    return result, sorted(jobs, key=lambda job: job.threads)


def take_rounds(jobs: list[Job], seconds: float, minutes: float) -> Iterator[int]:
    """Yield the number of each whole round, from 1, until there is no time for another; at least one."""
    for step in dict.fromkeys(job.step for job in jobs):
        step()  # page faults, cuDNN's choices
    start, longest = time.monotonic(), 0.0
    for number in itertools.count(1):
        begun = time.monotonic()
        for job in jobs if number % 2 else reversed(jobs):
            job.measure(seconds)
        yield number
        longest = max(longest, time.monotonic() - begun)
        if time.monotonic() - start + longest > 60 * minutes:
            return


def describe(device: torch.device, recipe: Recipe) -> dict:
    """The other fields of Benchmark: where, with what and when."""
    load = os.getloadavg()[0]
    if load > QUIET:
        print(f"warning: the load average is {load:.1f}: this machine has other work.", file=sys.stderr)
    where = runtime.provenance(device)
    where["versions"] |= {name: metadata.version(name) for name in ("timm", "torchvision")}
    return where | {
        "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "load_average": round(load, 2),
        "batch_size": recipe.batch_size,
    }


def slug(device: dict) -> str:
    """The name of the device's file: lower case, with a CPU's threads."""
    words = [device["name"], *([f"{device['threads']} threads"] if "threads" in device else [])]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="no round ends later (default: 20)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement, at least (1)")
    parser.add_argument("--batch-size", type=int, help="default: 256 on a GPU, 32 on a CPU")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder")
    options = parser.parse_args(arguments)
    device, paper = runtime.pick_device(), RECIPES["paper"]
    torch.backends.cudnn.benchmark = device.type == "cuda"
    runtime.keep_freed_memory()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        batch_size = options.batch_size or (256 if device.type == "cuda" else 32)
        recipe = runtime.recipe_on(device, paper.scaled(paper.epochs, batch_size, paper.crop))
        head = describe(device, recipe)
        path = options.output / f"{slug(head['device'])}.json"
        result, jobs = prepare(recipe, device)
        for number in take_rounds(jobs, options.seconds, options.minutes):
            benchmark = Benchmark.model_validate(head | result)
            content = benchmark.model_dump_json(indent=1).encode()
            write_atomically(path, lambda file, content=content: file.write(content))
            print(f"round {number}: {len(jobs)} measurements, written to {path}", file=sys.stderr)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the whole rounds so far are kept.", file=sys.stderr)
        return 130
    print(speed_table([benchmark]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
