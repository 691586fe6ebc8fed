"""What the project gains in speed, by the throughput benchmark, and its goals held to that."""

from collections.abc import Iterable, Iterator
from statistics import median
from typing import NamedTuple

from xnnlib.records import Run
from xnnlib.report.numbers import Number, run_source
from xnnlib.report.scaling import ASSUMED_IMAGES_PER_SECOND
from xnnlib.report.settings import letter
from xnnlib.report.tables import Table
from xnnlib.report.throughput import DASH, Benchmark, device_table, rate
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


def _of_kind(benchmarks: list[Benchmark], kind: str) -> list[Benchmark]:
    return [benchmark for benchmark in benchmarks if benchmark.results["device"]["type"] == kind]


def goals(benchmarks: list[Benchmark], runs: list[Run]) -> list[Goal]:
    """The project's goals for speed, with what was measured of each, on every processor there is."""
    asked = (benchmark for benchmark in _of_kind(benchmarks, "cuda") if _is_asked(benchmark))
    newest = max(asked, key=lambda benchmark: benchmark.results["started"], default=None)
    processors = _of_kind(benchmarks, "cpu") or [None]
    on_processors = (goal for processor in processors for goal in _cpu_goals(processor))
    return [*_gpu_goals(newest), _training_goal(runs), *on_processors]


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
        speedup = benchmark and _speedup(benchmark, block)
        yield Goal(title, "cpu", speedup, 2, at_least=GOAL_SPEEDUP, where=place)


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


def _speedup(benchmark: Benchmark, block: str) -> float | None:
    """The median over the rounds in which both ways were measured in turn, or the ratio of the two rows."""
    ratios = benchmark.ratios(block)
    return median(ratios) if ratios else _ratio(benchmark.row(block), benchmark.row(block, "plain"))


def gain_table(benchmarks: list[Benchmark]) -> Table:
    """What each block gains: the project's step over the plain one, `torch.compile` over timm's layers."""
    columns = ("Measured", *(letter(block) for block in BLOCKS))
    return device_table(columns, "lrrr", benchmarks, _gains)


def _gains(benchmark: Benchmark) -> Iterator[tuple[str, ...]]:
    ways = ("timm-compiled", "timm-eager")
    compiled, eager = ([benchmark.row(block, way) for block in BLOCKS] for way in ways)
    end_to_end = [benchmark.row(block, scope="end-to-end") for block in BLOCKS]
    plain = [benchmark.row(block, "plain", "end-to-end") for block in BLOCKS]
    yield "Images/s", *(_rate(benchmark.row(block)) for block in BLOCKS)
    yield "over plain", *(_rounds(benchmark, block) for block in BLOCKS)
    yield "Images/s, end to end", *map(_rate, end_to_end)
    yield "over plain, end to end", *map(_text, map(_ratio, end_to_end, plain))
    yield "timm's layers, compiled over not", *map(_text, map(_ratio, compiled, eager))


def _rounds(benchmark: Benchmark, block: str) -> str:
    """The median ratio and, in brackets, the lowest and the highest of several rounds."""
    ratios = benchmark.ratios(block)
    lowest_highest = f" ({min(ratios):.2f}{DASH}{max(ratios):.2f})" if len(ratios) > 1 else ""
    return _text(_speedup(benchmark, block)) + lowest_highest


def _rate(row: dict | None) -> str:
    return rate(row["images_per_second"]) if row else DASH


def _text(ratio: float | None) -> str:
    return DASH if ratio is None else f"{ratio:.2f}"


def speed_numbers(benchmarks: list[Benchmark]) -> dict[str, Number]:
    """The devices and the settings of what was measured, on processors `speed.cpu`, on GPUs `speed.cuda`.

    Every key is always there: without such a device it says so, or that it waits for a GPU.
    """
    found = {}
    for kind, waiting in WAITING.items():
        measured = _of_kind(benchmarks, kind)
        source = "; ".join(benchmark.source for benchmark in measured) or waiting
        devices = _joined(benchmark.device for benchmark in measured)
        found[f"speed.{kind}.devices"] = Number(devices or NO_DEVICE[kind], source)
        for name in ("batch_size", "repeats", "rounds"):
            values = _joined(str(benchmark.results["settings"][name]) for benchmark in measured)
            found[f"speed.{kind}.{name}"] = Number(values or waiting, source)
    return found


def _joined(values: Iterable[str]) -> str:
    """Each of them once."""
    return "; ".join(dict.fromkeys(values))
