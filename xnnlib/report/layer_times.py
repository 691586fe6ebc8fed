"""What `benchmarks/layers.py` measured: the layers that can be computed in more than one way, as tables."""

from collections.abc import Iterable

from xnnlib.report.tables import Table
from xnnlib.report.throughput import CONDITIONAL_WAYS, DASH, Benchmark, device_table

# The order of a table's columns: precision and memory format, and what the column is called.
DEPTHWISE_WAYS = {
    ("float32", "contiguous"): "float32",
    ("float32", "channels_last"): "float32, channels last",
    ("bfloat16", "contiguous"): "bfloat16",
    ("bfloat16", "channels_last"): "bfloat16, channels last",
}


def depthwise_table(benchmarks: list[Benchmark]) -> Table:
    """Milliseconds of each depthwise convolution of block A's network, part by part."""
    columns = ("Channels", "Size", "Stride", *DEPTHWISE_WAYS.values())

    def rows(found: Benchmark) -> Iterable[tuple[str, ...]]:
        for layer in found.layers["depthwise"]:
            ways = {(way["precision"], way["memory_format"]): way for way in layer["ways"]}
            shape = (layer["in_channels"], layer["size"], layer["stride"])
            yield (*map(str, shape), *(_parts(ways.get(way)) for way in DEPTHWISE_WAYS))

    return _layer_table(columns, benchmarks, rows)


def _parts(way: dict | None) -> str:
    """Forward, gradient of the input and gradient of the filters."""
    if way is None:
        return DASH
    return " + ".join(f"{way[part]:.1f}" for part in ("forward", "input_gradient", "filter_gradient"))


def conditional_table(benchmarks: list[Benchmark]) -> Table:
    """Milliseconds of each conditional 1x1 convolution of block C's network, forward and backward."""
    columns = ("In", "Out", "Size", "mixed", "mixed, channels last", "stacked")

    def rows(found: Benchmark) -> Iterable[tuple[str, ...]]:
        for layer in found.layers["conditional"]:
            shape = (layer["in_channels"], layer["out_channels"], layer["size"])
            yield (*map(str, shape), *(f"{layer['milliseconds'][way]:.1f}" for way in CONDITIONAL_WAYS))

    return _layer_table(columns, benchmarks, rows)


def _layer_table(columns, benchmarks, rows) -> Table:
    with_layers = [found for found in benchmarks if found.layers]
    return device_table(columns, "r" * len(columns), with_layers, rows)
