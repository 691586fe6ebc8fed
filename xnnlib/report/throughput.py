"""What the benchmarks of speed measured, read from their files, as tables.

`benchmarks/throughput.py` writes one `benchmarks/results/<device>/throughput.json` for each device,
`benchmarks/layers.py` and `benchmarks/steps.py` a `layers.json` and a `steps.json` beside it. A table
shows all devices that there are; where they are several, each is a heading above its rows.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from xnnlib.errors import UserError
from xnnlib.record_check import COUNT, LIST, NUMBER, OBJECT, POSITIVE, TEXT, WHOLE, check_fields
from xnnlib.report.numbers import device_title
from xnnlib.report.settings import letter
from xnnlib.report.tables import Table
from xnnlib.spec import BLOCK_TITLES, BLOCKS

FILE, LAYERS_FILE, STEPS_FILE = "throughput.json", "layers.json", "steps.json"
NOT_RUN = Table(("Result",), "l", (("No benchmark has been run; make benchmark runs it.",),))
DASH = "\N{EN DASH}"

NETWORK_TITLES = {block: letter(block) for block in BLOCKS} | {
    "mobilenet_v2": "MobileNetV2",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "mnasnet_100": "MNASNet 1.0",
}
WAY_TITLES = {
    "xnnlib": "this project",
    "plain": "plain",
    "timm-eager": "timm's layers",
    "timm-compiled": "timm's layers, compiled",
    "compiled": "compiled",
}
SCOPE_TITLES = {"model": "model", "end-to-end": "end to end"}

MADE = {"device": {"type": TEXT, "name": TEXT}, "commit": TEXT, "started": TEXT}
SHARED = MADE | {
    "settings": {"batch_size": COUNT, "crop": COUNT, "num_classes": COUNT, "repeats": COUNT, "rounds": WHOLE},
    "copy_gigabytes_per_second": POSITIVE,
    "rows": LIST,
    "pairs": LIST,
    "roofline": OBJECT,
    "growth": LIST,
    "kernels": OBJECT,
}
ROW = {"id": TEXT, "network": TEXT, "way": TEXT, "scope": TEXT}
FAILED = {"error": TEXT}
MEASURED = {
    "precision": TEXT,
    "images_per_second": POSITIVE,
    "lowest": POSITIVE,
    "highest": POSITIVE,
    "step_milliseconds": POSITIVE,
    "peak_memory_megabytes": POSITIVE,
    "compile_seconds": NUMBER,
}
ROOFLINE = {"bytes_per_image": COUNT, "images_per_second": POSITIVE, "share": POSITIVE}
GROWTH = {
    "batch_size": COUNT,
    "train_images": COUNT,
    "images_per_second": POSITIVE,
    "peak_memory_megabytes": POSITIVE,
}
PAIR = {"network": TEXT, "round": WHOLE, "xnnlib": POSITIVE, "plain": POSITIVE}
KERNEL = {"name": TEXT, "share": NUMBER}
CONDITIONAL_WAYS = ("mixed", "mixed_channels_last", "stacked")
SHAPE = {"in_channels": COUNT, "out_channels": COUNT, "size": COUNT, "stride": COUNT, "layers": COUNT}
PARTS = {"forward": POSITIVE, "input_gradient": POSITIVE, "filter_gradient": POSITIVE}
WAY = PARTS | {"precision": TEXT, "memory_format": TEXT, "kernels": TEXT}
LAYER_TIMES = {
    "depthwise": SHAPE | {"ways": LIST},
    "depthwise_per_image": SHAPE | {"ways": LIST, "copies": POSITIVE},
    "conditional": SHAPE | {"milliseconds": dict.fromkeys(CONDITIONAL_WAYS, POSITIVE)},
}


@dataclass(frozen=True)
class Benchmark:
    """One device's results: the file that they are from, and what it and those beside it hold."""

    path: Path
    results: dict
    layers: dict | None = None
    steps: dict | None = None

    @property
    def device(self) -> str:
        """The device in words."""
        return device_title(self.results["device"])

    @property
    def source(self) -> str:
        """The file, from `benchmarks/` on, with the commit and the device that it was measured on."""
        return self._source(FILE, self.results)

    @property
    def layers_source(self) -> str:
        """The same of the layers' file, which must be there."""
        return self._source(LAYERS_FILE, self.layers)

    @property
    def steps_source(self) -> str:
        """The same of the steps' file, which must be there."""
        return self._source(STEPS_FILE, self.steps)

    def _source(self, file: str, results: dict) -> str:
        path = "/".join((*self.path.parts[-4:-1], file))
        return f"{path}, commit {results['commit'][:10]}, {device_title(results['device'])}"

    def row(self, network: str, way: str = "xnnlib", scope: str = "model") -> dict | None:
        """The row of a network, if it was measured."""
        wanted = {"network": network, "way": way, "scope": scope}
        found = (row for row in self.results["rows"] if wanted.items() <= row.items() and "error" not in row)
        return next(found, None)

    def ratios(self, network: str) -> list[float]:
        """The project's speed over the plain way's, of each round in which both were measured in turn."""
        pairs = (pair for pair in self.results["pairs"] if pair["network"] == network)
        return [pair["xnnlib"] / pair["plain"] for pair in pairs if "error" not in pair]


