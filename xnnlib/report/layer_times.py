"""What `benchmarks/layers.py` measured: the layers that can be computed in more than one way, as tables."""

from collections.abc import Iterable

from xnnlib.report.tables import Table
from xnnlib.report.throughput import CONDITIONAL_WAYS, DASH, Benchmark, device_table

# The order of a table's columns: precision, memory format and kernels, and what the column is called.
DEPTHWISE_WAYS = {
    ("float32", "contiguous", "torch"): "float32",
    ("float32", "channels_last", "torch"): "float32, channels last",
    ("bfloat16", "contiguous", "torch"): "bfloat16",
    ("bfloat16", "channels_last", "torch"): "bfloat16, channels last",
    ("float32", "contiguous", "triton"): "Triton, float32",
    ("float32", "channels_last", "triton"): "Triton, float32, channels last",
    ("bfloat16", "contiguous", "triton"): "Triton, bfloat16",
    ("bfloat16", "channels_last", "triton"): "Triton, bfloat16, channels last",
}


def depthwise_table(benchmarks: list[Benchmark], per_image: bool) -> Table:
    """Milliseconds of each depthwise convolution, part by part, in the ways that were measured.

    The filters are one for all images, as in blocks A and B, or one for each, as in C; then the last column
    has the copies to channels_last and back.
    """
    kind = "depthwise_per_image" if per_image else "depthwise"

    def ways(layer: dict) -> dict[tuple[str, ...], dict]:
        return {(way["precision"], way["memory_format"], way["kernels"]): way for way in layer["ways"]}

    layers = [layer for found in benchmarks if found.layers for layer in found.layers[kind]]
    shown = [way for way in DEPTHWISE_WAYS if any(way in ways(layer) for layer in layers)]
    columns = ("Channels", "Size", "Stride", *(DEPTHWISE_WAYS[way] for way in shown))
    columns += ("copies",) if per_image else ()

    def rows(found: Benchmark) -> Iterable[tuple[str, ...]]:
        for layer in found.layers[kind]:
            shape = (layer["in_channels"], layer["size"], layer["stride"])
            copies = (_time(layer["copies"]),) if per_image else ()
            yield (*map(str, shape), *(_parts(ways(layer).get(way)) for way in shown), *copies)

    return _layer_table(columns, benchmarks, rows)


def _parts(way: dict | None) -> str:
    """Forward, gradient of the input and gradient of the filters."""
    if way is None:
        return DASH
    return " + ".join(_time(way[part]) for part in ("forward", "input_gradient", "filter_gradient"))


def _time(milliseconds: float) -> str:
    """One decimal; of less than one, which is what a GPU needs, two significant digits."""
    return f"{milliseconds:.1f}" if milliseconds >= 1 else f"{milliseconds:#.2g}"


def conditional_table(benchmarks: list[Benchmark]) -> Table:
    """Milliseconds of each conditional 1x1 convolution of block C's network, forward and backward."""
    columns = ("In", "Out", "Size", "mixed", "mixed, channels last", "stacked")

    def rows(found: Benchmark) -> Iterable[tuple[str, ...]]:
        for layer in found.layers["conditional"]:
            shape = (layer["in_channels"], layer["out_channels"], layer["size"])
            yield (*map(str, shape), *(_time(layer["milliseconds"][way]) for way in CONDITIONAL_WAYS))

    return _layer_table(columns, benchmarks, rows)


def _layer_table(columns, benchmarks, rows) -> Table:
    with_layers = [found for found in benchmarks if found.layers]
    return device_table(columns, "r" * len(columns), with_layers, rows)
