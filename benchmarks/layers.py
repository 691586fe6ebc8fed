"""The layers that have more than one way to be computed, one by one: which way is the fastest here.

Depthwise convolutions, with one filter a channel for all images and with one for each: forward, gradient of
the input and gradient of the filters, in each precision and memory format, by torch's kernels and on a GPU by
those of triton_depthwise.py. For torch, images with filters of their own are the groups of one image, as in
`xnnlib.model`, and the memory format is that image's; what it takes to copy an input to channels_last and an
output back is measured apart. Conditional 1x1 convolutions, forward and backward together: the experts'
filters mixed for each sample and multiplied as a batch (`xnnlib.model`), the same with the channels last,
and one product with the experts stacked, in which each sample's input stands once for each expert, times its
routing weight.

The shapes are those of the paper's network. Written to OUTPUT/<device>/layers.json; in milliseconds.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from functools import partial

import torch
from command import measure_and_save
from stopwatch import timed
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from xnnlib import runtime
from xnnlib.model import CondConv2d, DepthwiseConv2d, untrained
from xnnlib.spec import NetworkSpec

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def milliseconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    def loop(on_step: Callable) -> None:
        while True:
            run()
            on_step()

    return round(1000 * timed(loop, device, repeats).median(), 4)


def shapes(block: str, kind: type) -> list[dict]:
    """Each distinct shape of the network's layers of a kind, and how many layers have it."""
    found: dict[tuple, int] = {}

    def on_forward(layer, inputs, output):
        if kind is DepthwiseConv2d or not layer.depthwise:
            size, stride = inputs[0].shape[2], inputs[0].shape[2] // output.shape[2]
            shape = (inputs[0].shape[1], output.shape[1], size, stride)
            found[shape] = found.get(shape, 0) + 1

    network = untrained(NetworkSpec(block))
    for module in network.modules():
        if isinstance(module, kind):
            module.register_forward_hook(on_forward)
    network(torch.zeros(1, 3, 56, 56))
    names = ("in_channels", "out_channels", "size", "stride")
    return [dict(zip(names, shape, strict=True)) | {"layers": count} for shape, count in found.items()]


def by_torch(x: Tensor, filters: Tensor, gradient: Tensor, stride: int) -> dict[str, Callable]:
    """The three parts of a depthwise convolution of (N, C, H, W) with (1, C, F, F), ready to be called."""
    filters = filters.transpose(0, 1)
    padding, channels = filters.shape[-1] // 2, len(filters)

    def backward(of_input: bool, of_filters: bool) -> Callable[[], object]:
        return lambda: torch.ops.aten.convolution_backward(
            gradient, x, filters, None, (stride, stride), (padding, padding), (1, 1), False, (0, 0), channels,
            (of_input, of_filters, False),
        )  # fmt: skip

    return {
        "forward": lambda: F.conv2d(x, filters, stride=stride, padding=padding, groups=channels),
        "input_gradient": backward(True, False),
        "filter_gradient": backward(False, True),
    }


def by_triton(x: Tensor, filters: Tensor, gradient: Tensor, stride: int) -> dict[str, Callable]:
    """The same with the candidate's kernels, and with (N, C, F, F), a filter for each image."""
    kernels = importlib.import_module("triton_depthwise")
    size, shared = filters.shape[-1], len(filters) == 1

    def filter_gradient() -> Tensor:
        of_each = kernels.filter_gradient(x, gradient, size, stride)
        return of_each.sum(0, keepdim=True) if shared else of_each

    return {
        "forward": lambda: kernels.convolve(x, filters, stride),
        "input_gradient": lambda: kernels.input_gradient(gradient, filters, *x.shape[2:], stride),
        "filter_gradient": filter_gradient,
    }


KERNELS = {"torch": by_torch, "triton": by_triton}
# Whether each image has filters of its own. Both kinds of networks have the same shapes.
DEPTHWISE = {"depthwise": False, "depthwise_per_image": True}


