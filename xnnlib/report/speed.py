"""What `benchmarks/benchmark.py` measured: one JSON file a device; its table and numbers."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, ValidationError

from xnnlib.errors import UserError, explain
from xnnlib.report.numbers import Number
from xnnlib.report.tables import Table
from xnnlib.spec import BLOCK_TITLES, BLOCKS

DASH = "\N{EN DASH}"
NETWORK_TITLES = {block: title[0] for block, title in BLOCK_TITLES.items()} | {
    "mobilenet_v2": "MobileNetV2",
    "efficientnet_b0": "EfficientNet-B0",
}
VARIANT_TITLES = {
    "project": "this project",
    "folded": "routing fixed, folded",
    "timm": "timm's layers",
    "plain": "timm's layers, plain step",
    "torchvision": "torchvision's",
}
Rounds = list[PositiveFloat]


class Spread(NamedTuple):
    """Median and quartiles over the rounds."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        lower, _, upper = quantiles(values, method="inclusive") if len(values) > 1 else values * 3
        return cls(median(values), lower, upper)

    def __str__(self) -> str:
        return f"{_text(self.median)} ({_text(self.lower)}{DASH}{_text(self.upper)})"


class Entry(BaseModel):
    """One network in one variant. Lists have one value for each round, the same rounds in all entries.

    `macs`: of the forward pass, for one image. `training`: images/s by the number of threads. `latency`:
    seconds of a forward pass by the number of images, at the fewest threads; `peak_bytes`: weights and what
    the pass of most images allocates.
    """

    network: Literal[tuple(NETWORK_TITLES)]
    variant: Literal[tuple(VARIANT_TITLES)]
    precision: str
    macs: PositiveInt
    training: dict[PositiveInt, Rounds] = {}
    latency: dict[PositiveInt, Rounds] = {}
    peak_bytes: PositiveInt | None = None

    @property
    def rates(self) -> dict[int, Spread]:
        """Images/s in training by the number of threads."""
        return {threads: Spread.of(rounds) for threads, rounds in self.training.items()}

    @property
    def milliseconds(self) -> dict[int, Spread]:
        """Latency by the number of images."""
        return {images: Spread.of([1000 * s for s in seconds]) for images, seconds in self.latency.items()}


class Benchmark(BaseModel):
    """One device's file. `matmul`: MACs/s of one large matrix product by threads, the bound on all others."""

    device: dict[str, str | int]
    versions: dict[str, str]
    commit: str
    started: str
    load_average: float  # of the machine before the first round: near 0 if it was quiet
    batch_size: PositiveInt
    matmul: dict[PositiveInt, Rounds] = Field(min_length=1)
    entries: list[Entry] = Field(min_length=1)

    @property
    def title(self) -> str:
        rounds = len(self.matmul[min(self.matmul)])
        return f"{self.device['name']}, {self.entries[0].precision}, rounds: {rounds}"

    def bound_share(self, entry: Entry) -> float:
        """MACs/s of training, three forward passes' worth a step, in percent of the matrix product's."""
        threads = min(entry.training)
        pairs = zip(entry.training[threads], self.matmul[threads], strict=True)
        return median(100 * 3 * entry.macs * rate / bound for rate, bound in pairs)

    def spreads(self) -> Iterator[tuple[str, Spread]]:
        """What the text may name, at the fewest threads. Ratios of images/s are taken round by round."""
        threads, rates = min(self.matmul), {}
        for entry in self.entries:
            name = entry.network if entry.variant == "project" else f"{entry.network}.{entry.variant}"
            if threads in entry.training:
                rates[name] = entry.training[threads]
                yield f"{name}.images_per_second", entry.rates[threads]
            for images, spread in entry.milliseconds.items():
                yield f"{name}.milliseconds_{images}", spread
            if entry.peak_bytes:
                yield f"{name}.megabytes", Spread.of([entry.peak_bytes / 1e6])
        for block in (block for block in BLOCKS if block in rates):
            bases = {base: base for base in BLOCKS} | {v: f"{block}.{v}" for v in ("timm", "plain")}
            for title, base in bases.items():
                if base in rates and base != block:
                    pairs = zip(rates[block], rates[base], strict=True)
                    yield f"{block}.over_{title}", Spread.of([rate / other for rate, other in pairs])


def load_benchmarks(folder: Path) -> list[Benchmark]:
    """The files in `benchmarks/results`, the newest last; maybe none. Raises UserError on a damaged one."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            benchmark = Benchmark.model_validate_json(path.read_bytes())
            rounds = [*benchmark.matmul.values()]
            for entry in benchmark.entries:
                rounds += [*entry.training.values(), *entry.latency.values()]
            problem = "its entries have different numbers of rounds" if len({*map(len, rounds)}) > 1 else ""
        except ValidationError as error:
            problem = explain(error).rstrip(".")
        if problem:
            raise UserError(f"{path} is damaged ({problem}); delete it and run: make benchmark")
        found.append(benchmark)
    return sorted(found, key=lambda benchmark: benchmark.started)


def speed_table(benchmarks: list[Benchmark]) -> Table:
    """A heading for each device and a row for each entry; no rows where nothing was measured."""
    columns = ("Network", "Layers", "Images/s, one thread", "Images/s, all threads", "Share of bound (%)")
    columns += ("1 image (ms)", "32 images (ms)", "Memory (MB)")
    rows = []
    for found in benchmarks:
        rows.append(found.title)
        for entry in found.entries:
            rates, latency = entry.rates, entry.milliseconds
            values = [
                rates.get(1),
                rates[max(rates)] if rates.keys() - {1} else None,
                _text(found.bound_share(entry)) if rates else None,
                latency.get(1),
                latency.get(32),
                f"{entry.peak_bytes / 1e6:,.0f}" if entry.peak_bytes else None,
            ]
            titles = (NETWORK_TITLES[entry.network], VARIANT_TITLES[entry.variant])
            rows.append((*titles, *(DASH if value is None else str(value) for value in values)))
    return Table(columns, "llrrrrrr", tuple(rows))


def speed_numbers(benchmarks: list[Benchmark]) -> dict[str, Number]:
    """Numbers of the newest file of each type of device, `speed.cpu.` or `speed.cuda.` before each name.

    Each is the median over the rounds, with the quartiles as interval.
    """
    found = {}
    for benchmark in benchmarks:
        kind, device = f"speed.{benchmark.device['type']}", str(benchmark.device["name"])
        sources = (f"benchmarks/results, {benchmark.title}, commit {benchmark.commit[:10]}",)
        found[f"{kind}.device"] = Number.of(device, sources)
        for name, spread in benchmark.spreads():
            quartiles = (spread.lower, spread.upper)
            found[f"{kind}.{name}"] = Number(spread.median, quartiles, _text(spread.median), sources)
    return found


def _text(value: float) -> str:
    """Three significant digits, all digits from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"