def load_benchmarks(folder: Path) -> list[Benchmark]:
    """The results of every device below `benchmarks/results`, by the name of its folder; there may be none.

    Raises UserError, one line, if a file cannot be read or is not what the benchmark writes.
    """
    return [_load(path) for path in sorted(folder.glob(f"*/{FILE}"))]


def _load(path: Path) -> Benchmark:
    others = ((path.with_name(LAYERS_FILE), _check_layers), (path.with_name(STEPS_FILE), _check_steps))
    beside = (_read(other, check) if other.exists() else None for other, check in others)
    return Benchmark(path, _read(path, _check), *beside)


def _read(path: Path, check: Callable[[object], None]) -> dict:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        check(results)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); make it readable.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and run: make benchmark") from None
    return results


def _check_layers(results: object) -> None:
    """As `_check`."""
    check_fields(results, MADE | dict.fromkeys(LAYER_TIMES, LIST))
    for name, fields in LAYER_TIMES.items():
        for index, layer in enumerate(results[name]):
            check_fields(layer, fields, f"{name}[{index}]")
            for number, way in enumerate(layer.get("ways", [])):
                check_fields(way, WAY, f"{name}[{index}].ways[{number}]")


def _check(results: object) -> None:
    """Raise ValueError, one line, if a field that is read here is missing or is not what it should be."""
    check_fields(results, SHARED)
    if results["device"]["type"] == "cpu":
        check_fields(results["device"], {"threads": COUNT}, "device")
    for index, row in enumerate(results["rows"]):
        check_fields(row, ROW, f"rows[{index}]")
        check_fields(row, FAILED if "error" in row else MEASURED, f"rows[{index}]")
    for index, pair in enumerate(results["pairs"]):
        check_fields(pair, FAILED if "error" in pair else PAIR, f"pairs[{index}]")
    for index, row in enumerate(results["growth"]):
        check_fields(row, GROWTH, f"growth[{index}]")
    check_fields(results["roofline"], dict.fromkeys(results["roofline"], ROOFLINE), "roofline")
    check_fields(results["kernels"], dict.fromkeys(results["kernels"], LIST), "kernels")
    for network, kernels in results["kernels"].items():
        for index, kernel in enumerate(kernels):
            check_fields(kernel, KERNEL, f"kernels.{network}[{index}]")


def _check_steps(results: object) -> None:
    """As `_check`."""
    check_fields(results, MADE | {"rows": LIST})
    for index, row in enumerate(results["rows"]):
        figures = FAILED if "error" in row else {"images_per_second": POSITIVE}
        check_fields(row, {"network": TEXT, "taken": LIST} | figures, f"rows[{index}]")