def depthwise(
    shape: dict, batch_size: int, per_image: bool, way: dict, device: torch.device, repeats: int
) -> dict:
    """`way` (precision, memory_format, kernels) with the milliseconds of one depthwise 3x3's three parts."""
    like = {"device": device, "dtype": getattr(torch, way["precision"])}
    images, channels, size, stride = batch_size, shape["in_channels"], shape["size"], shape["stride"]
    if per_image and way["kernels"] == "torch":
        images, channels = 1, images * channels
    filters = torch.randn(images if per_image else 1, channels, 3, 3, **like)
    x, gradient = (
        torch.randn(images, channels, side, side, **like).contiguous(
            memory_format=LAYOUTS[way["memory_format"]]
        )
        for side in (size, -(-size // stride))
    )
    parts = KERNELS[way["kernels"]](x, filters, gradient, stride)
    return way | {name: milliseconds(part, device, repeats) for name, part in parts.items()}


def copies(shape: dict, batch_size: int, device: torch.device, repeats: int) -> float:
    """Milliseconds to copy a batch as one image's channels to channels_last, and a result of it back."""
    dtype = torch.bfloat16 if runtime.has_bfloat16(device) else torch.float32
    channels, size = batch_size * shape["in_channels"], shape["size"]
    x, y = (
        torch.randn(1, channels, side, side, device=device, dtype=dtype)
        for side in (size, -(-size // shape["stride"]))
    )
    y = y.contiguous(memory_format=torch.channels_last)

    def there_and_back() -> None:
        x.contiguous(memory_format=torch.channels_last)
        y.contiguous()

    return milliseconds(there_and_back, device, repeats)


def depthwise_ways(device: torch.device) -> list[dict]:
    """Every precision, memory format and kind of kernels that there is to compare on the device."""
    precisions = ["float32", "bfloat16"] if runtime.has_bfloat16(device) else ["float32"]
    kinds = list(KERNELS) if device.type == "cuda" else ["torch"]
    return [
        {"precision": precision, "memory_format": layout, "kernels": kernels}
        for kernels in kinds
        for precision in precisions
        for layout in LAYOUTS
    ]


def mixed(layer: CondConv2d, x: Tensor, routing: Tensor) -> Tensor:
    """As the layer computes it: (samples, out, in) filters times (samples, in, pixels)."""
    return layer._dense(x, routing @ layer.weight)


def mixed_channels_last(layer: CondConv2d, x: Tensor, routing: Tensor) -> Tensor:
    """The same with the images' own order: (samples, pixels, in) times (samples, in, out)."""
    samples, channels, rows, columns = x.shape
    filters = (routing @ layer.weight).view(samples, -1, channels)
    y = torch.bmm(x.permute(0, 2, 3, 1).reshape(samples, -1, channels), filters.transpose(1, 2))
    return y.view(samples, rows, columns, -1).permute(0, 3, 1, 2)


def stacked(layer: CondConv2d, x: Tensor, routing: Tensor) -> Tensor:
    """One product: (samples x pixels, experts x in) times (experts x in, out)."""
    samples, channels, rows, columns = x.shape
    experts = routing.shape[1]
    pixels = x.permute(0, 2, 3, 1).reshape(samples, -1, 1, channels)
    scaled = (pixels * routing[:, None, :, None].to(x.dtype)).reshape(-1, experts * channels)
    filters = layer.weight.view(experts, -1, channels).transpose(1, 2).reshape(experts * channels, -1)
    return (scaled @ filters).view(samples, rows, columns, -1).permute(0, 3, 1, 2)


WAYS = {
    "mixed": (mixed, "contiguous"),
    "mixed_channels_last": (mixed_channels_last, "channels_last"),
    "stacked": (stacked, "channels_last"),
}


def conditional(shape: dict, way: str, batch_size: int, device: torch.device, repeats: int) -> float:
    """Milliseconds of one conditional 1x1 convolution, forward and backward."""
    compute, layout = WAYS[way]
    layer = CondConv2d(shape["in_channels"], shape["out_channels"]).to(device)
    dtype = torch.bfloat16 if runtime.has_bfloat16(device) else torch.float32
    x = torch.randn(
        batch_size, shape["in_channels"], shape["size"], shape["size"], device=device, dtype=dtype
    )
    x = x.contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    routing = torch.rand(batch_size, layer.routing.out_features, device=device, requires_grad=True)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            y = compute(layer, x, routing)
        torch.autograd.grad(y, (x, layer.weight, routing), gradient)

    gradient = torch.randn(
        batch_size, shape["out_channels"], shape["size"], shape["size"], device=device, dtype=dtype
    ).contiguous(memory_format=LAYOUTS[layout])
    return milliseconds(step, device, repeats)


def measurements(settings: dict, device: torch.device, before: dict) -> Iterator[Callable[[], dict]]:
    """One for each layer that was not there `before`: all layers of its kind so far.

    A way in which the device cannot compute a depthwise convolution is said, and left out.
    """
    batch_size, repeats = settings["batch_size"], settings["repeats"]
    runtime.keep_freed_memory()
    layers = {kind: list(before.get(kind, [])) for kind in (*DEPTHWISE, "conditional")}

    def times(kind: str, shape: dict) -> dict:
        if kind == "conditional":
            each = {way: conditional(shape, way, batch_size, device, repeats) for way in WAYS}
            return {"milliseconds": each}
        ways = []
        for way in depthwise_ways(device):
            try:
                ways.append(depthwise(shape, batch_size, DEPTHWISE[kind], way, device, repeats))
            except RuntimeError as error:
                tqdm.write(
                    f"{kind}, {', '.join(way.values())}: {str(error).splitlines()[0]}", file=sys.stderr
                )
        copied = {"copies": copies(shape, batch_size, device, repeats)} if DEPTHWISE[kind] else {}
        return {"ways": ways} | copied

    def measure(kind: str, shape: dict) -> dict:
        layers[kind].append(shape | times(kind, shape))
        return layers

    convolutions = shapes("standard", DepthwiseConv2d)
    asked = [("depthwise", shape) for shape in convolutions]
    asked += [("conditional", shape) for shape in shapes("se_cond", CondConv2d)]
    # Last, what may take long: hardly anyone has asked for as many groups as these have.
    asked += [("depthwise_per_image", shape) for shape in convolutions]
    for kind, shape in tqdm(asked, unit="layer"):
        if not any(shape.items() <= layer.items() for layer in layers[kind]):
            yield partial(measure, kind, shape)


def table(result: dict) -> str:
    lines = []
    for name, shape in ((kind, shape) for kind in DEPTHWISE for shape in result[kind]):
        for way in shape["ways"]:
            times = "".join(f"{way[part]:9.2f}" for part in ("forward", "input_gradient", "filter_gradient"))
            lines.append(
                f"{name:20}{shape['in_channels']:4} {shape['size']:2}/{shape['stride']} "
                f"{way['precision']:9} {way['memory_format']:14}{way['kernels']:7}{times}"
            )
        if "copies" in shape:
            lines.append(f"{'':20}copies to channels_last and back {shape['copies']:9.2f}")
    for shape in result["conditional"]:
        times = "".join(f"  {way} {time:.2f}" for way, time in shape["milliseconds"].items())
        channels = f"{shape['in_channels']:4} -> {shape['out_channels']:3}"
        lines.append(f"{'conditional':20}{channels} {shape['size']:2}{times}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(measure_and_save(__doc__, "layers.json", measurements, table))
