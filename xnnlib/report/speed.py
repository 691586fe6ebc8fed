"""What `benchmarks/benchmark.py` measured: one JSON file a device; its table and numbers."""

from pathlib import Path
from statistics import median, quantiles
from typing import Literal, NamedTuple

from pydantic import (
    BaseModel,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    computed_field,
    model_validator,
)

from xnnlib.errors import UserError
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
        return f"{_text(self.median)} ({self.quartiles})"

    @property
    def quartiles(self) -> str:
        return f"{_text(self.lower)}{DASH}{_text(self.upper)}"


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

    @computed_field  # for who reads the file
    @property
    def images_per_second(self) -> dict[int, Spread]:
        return {threads: Spread.of(rates) for threads, rates in self.training.items()}


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

    @model_validator(mode="after")
    def same_rounds(self) -> "Benchmark":
        lists = [*self.matmul.values()]
        for entry in self.entries:
            lists += [*entry.training.values(), *entry.latency.values()]
        if len({len(values) for values in lists}) > 1:
            raise ValueError("its entries have different numbers of rounds")
        return self

    @property
    def title(self) -> str:
        rounds = len(self.matmul[min(self.matmul)])
        return f"{self.device['name']}, {self.entries[0].precision}, rounds: {rounds}"

    def bound_share(self, entry: Entry) -> float:
        """MACs/s of training, three forward passes' worth a step, in percent of the matrix product's."""
        threads = min(entry.training)
        pairs = zip(entry.training[threads], self.matmul[threads], strict=True)
        return median(100 * 3 * entry.macs * rate / bound for rate, bound in pairs)

    def ratios(self, threads: int) -> dict[str, Spread]:
        """Images/s in training, round by round: block over block, and the project over its baselines."""
        rates = {(e.network, e.variant): e.training[threads] for e in self.entries if threads in e.training}
        pairs = {f"{a}.over_{b}": ((a, "project"), (b, "project")) for a in BLOCKS for b in BLOCKS if a != b}
        pairs |= {f"{a}.over_{v}": ((a, "project"), (a, v)) for a in BLOCKS for v in ("timm", "plain")}
        return {
            name: Spread.of([rate / base for rate, base in zip(rates[over], rates[under], strict=True)])
            for name, (over, under) in pairs.items()
            if over in rates and under in rates
        }


def load_benchmarks(folder: Path) -> list[Benchmark]:
    """The files in `benchmarks/results`, the newest last; maybe none. Raises UserError on a damaged one."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(Benchmark.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            problem = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
            raise UserError(f"{path} is damaged ({problem}); delete it and run: make benchmark") from None
    return sorted(found, key=lambda benchmark: benchmark.started)


def speed_table(benchmarks: list[Benchmark]) -> Table:
    """A heading for each device and a row for each entry; no rows where nothing was measured."""
    columns = ("Network", "Layers", "Images/s, one thread", "Images/s, all threads", "Share of bound (%)")
    columns += ("1 image (ms)", "32 images (ms)", "Memory (MB)")
    rows = []
    for found in benchmarks:
        rows += [found.title, *(_cells(found, entry) for entry in found.entries)]
    return Table(columns, "llrrrrrr", tuple(rows))


def _cells(found: Benchmark, entry: Entry) -> tuple[str, ...]:
    rates = entry.images_per_second
    one = rates.get(1)
    every = rates.get(max(rates)) if rates.keys() - {1} else None
    latencies = [entry.latency.get(images) for images in (1, 32)]
    return (
        NETWORK_TITLES[entry.network],
        VARIANT_TITLES[entry.variant],
        *(str(spread) if spread else DASH for spread in (one, every)),
        _text(found.bound_share(entry)) if rates else DASH,
        *(str(Spread.of([1000 * s for s in seconds])) if seconds else DASH for seconds in latencies),
        f"{entry.peak_bytes / 1e6:,.0f}" if entry.peak_bytes else DASH,
    )


def speed_numbers(benchmarks: list[Benchmark]) -> dict[str, Number]:
    """Numbers of the newest file of each type of device, `speed.cpu.` or `speed.cuda.` before each name.

    `<block>.images_per_second` and the ratios, at the fewest threads: median over the rounds, and as interval
    the quartiles, which `<name>.quartiles` shows.
    """
    found = {}
    for benchmark in benchmarks:
        kind, threads = f"speed.{benchmark.device['type']}", min(benchmark.matmul)
        sources = (f"benchmarks/results, {benchmark.title}, commit {benchmark.commit[:10]}",)
        spreads = benchmark.ratios(threads) | {
            f"{entry.network}.images_per_second": entry.images_per_second[threads]
            for entry in benchmark.entries
            if entry.variant == "project" and threads in entry.training
        }
        device = str(benchmark.device["name"])
        found[f"{kind}.device"] = Number(device, None, device, sources)
        for name, spread in spreads.items():
            quartiles = (spread.lower, spread.upper)
            found[f"{kind}.{name}"] = Number(spread.median, quartiles, _text(spread.median), sources)
            found[f"{kind}.{name}.quartiles"] = Number(spread.quartiles, None, spread.quartiles, sources)
    return found


def _text(value: float) -> str:
    """Three significant digits, all digits from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"
