"""Batches made on the device from uint8 images, which are resident there or streamed from a file."""

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from xnnlib.data.augment import centre_crop, crop_resize, crop_streams, normalise, random_resized_boxes
from xnnlib.data.images import Frame, Split
from xnnlib.errors import UserError

_PLANNED = 32768  # images whose crops are in memory at once


def train_batches(
    split: Split,
    batch_size: int,
    crop: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    smallest_crop: float = 0.08,
    *,
    first_batch: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One shuffled epoch of random resized crops, half of them mirrored.

    A crop has `smallest_crop` to all of the image's area.

    Yields images (B, 3, crop, crop), float32, normalised, channels_last, and labels (B,), int64. The last
    incomplete batch is left out unless it is the only one. `generator`, on the CPU, is the only source of
    randomness; the whole epoch is drawn from it at the start, and its crops are made and copied to the
    device some thousands at a time, so that hardly anything waits for the device in between. A split that
    is in another device's memory is copied first; one whose images are in a file is streamed, to the same
    batches.

    `first_batch`: start with that batch of the epoch; the generator is drawn from all the same, so that
    batch k holds the same images and crops whatever was left out before it. `share`: this process's
    number, from 0, and how many processes there are; each yields an equal run of rows of every batch, and
    all together, given generators in the same state, one process's batches.

    Raises UserError on a batch size below one, or one that the processes cannot share equally, and on a
    file that cannot be read to its end.
    """
    _check(batch_size, len(split))
    process, processes = rank, world_size
    count = min(batch_size, len(split))
    if count % processes:
        raise UserError(
            f"batch_size is {batch_size}: {count} images a batch cannot be shared equally by {processes} "
            f"processes; make it a multiple of {processes}, at most the split's {len(split)} images."
        )
    order = torch.randperm(len(split), generator=generator)
    streams = crop_streams(len(split), generator)
    flips = (torch.rand(len(split), generator=generator) < 0.5).to(device)
    labels, order_on_device = split.labels.to(device), order.to(device)

    def boxes() -> Iterator[Tensor]:
        for part in order.split(count * max(1, _PLANNED // count)):
            made = random_resized_boxes(split.images.sizes[part], streams, scale=(smallest_crop, 1.0))
            yield from made.to(device).split(count)

    starts = range(0, len(split) - count + 1, count)[first_batch:]
    first, end = process * count // processes, (process + 1) * count // processes
    shares = [slice(start + first, start + end) for start in starts]
    frames = (
        # Of the whole batch's extent, so that sharing it changes no sum.
        Frame(rows, *_extent(split.images.sizes[order[start : start + count]]))
        for start, rows in zip(starts, shares, strict=True)
    )
    batches = split.images.batches(order, frames, device)
    for rows, images, box in zip(shares, batches, islice(boxes(), first_batch, None), strict=False):
        images = crop_resize(images, box[first:end], flips[rows], crop)
        yield normalise(images), labels[order_on_device[rows]]


def val_batches(
    split: Split,
    batch_size: int,
    crop: int,
    resize: int,
    device: torch.device | str = "cpu",
    *,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in order, the short side resized to `resize`, the centre cut out.

    Yields as `train_batches` does. `share`: this process's number, from 0, and how many there are; each
    takes one contiguous part of the split, process after process. The parts differ by one image at most,
    and are empty where there are more processes than images.
    Raises UserError if `crop` is larger than `resize`.
    """
    _check(batch_size, len(split))
    sizes, labels = split.images.sizes, split.labels.to(device)
    sizes_on_device = sizes.to(device)
    process, processes = rank, world_size
    first, end = (number * len(split) // processes for number in (process, process + 1))
    slices = [slice(start, min(start + batch_size, end)) for start in range(first, end, batch_size)]
    frames = [Frame(rows, *_extent(sizes[rows])) for rows in slices]
    order = torch.arange(len(split))
    for rows, images in zip(slices, split.images.batches(order, frames, device), strict=True):
        yield normalise(centre_crop(images, sizes_on_device[rows], resize, crop)), labels[rows]


def _extent(sizes: Tensor) -> list[int]:
    """The most rows and the most columns."""
    return sizes.amax(dim=0).tolist()


def _check(batch_size: int, images: int) -> None:
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; it must be at least 1.")
    if not images:
        raise UserError("the split has no images; ask for at least one.")
