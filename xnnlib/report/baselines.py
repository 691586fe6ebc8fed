"""The networks that the paper's came from, beside its own blocks, on the same images for as many epochs."""

from collections.abc import Mapping, Sequence

from xnnlib.records import Run
from xnnlib.report.experiments import Experiment
from xnnlib.report.numbers import Number
from xnnlib.report.plots import GREY, accuracy_against_costs, cost_row
from xnnlib.report.speed import Benchmark, speed_numbers
from xnnlib.report.style import COLORS, MARKERS, PaperFigure, applied
from xnnlib.report.summary import by_block, each_top1, is_baseline
from xnnlib.report.tables import Table
from xnnlib.spec import BLOCKS

COSTS = {
    "macs": "MACs of one image (millions)",
    "coefficients": "Coefficients (millions)",
    "speed": "Training, images/s",
}
# What a block has in common with the baselines, if nothing else is changed.
ALIKE = {"depthwise_fan_out": "layer"}
# In the order of the list of profiles; a block has its own.
OTHER_MARKERS = ("v", "P", "X", "D", "*", "<", ">", "p")


def compared(experiments: Sequence[Experiment], benchmarks: Sequence[Benchmark]) -> list[dict]:
    """A, B and C at the baselines' budget, then the baselines; none if no baseline was run.

    torchvision takes a depthwise filter's fan-out over the whole layer: of a block that was trained from such
    filters as well, those runs are compared. Each has `name`, `top1` of each seed, `macs` and `coefficients`
    in millions, and `speed`, images/s of training by one thread, None where the benchmark has not measured
    it; `title` and `cells` are their text.
    """
    found = [one for one in experiments if is_baseline(one.runs[0])]
    base = found[0].base if found else []
    found = [one for one in found if one.base == base]
    alike = (one for one in experiments if one.base == base and one.changes() == ALIKE)
    groups = by_block(base) | {one.block: one.runs for one in alike}
    groups |= {one.runs[0].record["network"]["model"]: one.runs for one in found}
    measured = speed_numbers(benchmarks)
    return [_row(name, runs, measured) for name, runs in groups.items()]


def _row(name: str, runs: Sequence[Run], measured: Mapping[str, Number]) -> dict:
    row, variant = cost_row(name, runs), "" if name in BLOCKS else ".torchvision"
    speed = measured.get(f"speed.cpu.{name}{variant}.images_per_second")
    cells = (f"{row['macs']:.1f}", f"{row['coefficients']:.2f}", speed.text if speed else "")
    return row | {"speed": speed.value if speed else None, "cells": (*cells, ", ".join(each_top1(runs)))}


def baseline_table(experiments: Sequence[Experiment], benchmarks: Sequence[Benchmark]) -> Table:
    """Each network: its costs, how fast it trains, and the accuracy of each seed."""
    columns = ("Network", "MACs (M)", "Coefficients (M)", "Images/s", "Top-1 of each seed (%)")
    rows = ((row["title"], *row["cells"]) for row in compared(experiments, benchmarks))
    return Table(columns, "lrrrr", tuple(rows))


@applied()
def figure_9(experiments: Sequence[Experiment], benchmarks: Sequence[Benchmark]) -> PaperFigure:
    """Top-1 of each network against its costs, as Figure 6 shows the blocks alone."""
    rows, others = compared(experiments, benchmarks), iter(OTHER_MARKERS)
    for row in rows:
        name = row["name"]
        row["look"] = {"color": COLORS.get(name, GREY)}
        row["look"]["marker"] = MARKERS[name] if name in MARKERS else next(others)
    measured = {cost: label for cost, label in COSTS.items() if any(row[cost] is not None for row in rows)}
    return accuracy_against_costs(rows, measured)
