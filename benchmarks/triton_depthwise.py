"""Depthwise convolution as Triton kernels: a candidate for GPUs, which must first prove itself there.

One filter for all samples, or one for each (conditional convolution), of any odd size; images in either
memory format. Sums are in float32 (float64 for float64), and none depends on the order in which programs
run. Needs triton, which comes with PyTorch's CUDA builds; TRITON_INTERPRET=1 runs the kernels without a GPU.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from xnnlib.model import CondConv2d, DepthwiseConv2d

# Pixels and channels that a program holds at once, by which of the two lie side by side in memory.
TILES = {"channels_last": (8, 64), "contiguous": (64, 8)}
# The filters' gradient holds all products of a tile's pixels with each filter coefficient.
SUMMED_TILES = {"channels_last": (4, 64), "contiguous": (32, 4)}
# Output pixels that one program sums: few enough that a batch keeps all of a GPU's processors busy.
SUMMED_PIXELS = 784


@triton.jit
def convolve_kernel(
    x, filters, y, channels, x_rows, x_columns, y_rows, y_columns,
    x_sample, x_channel, x_row, x_column,
    filter_sample, filter_channel, filter_tap,
    y_sample, y_channel, y_row, y_column,
    STRIDE: tl.constexpr, SIZE: tl.constexpr, TRANSPOSED: tl.constexpr, DOUBLE: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """A tile of y, the convolution of x; TRANSPOSED: x is the output's gradient, and y the input's."""
    sample = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    row, column = pixel // y_columns, pixel % y_columns
    inside = (pixel < y_rows * y_columns)[:, None] & (channel < channels)[None, :]
    total = tl.zeros((PIXELS, CHANNELS), tl.float64 if DOUBLE else tl.float32)
    for tap in tl.static_range(SIZE * SIZE):
        if TRANSPOSED:
            up, left = row + SIZE // 2 - tap // SIZE, column + SIZE // 2 - tap % SIZE
            read = (up >= 0) & (left >= 0) & (up % STRIDE == 0) & (left % STRIDE == 0)
            up, left = up // STRIDE, left // STRIDE
        else:
            up, left = row * STRIDE + tap // SIZE - SIZE // 2, column * STRIDE + tap % SIZE - SIZE // 2
            read = (up >= 0) & (left >= 0)
        read = (read & (up < x_rows) & (left < x_columns))[:, None] & inside
        place = (up * x_row + left * x_column)[:, None] + (channel * x_channel)[None, :]
        values = tl.load(x + sample * x_sample + place, mask=read, other=0.0)
        weights = tl.load(
            filters + sample * filter_sample + channel * filter_channel + tap * filter_tap,
            mask=channel < channels, other=0.0,
        )  # fmt: skip
        total += values.to(total.dtype) * weights.to(total.dtype)[None, :]
    place = (row * y_row + column * y_column)[:, None] + (channel * y_channel)[None, :]
    tl.store(y + sample * y_sample + place, total.to(y.dtype.element_ty), mask=inside)


@triton.jit
def filter_gradient_kernel(
    x, gradient, sums, channels, x_rows, x_columns, rows, columns,
    x_sample, x_channel, x_row, x_column,
    gradient_sample, gradient_channel, gradient_row, gradient_column,
    STRIDE: tl.constexpr, SIZE: tl.constexpr, TAPS: tl.constexpr, DOUBLE: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr, SUMMED: tl.constexpr,
):  # fmt: skip
    """One part's share of each filter coefficient's gradient: sums is (samples, parts, SIZE^2, channels)."""
    sample = tl.program_id(1).to(tl.int64)
    channel = (tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS))[None, None, :]
    tap = tl.arange(0, TAPS)[None, :, None]  # a power of two, the last of them idle
    total = tl.zeros((PIXELS, TAPS, CHANNELS), tl.float64 if DOUBLE else tl.float32)
    first = tl.program_id(0) * SUMMED
    end = tl.minimum(first + SUMMED, rows * columns)
    for start in range(first, end, PIXELS):
        pixel = (start + tl.arange(0, PIXELS))[:, None, None]
        row, column = pixel // columns, pixel % columns
        inside = (pixel < end) & (channel < channels)
        place = row * gradient_row + column * gradient_column + channel * gradient_channel
        errors = tl.load(gradient + sample * gradient_sample + place, mask=inside, other=0.0)
        up, left = row * STRIDE + tap // SIZE - SIZE // 2, column * STRIDE + tap % SIZE - SIZE // 2
        read = inside & (tap < SIZE * SIZE) & (up >= 0) & (up < x_rows) & (left >= 0) & (left < x_columns)
        place = up * x_row + left * x_column + channel * x_channel
        values = tl.load(x + sample * x_sample + place, mask=read, other=0.0)
        total += errors.to(total.dtype) * values.to(total.dtype)
    part = sample * tl.num_programs(0) + tl.program_id(0)
    tap, channel = tl.arange(0, TAPS)[:, None], tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    place = (part * SIZE * SIZE + tap) * channels + channel
    tl.store(sums + place, tl.sum(total, 0), mask=(tap < SIZE * SIZE) & (channel < channels))


# Operators of torch, so that torch.compile leaves them whole and keeps the strides that they are given.
@torch.library.custom_op("xnnlib::depthwise", mutates_args=())
def convolve(x: Tensor, filters: Tensor, stride: int) -> Tensor:
    """(N, C, H, W) with (1 or N, C, F, F), zero padded by F // 2; the result has x's memory format."""
    return _convolved(x, filters, _output(x, stride), stride, transposed=False)


