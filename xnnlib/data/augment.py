"""Augmentation as pure tensor functions on a batch, on the batch's device.

A crop and its resize are one linear map per sample, along the rows and along the columns: two batched
matrix products whose weights are those of the antialiased bilinear (triangle) filter. It is the
resampling of torchvision's `resized_crop(antialias=True)` on float tensors, to rounding: where a box is
larger than the crop the filter is as wide as the reduction, where it is smaller it interpolates between
two pixels, and it never looks outside the box. torchvision on uint8 rounds to whole grey levels after
each axis, one level away at most from what is computed here; nothing is rounded here. (Where matrix
products are let run in TF32, factors keep ten bits: an error below half a level.)

Source: Inception-style augmentation, Szegedy et al., arXiv:1409.4842, section 6.
"""

import math

import torch
from torch import Tensor

from xnnlib.spec import require_crop_fits

# ImageNet's, per channel, of pixels scaled to 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

ATTEMPTS = 10
RATIO = (3 / 4, 4 / 3)  # of width to height


def random_resized_boxes(sizes: Tensor, generator: torch.Generator, smallest: float) -> Tensor:
    """Boxes (N, 4), int64, of top, left, height, width, for images of `sizes` (N, 2), rows and columns.

    Distributed as torchvision's RandomResizedCrop: an area from `smallest` to all of the image's, a
    ratio of width to height log-uniform in RATIO, the first of ten attempts that fits, at a uniform place;
    else the largest centred box within RATIO.
    """
    rows, columns = sizes.double().unbind(1)
    draw = torch.rand(4, len(sizes), ATTEMPTS, generator=generator, dtype=torch.float64)
    area = (rows * columns)[:, None] * (smallest + (1 - smallest) * draw[0])
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    aspect = torch.exp(low + (high - low) * draw[1])
    width = torch.round(torch.sqrt(area * aspect))
    height = torch.round(torch.sqrt(area / aspect))
    fits = (width > 0) & (width <= columns[:, None]) & (height > 0) & (height <= rows[:, None])
    first = fits.int().argmax(dim=1, keepdim=True)
    height, width, down, right = (each.gather(1, first)[:, 0] for each in (height, width, draw[2], draw[3]))
    top, left = torch.floor(down * (rows - height + 1)), torch.floor(right * (columns - width + 1))
    drawn = torch.stack([top, left, height, width], dim=1)

    height = torch.minimum(rows, torch.round(columns / RATIO[0]))
    width = torch.minimum(columns, torch.round(rows * RATIO[1]))
    centred = torch.stack([(rows - height) / 2, (columns - width) / 2, height, width], dim=1).floor()
    return torch.where(fits.any(dim=1, keepdim=True), drawn, centred).long()


def resample_matrix(start: Tensor, length: Tensor, scale: Tensor, position: Tensor, size: int) -> Tensor:
    """Weights (B, outputs, size) of the antialiased triangle filter along one axis.

    The input, `size` long, is read from `start` (B,) over `length` (B,) pixels only; output k of a sample
    lies at `scale` (B,) * (`position` (B, outputs) + 0.5) from there. Each row of weights sums to one.
    """
    pixel = torch.arange(size, device=start.device)
    offset = (pixel - start[:, None])[:, None, :]  # (B, 1, size), from the box's edge
    centre = (scale[:, None] * (position + 0.5))[:, :, None]
    support = scale.clamp(min=1)[:, None, None]
    weight = (1 - (offset + 0.5 - centre).abs() / support).clamp(min=0)
    weight = weight * ((offset >= 0) & (offset < length[:, None, None]))
    return weight / weight.sum(dim=2, keepdim=True)


def _resample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 through (B, h, H) and (B, w, W) weights to (B, 3, h, w) float32, 0 to 255."""
    count, _, height, width = images.shape
    images = images.to(torch.float32).reshape(count, 3 * height, width)
    images = torch.bmm(images, columns.transpose(1, 2)).view(count, 3, height, -1)
    return torch.matmul(rows[:, None], images)


def crop_resize(images: Tensor, boxes: Tensor, flips: Tensor, crop: int) -> Tensor:
    """Cut `boxes` (B, 4) out of images (B, 3, H, W), uint8, resize to `crop`, flip where `flips` (B,).

    Flips are horizontal. Returns (B, 3, crop, crop), float32, 0 to 255.
    """
    top, left, height, width = boxes.unbind(1)
    position = torch.arange(crop, device=boxes.device, dtype=torch.float32).expand(len(boxes), crop)
    flipped = torch.where(flips[:, None], crop - 1 - position, position)
    rows = resample_matrix(top, height, height / crop, position, images.shape[2])
    columns = resample_matrix(left, width, width / crop, flipped, images.shape[3])
    return _resample(images, rows, columns)


def centre_crop(images: Tensor, sizes: Tensor, resize: int, crop: int) -> Tensor:
    """Resize images (B, 3, H, W) of `sizes` (B, 2) to the short side `resize`, cut the centre `crop`.

    As torchvision's Resize (the long side rounded down) and CenterCrop. Returns (B, 3, crop, crop),
    float32, 0 to 255. Raises UserError if `crop` is larger than `resize`.
    """
    require_crop_fits(crop, resize)
    short = sizes.amin(dim=1, keepdim=True)
    resized = torch.div(resize * sizes, short, rounding_mode="floor")
    first = torch.round((resized - crop) / 2)
    steps = torch.arange(crop, device=sizes.device)
    matrices = [
        resample_matrix(
            torch.zeros_like(sizes[:, axis]),
            sizes[:, axis],
            sizes[:, axis] / resized[:, axis],
            first[:, axis, None] + steps,
            images.shape[2 + axis],
        )
        for axis in (0, 1)
    ]
    return _resample(images, *matrices)


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W), 0 to 255, to ImageNet's mean and standard deviation, in channels_last memory."""
    # Python numbers, not tensors: making a tensor of them on the device would synchronise with it.
    channels = [
        (images[:, channel] - 255 * mean) / (255 * std)
        for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True))
    ]
    return torch.stack(channels, dim=-1).permute(0, 3, 1, 2)
