"""The numbers of the throughput benchmark that a page may name, and the project's goals held to them."""

from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from xnnlib.records import Run
from xnnlib.report.numbers import Number, run_source
from xnnlib.report.scaling import ASSUMED_IMAGES_PER_SECOND
from xnnlib.report.settings import letter
from xnnlib.report.tables import Table
from xnnlib.report.throughput import DASH, Benchmark, rate
from xnnlib.spec import BLOCKS

# What stands where a number will be, for each type of device.
WAITING = {"cpu": "not measured", "cuda": "waits for a GPU"}
NO_DEVICE = {"cpu": "no processor so far", "cuda": "no GPU so far"}

GOAL_DEVICE, GOAL_BATCH_SIZE = "H100", 256
GOAL_EPOCHS, GOAL_IMAGES, GOAL_MINUTES = 55, 50_000, 3
GOAL_STEP_RATIOS = {("se", "standard"): 1.15, ("se_cond", "se"): 1.4}
GOAL_SPEEDUP = 3


class Goal(NamedTuple):
    """A figure to reach: `measured` is None where nothing was, and `device` the type that it is asked of."""

    title: str
    device: str
    measured: float | None
    digits: int
    at_least: float = 0.0
    at_most: float = float("inf")
    where: str = DASH

    @property
    def state(self) -> str:
        """Met, not met, or what it waits for."""
        if self.measured is None:
            return WAITING[self.device]
        return "met" if self.at_least <= self.measured <= self.at_most else "not met"

    def cells(self) -> tuple[str, ...]:
        """The goal's row: title, margin, measured figure, device and state."""
        margin = "reported"
        if self.at_least:
            margin = f"at least {self.at_least:,g}"
        elif self.at_most < float("inf"):
            margin = f"at most {self.at_most:,g}"
        shown = DASH if self.measured is None else f"{self.measured:,.{self.digits}f}"
        return (self.title, margin, shown, self.where, self.state)


def latest(benchmarks: list[Benchmark], kind: str) -> Benchmark | None:
    """The newest results of a type of device, `cpu` or `cuda`, if there are any."""
    found = _of_kind(benchmarks, kind)
    return max(found, key=lambda benchmark: benchmark.results["started"], default=None)


def _of_kind(benchmarks: list[Benchmark], kind: str) -> list[Benchmark]:
    return [benchmark for benchmark in benchmarks if benchmark.results["device"]["type"] == kind]


def goals(benchmarks: list[Benchmark], runs: list[Run]) -> list[Goal]:
    """The project's goals for speed, with what was measured of each, on every processor there is."""
    asked = [benchmark for benchmark in benchmarks if _is_asked(benchmark)]
    processors = _of_kind(benchmarks, "cpu") or [None]
    on_processors = (goal for processor in processors for goal in _cpu_goals(processor))
    return [*_gpu_goals(latest(asked, "cuda")), _training_goal(runs), *on_processors]


def _gpu_goals(benchmark: Benchmark | None) -> Iterator[Goal]:
    at = f"one {GOAL_DEVICE}, batch of {GOAL_BATCH_SIZE}"
    place = benchmark.device if benchmark else DASH
    rows = {block: benchmark.row(block) if benchmark else None for block in BLOCKS}
    speed = rows["standard"] and rows["standard"]["images_per_second"]
    yield Goal(f"Images/s of A, {at}", "cuda", speed, 0, at_least=ASSUMED_IMAGES_PER_SECOND, where=place)
    for (block, base), most in GOAL_STEP_RATIOS.items():
        title = f"Step of {letter(block)} over {letter(base)}'s, {at}"
        yield Goal(title, "cuda", _step_ratio(benchmark, block, base), 2, at_most=most, where=place)
    for block, row in rows.items():
        memory = row and row["peak_memory_megabytes"]
        yield Goal(f"Peak memory of {letter(block)} in MB, {at}", "cuda", memory, 0, where=place)


def _training_goal(runs: list[Run]) -> Goal:
    whole = [run for run in runs if _is_whole(run)]
    minutes = max((run.record["train_seconds"] / 60 for run in whole), default=None)
    title = f"Minutes of training A, {GOAL_EPOCHS} epochs of {GOAL_IMAGES:,} images with validation"
    place = run_source(whole) or DASH
    return Goal(f"{title}, one {GOAL_DEVICE}", "cuda", minutes, 2, at_most=GOAL_MINUTES, where=place)


def _cpu_goals(benchmark: Benchmark | None) -> Iterator[Goal]:
    place = benchmark.device if benchmark else DASH
    for block in BLOCKS:
        title = f"Images/s of {letter(block)} over the plain model's, a processor"
        yield Goal(title, "cpu", _speedup(benchmark, block), 2, at_least=GOAL_SPEEDUP, where=place)


