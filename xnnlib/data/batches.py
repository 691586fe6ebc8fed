"""Batches, gathered from uint8 images where these are and augmented on the device."""

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
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One shuffled epoch of random resized crops, half of them flipped horizontally.

    A crop has `smallest_crop` to all of the image's area.

    Yields images (B, 3, crop, crop), float32, normalised, channels_last, and labels (B,), int64, on `device`.
    The last incomplete batch is left out unless it is the only one. `generator`, on the CPU, is the only
    source of randomness; the whole epoch is drawn from it at the start and copied to the device, so that
    no batch synchronises with it.

    `first_batch`: start with that batch of the epoch; the generator is drawn from all the same, so that
    batch k holds the same images and crops whatever was left out before it. `rank`, `world_size`: each
    process yields an equal, contiguous slice of the rows of every batch; together, with generators in the
    same state, they yield one process's batches.

    Raises UserError, when the first batch is asked for, on a batch size below one, one that the processes
    cannot share equally, or an empty split.
    """
    _check(batch_size, len(split))
    count = min(batch_size, len(split))
    if count % world_size:
        raise UserError(
            f"batch_size is {batch_size}: {count} images a batch cannot be shared equally by {world_size} "
            f"processes; make it a multiple of {world_size}, at most the split's {len(split)} images."
        )
    order = torch.randperm(len(split), generator=generator)
    boxes = random_resized_boxes(split.images.sizes[order], generator, smallest_crop).to(device)
    flips = (torch.rand(len(split), generator=generator) < 0.5).to(device)
    labels = split.labels[order.to(split.labels.device)].to(device)
    indices = order.to(split.images.pixels.device)
    first, end = rank * count // world_size, (rank + 1) * count // world_size
    for start in range(0, len(split) - count + 1, count)[first_batch:]:
        # Of the whole batch's extent, so that sharding it changes no sum.
        extent = split.images.sizes[order[start : start + count]].amax(dim=0).tolist()
        rows = slice(start + first, start + end)
        images = split.images.gather(indices[rows], *extent).to(device)
        yield normalise(crop_resize(images, boxes[rows], flips[rows], crop)), labels[rows]


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

    Yields as `train_batches` does, the last batch too where it is smaller. `rank`, `world_size`: each process
    takes one contiguous part of the split. The parts differ by one image at most, and are empty where there
    are more processes than images. Raises UserError, when the first batch is asked for, on a batch size
    below one, an empty split, or a `crop` larger than `resize`.
    """
    _check(batch_size, len(split))
    sizes, labels = split.images.sizes, split.labels.to(device)
    sizes_on_device = sizes.to(device)
    indices = torch.arange(len(split), device=split.images.pixels.device)
    first, end = (number * len(split) // world_size for number in (rank, rank + 1))
    for start in range(first, end, batch_size):
        rows = slice(start, min(start + batch_size, end))
        images = split.images.gather(indices[rows], *sizes[rows].amax(dim=0).tolist()).to(device)
        yield normalise(centre_crop(images, sizes_on_device[rows], resize, crop)), labels[rows]


def _check(batch_size: int, images: int) -> None:
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; it must be at least 1.")
    if not images:
        raise UserError("the split has no images; ask for at least one.")
