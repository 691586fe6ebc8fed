"""What `benchmarks/benchmark.py` measured: one JSON file a device; its table and numbers."""

from itertools import permutations
from pathlib import Path
from statistics import median, quantiles
from typing import Literal

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, ValidationError

from xnnlib.errors import UserError, explain
from xnnlib.report.estimates import Estimate
from xnnlib.report.numbers import Number
from xnnlib.report.summary import BASELINE_TITLES, letter
from xnnlib.report.tables import Table
from xnnlib.spec import BLOCKS

DASH = "\N{EN DASH}"
NETWORK_TITLES = {block: letter(block) for block in BLOCKS} | BASELINE_TITLES
VARIANT_TITLES = {
    "project": "this project",
    "folded": "folded",
    "timm": "timm",
    "plain": "timm, plain",
    "torchvision": "torchvision",
}
Rounds = list[PositiveFloat]


def median_and_quartiles(rounds: Rounds) -> Estimate:
    """The median over the rounds, with the quartiles as interval."""
    lower, _, upper = quantiles(rounds, method="inclusive") if len(rounds) > 1 else rounds * 3
    return Estimate(median(rounds), (lower, upper))


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

    def measured(self) -> dict[str, Estimate]:
        """What the text may name, at the fewest threads; of two blocks' images/s the rounds' ratios."""
        threads, found, rates = min(self.matmul), {}, {}
        for entry in self.entries:
            name = entry.network if entry.variant == "project" else f"{entry.network}.{entry.variant}"
            if threads in entry.training:
                rates[name] = found[f"{name}.images_per_second"] = entry.training[threads]
            for images, seconds in entry.latency.items():
                found[f"{name}.milliseconds_{images}"] = [1000 * value for value in seconds]
        for block, base in permutations([block for block in BLOCKS if block in rates], 2):
            pairs = zip(rates[block], rates[base], strict=True)
            found[f"{block}.over_{base}"] = [rate / other for rate, other in pairs]
        return {name: median_and_quartiles(rounds) for name, rounds in found.items()}


def load_benchmarks(folder: Path) -> list[Benchmark]:
    """The files in `benchmarks/results`, the newest last; maybe none. Raises UserError on a damaged one."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(Benchmark.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            problem = explain(error).rstrip(".")
            raise UserError(
                f"{path} is damaged ({problem}); restore it, or move it away and run: make benchmark"
            ) from None
    return sorted(found, key=lambda benchmark: benchmark.started)


def latencies(benchmarks: list[Benchmark]) -> dict[str, float]:
    """Milliseconds of one image by block, on the processor that was measured last; empty if none was."""
    found = speed_numbers(benchmarks)
    keys = {block: f"speed.cpu.{block}.milliseconds_1" for block in BLOCKS}
    return {block: found[key].value for block, key in keys.items() if key in found}


def speed_table(benchmarks: list[Benchmark]) -> Table:
    """A heading for each device and a row for each entry; no rows where nothing was measured."""
    columns = ("Network", "Layers", "Images/s: one thread", "Images/s: all threads", "Share of bound (%)")
    columns += ("Latency (ms): 1 image", "Latency (ms): 32 images", "Memory (MB)")
    rows = []
    for found in benchmarks:
        rows.append(found.title)
        for entry in found.entries:
            most = max(entry.training, default=1)
            rows.append(
                (
                    NETWORK_TITLES[entry.network],
                    VARIANT_TITLES[entry.variant],
                    _cell(entry.training.get(1)),
                    _cell(entry.training[most] if most > 1 else None),
                    _text(found.bound_share(entry)) if entry.training else DASH,
                    *(_cell(entry.latency.get(images), 1000) for images in (1, 32)),
                    f"{entry.peak_bytes / 1e6:,.0f}" if entry.peak_bytes else DASH,
                )
            )
    return Table(columns, "llrrrrrr", tuple(rows))


def _cell(rounds: Rounds | None, factor: float = 1) -> str:
    if rounds is None:
        return DASH
    value, interval = median_and_quartiles([factor * value for value in rounds])
    return f"{_text(value)} ({DASH.join(map(_text, interval))})"


def speed_numbers(benchmarks: list[Benchmark]) -> dict[str, Number]:
    """Numbers of the newest file of each type of device, `speed.cpu.` or `speed.cuda.` before each name.

    Each is the median over the rounds, with the quartiles as interval.
    """
    found = {}
    for benchmark in {one.device["type"]: one for one in benchmarks}.values():
        kind, device = f"speed.{benchmark.device['type']}", str(benchmark.device["name"])
        sources = (f"benchmarks/results, {benchmark.title}, commit {benchmark.commit[:10]}",)
        found[f"{kind}.device"] = Number.of(device, sources)
        for name, value in benchmark.measured().items():
            found[f"{kind}.{name}"] = Number(*value, _text(value.value), sources)
    return found


def _text(value: float) -> str:
    """Three significant digits, all digits from 100 on."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"