def goal_table(benchmarks: list[Benchmark], runs: list[Run]) -> Table:
    """Each goal with its margin, what was measured and where, and whether it is met."""
    columns = ("Goal", "Asked", "Measured", "On", "State")
    return Table(columns, "llrll", tuple(goal.cells() for goal in goals(benchmarks, runs)))


def _is_asked(benchmark: Benchmark) -> bool:
    results = benchmark.results
    return GOAL_DEVICE in results["device"]["name"] and results["settings"]["batch_size"] == GOAL_BATCH_SIZE


def _is_whole(run: Run) -> bool:
    """Whether the run is the one that the goal for a whole training asks of one GPU."""
    record = run.record
    device, size = record["device"], (record["epochs"], record["dataset"]["train_images"])
    one = device["type"] == "cuda" and GOAL_DEVICE in device["name"] and "count" not in device
    return one and record["block"] == "standard" and size == (GOAL_EPOCHS, GOAL_IMAGES)


def _ratio(over: dict | None, under: dict | None, field: str = "images_per_second") -> float | None:
    return over[field] / under[field] if over and under else None


def _step_ratio(benchmark: Benchmark | None, block: str, base: str) -> float | None:
    return benchmark and _ratio(benchmark.row(block), benchmark.row(base), "step_milliseconds")


def _speedup(benchmark: Benchmark | None, block: str) -> float | None:
    """The median over the rounds in which both ways were measured in turn, or the ratio of the two rows."""
    ratios = benchmark.ratios(block) if benchmark else []
    return median(ratios) if ratios else _rows_speedup(benchmark, block, "model")


def _rows_speedup(benchmark: Benchmark | None, block: str, scope: str) -> float | None:
    return benchmark and _ratio(benchmark.row(block, scope=scope), benchmark.row(block, "plain", scope))


def speed_numbers(benchmarks: list[Benchmark]) -> dict[str, Number]:
    """The newest results of a processor and of a GPU, `speed.cpu` and `speed.cuda`, under the same keys.

    Every key is always there: a number that was not measured says so, or that it waits for a GPU.
    """
    found = {}
    for kind, waiting in WAITING.items():
        benchmark = latest(benchmarks, kind)
        source = benchmark.source if benchmark else waiting
        values = _shared(benchmark) | {"device": benchmark.device if benchmark else NO_DEVICE[kind]}
        for block in BLOCKS:
            values |= {f"{block}.{name}": text for name, text in _of_block(benchmark, block).items()}
        for block, base in GOAL_STEP_RATIOS:
            values[f"{block}.step_ratio"] = _text(_step_ratio(benchmark, block, base), ".2f")
        found |= {f"speed.{kind}.{name}": Number(text or waiting, source) for name, text in values.items()}
    return found


def _shared(benchmark: Benchmark | None) -> dict[str, str]:
    settings = benchmark.results["settings"] if benchmark else {}
    copied = benchmark.results["copy_gigabytes_per_second"] if benchmark else None
    counts = {name: _text(settings.get(name), "d") for name in ("batch_size", "repeats", "rounds")}
    return counts | {"copy_gigabytes_per_second": _text(copied, ",.1f")}


def _of_block(benchmark: Benchmark | None, block: str) -> dict[str, str]:
    def value(name: str, way: str = "xnnlib", scope: str = "model") -> float | None:
        row = benchmark.row(block, way, scope) if benchmark else None
        return row[name] if row else None

    def speed(**place: str) -> str:
        measured = value("images_per_second", **place)
        return "" if measured is None else rate(measured)

    limit = benchmark.results["roofline"].get(block) if benchmark else None
    ratios = benchmark.ratios(block) if benchmark else []
    compiled = benchmark and _ratio(benchmark.row(block, "timm-compiled"), benchmark.row(block, "timm-eager"))
    return {
        "images_per_second": speed(),
        "end_to_end.images_per_second": speed(scope="end-to-end"),
        "plain.images_per_second": speed(way="plain"),
        "step_milliseconds": _text(value("step_milliseconds"), ",.1f"),
        "peak_memory_megabytes": _text(value("peak_memory_megabytes"), ",.0f"),
        "speedup": _text(_speedup(benchmark, block), ".2f") + _range(ratios),
        "end_to_end.speedup": _text(_rows_speedup(benchmark, block, "end-to-end"), ".2f"),
        "compiled_ratio": _text(compiled, ".2f"),
        "roofline_percent": _text(limit and 100 * limit["share"], ".0f"),
    }


def _range(values: list[float]) -> str:
    """The lowest and the highest in brackets; nothing where there are fewer than two."""
    return f" ({min(values):.2f}{DASH}{max(values):.2f})" if len(values) > 1 else ""


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
