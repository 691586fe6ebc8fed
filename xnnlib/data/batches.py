"""Batches made on the device from resident uint8 images."""

from collections.abc import Iterator

import torch
from torch import Tensor

from xnnlib.data.augment import centre_crop, crop_resize, normalise, random_resized_boxes
from xnnlib.data.images import Split
from xnnlib.errors import UserError


def train_batches(
    split: Split,
    batch_size: int,
    crop: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    smallest_crop: float = 0.08,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One shuffled epoch of random resized crops, half of them mirrored.

    A crop has `smallest_crop` to all of the image's area.

    Yields images (B, 3, crop, crop), float32, normalised, channels_last, and labels (B,), int64. The last
    incomplete batch is left out unless it is the only one. `generator`, on the CPU, is the only source of
    randomness; the whole epoch is drawn from it and copied to the device at the start, so that nothing
    waits for the device in between. A split that is on another device is copied first.
    Raises UserError on a batch size below one.
    """
    _check(batch_size, len(split))
    split = split.to(device)
    order = torch.randperm(len(split), generator=generator)
    sizes = split.images.sizes[order]
    boxes = random_resized_boxes(sizes, generator, scale=(smallest_crop, 1.0)).to(device)
    flips = (torch.rand(len(split), generator=generator) < 0.5).to(device)
    order = order.to(device)
    for start in range(0, max(len(split) - batch_size, 0) + 1, batch_size):
        batch = slice(start, start + batch_size)
        images = split.images.gather(order[batch], *sizes[batch].amax(dim=0).tolist())
        images = crop_resize(images, boxes[batch], flips[batch], crop)
        yield normalise(images), split.labels[order[batch]]


def val_batches(
    split: Split,
    batch_size: int,
    crop: int,
    resize: int,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in order, the short side resized to `resize`, the centre cut out.

    Yields as `train_batches` does. Raises UserError if `crop` is larger than `resize`.
    """
    _check(batch_size, len(split))
    split = split.to(device)
    order = torch.arange(len(split), device=device)
    sizes = split.images.sizes
    sizes_on_device = sizes.to(device)
    for start in range(0, len(split), batch_size):
        batch = slice(start, start + batch_size)
        images = split.images.gather(order[batch], *sizes[batch].amax(dim=0).tolist())
        yield normalise(centre_crop(images, sizes_on_device[batch], resize, crop)), split.labels[batch]


def _check(batch_size: int, images: int) -> None:
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; it must be at least 1.")
    if not images:
        raise UserError("the split has no images; ask for at least one.")