def rate(images_per_second: float) -> str:
    """Images a second, three significant digits, more or less."""
    return f"{images_per_second:,.{1 if images_per_second < 100 else 0}f}"


def speed_table(benchmarks: list[Benchmark]) -> Table:
    """Training speed: one row for each row of the benchmark, in its order; an error stands with its row."""
    columns = ("Network", "Way", "Scope", "Precision", "Images/s", "Lowest, highest")
    columns += ("Step (ms)", "Memory (MB)", "Compile (s)")
    align = "llllrrrrr"
    return device_table(columns, align, benchmarks, lambda found: map(_speed_row, found.results["rows"]))


def _speed_row(row: dict) -> tuple[str, ...]:
    network = NETWORK_TITLES.get(row["network"], row["network"])
    way, scope = WAY_TITLES.get(row["way"], row["way"]), SCOPE_TITLES.get(row["scope"], row["scope"])
    if "error" in row:
        return (network, f"{way} (failed: {row['error']})", scope, row.get("precision", DASH), *[DASH] * 5)
    return (
        network,
        way,
        scope,
        row["precision"],
        rate(row["images_per_second"]),
        f"{rate(row['lowest'])}{DASH}{rate(row['highest'])}",
        f"{row['step_milliseconds']:,.1f}",
        f"{row['peak_memory_megabytes']:,.0f}",
        f"{row['compile_seconds']:,.0f}",
    )


def roofline_table(benchmarks: list[Benchmark]) -> Table:
    """What the memory would allow each network, and the share of it that was reached."""
    columns = ("Network", "MB an image", "Copying (GB/s)", "Images/s allowed", "Share reached")

    def rows(found: Benchmark) -> Iterable[tuple[str, ...]]:
        for network, limit in found.results["roofline"].items():
            yield (
                NETWORK_TITLES.get(network, network),
                f"{limit['bytes_per_image'] / 1e6:,.1f}",
                f"{found.results['copy_gigabytes_per_second']:,.1f}",
                rate(limit["images_per_second"]),
                f"{limit['share']:.0%}",
            )

    return device_table(columns, "lrrrr", benchmarks, rows)


def growth_table(benchmarks: list[Benchmark]) -> Table:
    """Speed and memory of block A, end to end, as the batch and the data set grow."""
    columns = ("Batch size", "Training images", "Images/s", "Peak memory (MB)")

    def rows(found: Benchmark) -> Iterable[tuple[str, ...]]:
        for row in found.results["growth"]:
            sizes = (f"{row['batch_size']:,}", f"{row['train_images']:,}")
            yield (*sizes, rate(row["images_per_second"]), f"{row['peak_memory_megabytes']:,.0f}")

    return device_table(columns, "rrrr", benchmarks, rows)


def kernel_table(benchmarks: list[Benchmark]) -> Table:
    """Where the time of a step goes: the kernels of each block with the largest shares."""

    def rows(found: Benchmark) -> Iterable[tuple[str, ...]]:
        for network, kernels in found.results["kernels"].items():
            title = BLOCK_TITLES.get(network, network)
            for kernel in kernels:
                yield title, kernel["name"], f"{kernel['share']:.1%}"
                title = ""

    return device_table(("Block", "Kernel", "Share"), "llr", benchmarks, rows)


def device_table(
    columns: tuple[str, ...],
    align: str,
    benchmarks: list[Benchmark],
    rows: Callable[[Benchmark], Iterable[tuple[str, ...]]],
) -> Table:
    """The rows that `rows` makes of each device's results; NOT_RUN where there are none.

    Where several devices were measured, a table that has rows of one alone names it as well.
    """
    parts = [(found.device, tuple(rows(found))) for found in benchmarks]
    if not any(cells for _, cells in parts):
        return NOT_RUN
    named = len(parts) > 1
    shown = (((device,) if named else ()) + cells for device, cells in parts if cells)
    return Table(columns, align, tuple(chain.from_iterable(shown)))