@torch.library.custom_op("xnnlib::depthwise_input_gradient", mutates_args=())
def input_gradient(gradient: Tensor, filters: Tensor, rows: int, columns: int, stride: int) -> Tensor:
    """The gradient of convolve's x, an (N, C, rows, columns) tensor, from that of its result."""
    return _convolved(gradient, filters, _like(gradient, rows, columns), stride, transposed=True)


@torch.library.custom_op("xnnlib::depthwise_filter_gradient", mutates_args=())
def filter_gradient(x: Tensor, gradient: Tensor, size: int, stride: int) -> Tensor:
    """The gradient of every sample's own filter, (N, C, size, size), at least float32, from the result's."""
    samples, channels, rows, columns = gradient.shape
    pixels, tile_channels = SUMMED_TILES[_layout(x)]
    parts = triton.cdiv(rows * columns, SUMMED_PIXELS)
    dtype = torch.promote_types(x.dtype, torch.float32)
    sums = torch.empty(samples, parts, size * size, channels, device=x.device, dtype=dtype)
    filter_gradient_kernel[(parts, samples, triton.cdiv(channels, tile_channels))](
        x, gradient, sums, channels, x.shape[2], x.shape[3], rows, columns, *x.stride(), *gradient.stride(),
        STRIDE=stride, SIZE=size, TAPS=triton.next_power_of_2(size * size), DOUBLE=dtype == torch.float64,
        PIXELS=pixels, CHANNELS=tile_channels, SUMMED=SUMMED_PIXELS,
    )  # fmt: skip
    return sums.sum(1).transpose(1, 2).contiguous().view(samples, channels, size, size)


def _convolved(x: Tensor, filters: Tensor, y: Tensor, stride: int, transposed: bool) -> Tensor:
    """y, filled."""
    samples, channels, rows, columns = y.shape
    pixels, tile_channels = TILES[_layout(x)]
    size, filters = filters.shape[-1], filters.flatten(2)
    filter_strides = (filters.stride(0) if len(filters) > 1 else 0, *filters.stride()[1:])
    convolve_kernel[(triton.cdiv(rows * columns, pixels), samples, triton.cdiv(channels, tile_channels))](
        x, filters, y, channels, x.shape[2], x.shape[3], rows, columns,
        *x.stride(), *filter_strides, *y.stride(),
        STRIDE=stride, SIZE=size, TRANSPOSED=transposed, DOUBLE=x.dtype == torch.float64,
        PIXELS=pixels, CHANNELS=tile_channels,
    )  # fmt: skip
    return y


def _layout(x: Tensor) -> str:
    return "channels_last" if x.stride(1) == 1 else "contiguous"


def _like(x: Tensor, rows: int, columns: int) -> Tensor:
    """An empty tensor of x's samples, channels, type and memory format."""
    order = torch.channels_last if _layout(x) == "channels_last" else torch.contiguous_format
    return torch.empty(*x.shape[:2], rows, columns, dtype=x.dtype, device=x.device, memory_format=order)


def _output(x: Tensor, stride: int) -> Tensor:
    """An empty tensor for convolve's result."""
    return _like(x, *((length - 1) // stride + 1 for length in x.shape[2:]))


@convolve.register_fake
def _(x: Tensor, filters: Tensor, stride: int) -> Tensor:
    return _output(x, stride)


@input_gradient.register_fake
def _(gradient: Tensor, filters: Tensor, rows: int, columns: int, stride: int) -> Tensor:
    return _like(gradient, rows, columns)


@filter_gradient.register_fake
def _(x: Tensor, gradient: Tensor, size: int, stride: int) -> Tensor:
    dtype = torch.promote_types(x.dtype, torch.float32)
    return x.new_empty(*x.shape[:2], size, size, dtype=dtype)


def _backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    x, filters = ctx.saved_tensors
    of_x = input_gradient(gradient, filters, x.shape[2], x.shape[3], ctx.stride)
    of_filters = filter_gradient(x, gradient, filters.shape[-1], ctx.stride)
    if len(filters) == 1:
        of_filters = of_filters.sum(0, keepdim=True)
    return of_x, of_filters.to(filters.dtype), None


def _keep(ctx, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    x, filters, ctx.stride = inputs
    ctx.save_for_backward(x, filters)


convolve.register_autograd(_backward, setup_context=_keep)


class TritonDepthwiseConv2d(DepthwiseConv2d):
    """xnnlib's layer with these kernels."""

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight.transpose(0, 1), self.stride[0])


class TritonCondConv2d(CondConv2d):
    """xnnlib's layer with these kernels, where it is depthwise."""

    def _depthwise(self, x: Tensor, filters: Tensor) -> Tensor:
        return convolve(x, filters.view(len(x), *self.filter_shape)[:, :, 0], self.stride)


def with_triton(network: nn.Module) -> nn.Module:
    """The same network, with these kernels in its depthwise convolutions."""
    kinds = {DepthwiseConv2d: TritonDepthwiseConv2d, CondConv2d: TritonCondConv2d}
    for module in network.modules():
        module.__class__ = kinds.get(type(module), type(module))
    return network
