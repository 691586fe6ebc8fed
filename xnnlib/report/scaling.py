"""How fast several GPUs would train: a model on paper, not a measurement.

A step of N GPUs that share a batch of fixed size takes

    t(N) = t(1) / N  +  2 (N - 1) / N * G / B  +  (1 + S) * 2 ceil(log2 N) * a

with t(1) the step of one GPU, G the bytes of the gradients, B the speed and a the delay of a link, and S the
collective operations of synchronised batch norm, two for each layer. The second term is the ring all-reduce
(Patarasuk and Yuan, Journal of Parallel and Distributed Computing 69, 2009, 117-124), the third the delay of
a tree; nothing is taken to overlap, which makes the model careful.
"""

from math import ceil, log2
from typing import NamedTuple

from torch import nn

from xnnlib.model import untrained
from xnnlib.records import Run
from xnnlib.report.numbers import Number, run_source
from xnnlib.report.tables import Table
from xnnlib.spec import NetworkSpec

GPUS = (1, 2, 4, 8, 16, 32, 64)
FLOAT32_BYTES = 4


class Link(NamedTuple):
    """What joins GPUs: bytes a second in one direction, and seconds of delay for one message."""

    title: str
    speed: float
    delay: float
    source: str


# Speeds are the makers'; the delays are round figures for one message of a collective operation.
LINKS = (
    Link("NVLink 4", 450e9, 5e-6, "NVIDIA H100 data sheet: 900 GB/s, both directions together"),
    Link("Ethernet, 100 Gbit/s", 12.5e9, 20e-6, "100 Gbit/s"),
)
POLICIES = ("per_process", "synchronised")

# What one data-centre GPU is taken to train of block A where no run on one is among the records.
ASSUMED_IMAGES_PER_SECOND = 24_000.0
BATCH_SIZE = 256


class Single(NamedTuple):
    """One GPU: images a second and images a step of block A, and where they are from."""

    images_per_second: float
    batch_size: int
    source: str
    measured: bool


def single_gpu(runs: list[Run]) -> Single:
    """Block A on one GPU as the runs measured it, else as it is assumed."""
    for run in runs:
        device = run.record["device"]
        if run.record["block"] == "standard" and device["type"] == "cuda" and "count" not in device:
            rate, batch = run.record["images_per_second"], run.record["recipe"]["batch_size"]
            return Single(rate, batch, run_source([run]), True)
    return Single(ASSUMED_IMAGES_PER_SECOND, BATCH_SIZE, "assumed, not measured", False)


def gradient_bytes() -> int:
    """Bytes of block A's gradients in single precision."""
    return FLOAT32_BYTES * sum(weights.numel() for weights in untrained(NetworkSpec()).parameters())


def batch_norm_layers() -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in untrained(NetworkSpec()).modules())


def images_per_second(single: Single, gpus: int, link: Link, policy: str) -> float:
    """Images a second of `gpus` GPUs that share the batch of one, by the module's formula."""
    step = single.batch_size / single.images_per_second / gpus
    if gpus > 1:
        collectives = 1 + (2 * batch_norm_layers() if policy == "synchronised" else 0)
        step += 2 * (gpus - 1) / gpus * gradient_bytes() / link.speed
        step += collectives * 2 * ceil(log2(gpus)) * link.delay
    return single.batch_size / step


def useful_gpus(single: Single, link: Link, policy: str) -> int:
    """The most GPUs of GPUS that each still do half the work of one alone."""
    rates = {gpus: images_per_second(single, gpus, link, policy) for gpus in GPUS}
    return max(gpus for gpus in GPUS if rates[gpus] >= 0.5 * gpus * single.images_per_second)


def scaling_table(runs: list[Run]) -> Table:
    """Expected images a second, and its share of N times one GPU's, for each link and batch-norm policy."""
    single = single_gpu(runs)
    ways = [(link, policy) for link in LINKS for policy in POLICIES]
    columns = ("GPUs", *(f"{link.title}, {policy.replace('_', ' ')}" for link, policy in ways))
    rows = []
    for gpus in GPUS:
        rates = [images_per_second(single, gpus, link, policy) for link, policy in ways]
        shares = [rate / (gpus * single.images_per_second) for rate in rates]
        cells = [f"{rate:,.0f} ({share:.0%})" for rate, share in zip(rates, shares, strict=True)]
        rows.append((str(gpus), *cells))
    return Table(columns, "r" * len(columns), tuple(rows))


def scaling_numbers(runs: list[Run]) -> dict[str, Number]:
    """What the page beside the table names."""
    single, model = single_gpu(runs), "xnnlib.report.scaling"
    step = single.batch_size / single.images_per_second
    found = {
        "images_per_second": Number(f"{single.images_per_second:,.0f}", single.source),
        "origin": Number("measured" if single.measured else "assumed, not measured", single.source),
        "batch_size": Number(str(single.batch_size), single.source),
        "step_milliseconds": Number(f"{1e3 * step:.1f}", single.source),
        "gradient_megabytes": Number(f"{gradient_bytes() / 1e6:.1f}", "xnnlib.model"),
        "batch_norm_layers": Number(str(batch_norm_layers()), "xnnlib.model"),
    }
    for name, link in zip(("nvlink", "ethernet"), LINKS, strict=True):
        found[f"{name}.gigabytes_per_second"] = Number(f"{link.speed / 1e9:g}", link.source)
        for policy in POLICIES:
            found[f"{name}.{policy}.useful_gpus"] = Number(str(useful_gpus(single, link, policy)), model)
    return {f"scaling.{key}": number for key, number in found.items()}
