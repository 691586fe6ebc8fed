"""What `benchmarks/steps.py` measured, as a table: the plain way, and what each step away from it brings."""

from collections.abc import Iterable

from xnnlib.report.settings import letter
from xnnlib.report.tables import Table
from xnnlib.report.throughput import DASH, Benchmark, device_table, rate
from xnnlib.spec import BLOCKS

TITLES = {
    "layers": "+ the project's layers, fused update",
    "memory": "+ freed memory kept",
    "channels_last": "+ channels last, but for C",
    "bfloat16": "+ bfloat16, where the device has it",
    "compiled": "+ torch.compile",
    "graphs": "+ CUDA graphs",
    "triton": "+ depthwise convolutions by Triton",
}


def step_table(benchmarks: list[Benchmark]) -> Table:
    """Images a second of each block with the first steps taken, one more from row to row, and over plain."""

    def rows(found: Benchmark) -> Iterable[tuple[str, ...]]:
        measured_rows = found.steps["rows"] if found.steps else ()
        measured = {(tuple(row["taken"]), row["network"]): row for row in measured_rows}
        for taken in dict.fromkeys(taken for taken, _ in measured):
            title = TITLES.get(taken[-1], taken[-1]) if taken else "plain"
            yield title, *(_cell(measured, taken, block) for block in BLOCKS)

    columns = ("Step", *(f"{letter(block)}: images/s (over plain)" for block in BLOCKS))
    return device_table(columns, "lrrr", benchmarks, rows)


def _cell(measured: dict, taken: tuple[str, ...], block: str) -> str:
    speed, plain = (measured.get((steps, block), {}).get("images_per_second") for steps in (taken, ()))
    if speed is None:
        return DASH
    return rate(speed) + (f" ({speed / plain:.2f})" if plain else "")
