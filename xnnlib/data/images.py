"""What a data set is: packed uint8 images, labels, names, and a fingerprint."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


class PackedImages:
    """N images of one or of many sizes in one buffer of uint8, with no padding.

    `pixels` (1-D), in the memory of some device or mapped from a file, holds each image as (3, rows,
    columns), RGB. `sizes` (N, 2), int64, on the CPU: rows and columns. `offsets` (N,), int64, on the CPU:
    where in `pixels` each image begins; if not given, each begins where the one before it ends.
    """

    def __init__(self, pixels: Tensor, sizes: Tensor, offsets: Tensor | None = None):
        lengths = 3 * sizes.prod(dim=1)
        self.pixels, self.sizes = pixels, sizes
        self.offsets = lengths.cumsum(0) - lengths if offsets is None else offsets
        self._layout = torch.cat([self.offsets[:, None], sizes], dim=1).to(pixels.device)  # (N, 3)
        # Images of one size are rows of a matrix, which are gathered far faster.
        self._one_size: list[int] | None = None
        if len(sizes) and (sizes == sizes[0]).all() and not pixels.numel() % lengths[0]:
            if not (self.offsets % lengths[0]).any():
                self._one_size = sizes[0].tolist()

    def __getitem__(self, index: int) -> Tensor:
        """Image `index` as (3, rows, columns), uint8."""
        start, (rows, columns) = int(self.offsets[index]), self.sizes[index].tolist()
        return self.pixels[start : start + 3 * rows * columns].view(3, rows, columns)

    def to(self, device: torch.device | str) -> "PackedImages":
        """The images, with the whole of their buffer, in the memory of `device`."""
        return PackedImages(self.pixels.to(device), self.sizes, self.offsets)

    def select(self, indices: Tensor) -> "PackedImages":
        """Images `indices` (B,), on the CPU, in the same buffer."""
        return PackedImages(self.pixels, self.sizes[indices], self.offsets[indices])

    def gather(self, indices: Tensor, rows: int, columns: int) -> Tensor:
        """Images `indices` (B,), on the pixels' device, as (B, 3, rows, columns) uint8.

        `rows` and `columns` are at least those of each. What lies outside a smaller image is undefined:
        whoever samples it must give it no weight.
        """
        start, height, width = (part.view(-1, 1, 1, 1) for part in self._layout[indices].unbind(1))
        if [rows, columns] == self._one_size:
            number = start.flatten() // (3 * rows * columns)
            return self.pixels.view(-1, 3, rows, columns).index_select(0, number)
        device = self.pixels.device
        channel = torch.arange(3, device=device).view(1, 3, 1, 1)
        row = torch.arange(rows, device=device).view(1, 1, -1, 1)
        column = torch.arange(columns, device=device).view(1, 1, 1, -1)
        inside = (channel * height + row.minimum(height - 1)) * width + column.minimum(width - 1)
        return self.pixels.take(start + inside)


@dataclass(frozen=True)
class Split:
    """One split: images and their labels (N,), int64, index into the data set's class names."""

    images: PackedImages
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: Tensor) -> "Split":
        """Images `indices` (B,), on the CPU, as a split of their own."""
        return Split(self.images.select(indices), self.labels[indices])

    def to(self, device: torch.device | str) -> "Split":
        """The split with its pixels and labels in the memory of `device`."""
        return Split(self.images.to(device), self.labels.to(device))


def to_device(split: Split, device: torch.device | str) -> Split:
    """The split as training on `device` should have it: its pixels are moved to a GPU if they fit.

    They fit if they take at most half of its free memory. Otherwise, and on a CPU, the pixels stay mapped
    from their file, batches are gathered by the CPU, and the system keeps in memory what it can.
    """
    device = torch.device(device)
    if device.type == "cuda" and split.images.pixels.nbytes <= torch.cuda.mem_get_info(device)[0] / 2:
        return split.to(device)
    return split


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
        index_in_class = torch.empty_like(labels)
        for label in labels.unique():
            own = labels == label
            index_in_class[own] = torch.arange(int(own.sum()))
        kept = index_in_class % 10 != 9
        digest = hashlib.sha256(f"{self.fingerprint} held-out tenth".encode()).hexdigest()
        train, val = (self.train.select(chosen.nonzero().flatten()) for chosen in (kept, ~kept))
        return Dataset(self.name, self.class_names, train, val, digest)
