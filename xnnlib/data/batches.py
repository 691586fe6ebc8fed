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
    *,
    first_batch: int = 0,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[Tensor, Tensor]]:
    """One shuffled epoch of random resized crops, half of them mirrored.

    A crop has `smallest_crop` to all of the image's area.

    Yields images (B, 3, crop, crop), float32, normalised, channels_last, and labels (B,), int64. The last
    incomplete batch is left out unless it is the only one. `generator`, on the CPU, is the only source of
    randomness; the whole epoch is drawn from it and copied to the device at the start, so that nothing
    waits for the device in between. A split that is on another device is copied first.

    `first_batch`: start with that batch of the epoch; the generator is drawn from all the same, so that
    batch k holds the same images and crops whatever was left out before it. `share`: this process's
    number, from 0, and how many processes there are; each yields an equal run of rows of every batch, and
    all together, given generators in the same state, one process's batches.

    Raises UserError on a batch size below one, or one that the processes cannot share equally.
    """
    _check(batch_size, len(split))
    process, processes = share
    count = min(batch_size, len(split))
    if count % processes:
        raise UserError(
            f"batch_size is {batch_size}: {count} images a batch cannot be shared equally by {processes} "
            f"processes; make it a multiple of {processes}, at most the split's {len(split)} images."
        )
    split = split.to(device)
    order = torch.randperm(len(split), generator=generator)
    sizes = split.images.sizes[order]
    boxes = random_resized_boxes(sizes, generator, scale=(smallest_crop, 1.0)).to(device)
    flips = (torch.rand(len(split), generator=generator) < 0.5).to(device)
    order = order.to(device)
    for start in range(0, len(split) - count + 1, count)[first_batch:]:
        own = slice(start + process * count // processes, start + (process + 1) * count // processes)
        # The frame is that of the whole batch, so that sharing it changes no sum.
        frame = sizes[start : start + count].amax(dim=0).tolist()
        images = crop_resize(split.images.gather(order[own], *frame), boxes[own], flips[own], crop)
        yield normalise(images), split.labels[order[own]]


def val_batches(
    split: Split,
    batch_size: int,
    crop: int,
    resize: int,
    device: torch.device | str = "cpu",
    *,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in order, the short side resized to `resize`, the centre cut out.

    Yields as `train_batches` does. `share`: this process's number, from 0, and how many there are; each
    takes one contiguous part of the split, process after process. The parts differ by one image at most,
    and are empty where there are more processes than images.
    Raises UserError if `crop` is larger than `resize`.
    """
    _check(batch_size, len(split))
    split = split.to(device)
    order = torch.arange(len(split), device=device)
    sizes = split.images.sizes
    sizes_on_device = sizes.to(device)
    process, processes = share
    end = (process + 1) * len(split) // processes
    for start in range(process * len(split) // processes, end, batch_size):
        batch = slice(start, min(start + batch_size, end))
        images = split.images.gather(order[batch], *sizes[batch].amax(dim=0).tolist())
        yield normalise(centre_crop(images, sizes_on_device[batch], resize, crop)), split.labels[batch]


def _check(batch_size: int, images: int) -> None:
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; it must be at least 1.")
    if not images:
        raise UserError("the split has no images; ask for at least one.")
