"""What `benchmarks/layers.py` measured: the layers that can be computed in more than one way, as tables."""

from collections.abc import Iterable

from xnnlib.report.tables import Table
from xnnlib.report.throughput import CONDITIONAL_WAYS, DASH, Benchmark, device_table

# The order of a table's columns: precision and memory format, and what the column is called.
FORMATS = {
    ("float32", "contiguous"): "float32",
    ("float32", "channels_last"): "float32, channels last",
    ("bfloat16", "contiguous"): "bfloat16",
    ("bfloat16", "channels_last"): "bfloat16, channels last",
}


def depthwise_table(benchmarks: list[Benchmark], per_image: bool) -> Table:
    """Milliseconds of each depthwise convolution, part by part, in the ways that were measured.

    The filters are one for all images, as in blocks A and B, or one for each, as in C; then the last column
    has the copies to channels_last and back. Triton's kernels, where measured, are a row below PyTorch's.
    """
    kind = "depthwise_per_image" if per_image else "depthwise"
    layers = [layer for found in benchmarks for layer in _layers(found, kind)]
    measured = {_format(way) for layer in layers for way in layer["ways"]}
    formats = [key for key in FORMATS if key in measured]
    columns = ("Channels", "Size", "Stride", *(FORMATS[key] for key in formats))
    columns += ("copies",) if per_image else ()

    def rows(found: Benchmark) -> Iterable[tuple[str, ...]]:
        for layer in _layers(found, kind):
            shape = (str(layer[name]) for name in ("in_channels", "size", "stride"))
            copies = (_time(layer["copies"]),) if per_image else ()
            yield (*shape, *_ways(layer, "torch", formats), *copies)
            if any(way["kernels"] == "triton" for way in layer["ways"]):
                yield ("Triton", "", "", *_ways(layer, "triton", formats), *("" for _ in copies))

    return device_table(columns, "r" * len(columns), benchmarks, rows)


def _layers(found: Benchmark, kind: str) -> list[dict]:
    return found.layers[kind] if found.layers else []


def _format(way: dict) -> tuple[str, str]:
    return way["precision"], way["memory_format"]


def _ways(layer: dict, kernels: str, formats: list[tuple[str, str]]) -> Iterable[str]:
    found = {_format(way): way for way in layer["ways"] if way["kernels"] == kernels}
    return (_parts(found.get(key)) for key in formats)


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
        for layer in _layers(found, "conditional"):
            shape = (layer["in_channels"], layer["out_channels"], layer["size"])
            yield (*map(str, shape), *(_time(layer["milliseconds"][way]) for way in CONDITIONAL_WAYS))

    return device_table(columns, "r" * len(columns), benchmarks, rows)
