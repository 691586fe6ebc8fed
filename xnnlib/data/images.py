"""What a data set is in memory: packed uint8 images, labels, names, and a fingerprint."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Frame(NamedTuple):
    """A batch to be: its rows of the epoch's order, and pixels enough for the largest of its images."""

    rows: slice
    height: int
    width: int


class Images(Protocol):
    """N images of one or of many sizes, uint8: `PackedImages` in memory, `stream.StoredImages` in a file."""

    sizes: Tensor
    nbytes: int

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor: ...

    def to(self, device: torch.device | str) -> "PackedImages": ...

    def select(self, indices: Tensor) -> "Images": ...

    def batches(
        self, order: Tensor, frames: Iterable[Frame], device: torch.device | str
    ) -> Iterator[Tensor]: ...


@dataclass(frozen=True)
class PackedImages:
    """N images of one or of many sizes, in one buffer of uint8.

    `pixels` holds the images one after the other, each as (3, rows, columns), RGB. `sizes` (N, 2),
    int64, holds rows and columns and stays on the CPU, so that a batch can be planned without
    asking the device. No pixel of padding is stored.
    """

    pixels: Tensor
    sizes: Tensor
    _layout: Tensor = field(init=False, repr=False)  # (N, 3) beside the pixels: first element, rows, columns

    def __post_init__(self):
        lengths = 3 * self.sizes.prod(dim=1)
        starts = lengths.cumsum(0) - lengths
        layout = torch.cat([starts[:, None], self.sizes], dim=1)
        object.__setattr__(self, "_layout", layout.to(self.pixels.device))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Tensor:
        """Image `index` as (3, rows, columns), uint8."""
        rows, columns = self.sizes[index].tolist()
        start = 3 * int(self.sizes[:index].prod(dim=1).sum())
        return self.pixels[start : start + 3 * rows * columns].view(3, rows, columns)

    @property
    def nbytes(self) -> int:
        """Of all pixels."""
        return self.pixels.numel()

    def to(self, device: torch.device | str) -> "PackedImages":
        pixels = self.pixels.to(device)
        return self if pixels is self.pixels else PackedImages(pixels, self.sizes)

    def select(self, indices: Tensor) -> "PackedImages":
        """Images `indices` (B,), on the CPU, as a pack of their own."""
        if not len(indices):
            return PackedImages(self.pixels[:0], self.sizes[:0])
        starts, lengths = self._layout[:, 0].tolist(), (3 * self.sizes.prod(dim=1)).tolist()
        pieces = [self.pixels[starts[i] : starts[i] + lengths[i]] for i in indices.tolist()]
        return PackedImages(torch.cat(pieces), self.sizes[indices])

    def gather(self, indices: Tensor, rows: int, columns: int) -> Tensor:
        """Images `indices` (B,), on the pixels' device, as (B, 3, rows, columns) uint8.

        `rows` and `columns` are at least those of each. What lies outside a smaller image is undefined:
        whoever samples it must give it no weight.
        """
        if self.pixels.numel() == 3 * rows * columns * len(self):  # every image fills the frame
            return self.pixels.view(len(self), 3, rows, columns).index_select(0, indices)
        start, height, width = (part.view(-1, 1, 1, 1) for part in self._layout[indices].unbind(1))
        device = self.pixels.device
        channel = torch.arange(3, device=device).view(1, 3, 1, 1)
        row = torch.arange(rows, device=device).view(1, 1, -1, 1)
        column = torch.arange(columns, device=device).view(1, 1, 1, -1)
        inside = (channel * height + row.minimum(height - 1)) * width + column.minimum(width - 1)
        return self.pixels.take(start + inside)

    def batches(self, order: Tensor, frames: Iterable[Frame], device: torch.device | str) -> Iterator[Tensor]:
        """For each frame the images that `order` (N,), on the CPU, names in its rows, gathered on `device`.

        Yields (B, 3, height, width), uint8, as `gather` does.
        """
        images, order = self.to(device), order.to(device)
        for rows, height, width in frames:
            yield images.gather(order[rows], height, width)


@dataclass(frozen=True)
class Split:
    """One split: images and their labels (N,), int64, index into the data set's class names."""

    images: Images
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: Tensor) -> "Split":
        """Images `indices` (B,), on the CPU, as a split of their own."""
        return Split(self.images.select(indices), self.labels[indices])

    def to(self, device: torch.device | str) -> "Split":
        """The split with its pixels and labels in the memory of `device`; itself if it is there already."""
        images, labels = self.images.to(device), self.labels.to(device)
        return self if images is self.images and labels is self.labels else Split(images, labels)


@dataclass(frozen=True)
class Dataset:
    """A training and a validation split of the same classes.

    `fingerprint` is the SHA-256 (hex) of the content; `xnnlib.data.pack` says of what exactly.
    """

    name: str
    class_names: list[str]
    train: Split
    val: Split
    fingerprint: str

    def held_out(self) -> "Dataset":
        """The training split alone, every tenth image of each class in the place of the validation split.

        For choosing hyper-parameters without looking at the validation images. The fingerprint is that
        of this division: SHA-256 over the data set's own and the words "held-out tenth".
        """
        labels = self.train.labels
        rank = torch.empty_like(labels)
        for label in labels.unique():
            own = labels == label
            rank[own] = torch.arange(int(own.sum()))
        kept = rank % 10 != 9
        digest = hashlib.sha256(f"{self.fingerprint} held-out tenth".encode()).hexdigest()
        train, val = (self.train.select(chosen.nonzero().flatten()) for chosen in (kept, ~kept))
        return Dataset(self.name, self.class_names, train, val, digest)
