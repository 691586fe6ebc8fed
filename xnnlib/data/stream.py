"""Images that stay in their file and are read batch by batch, ahead of the computation.

They are read with pread into private memory, not through a memory map: where a mapped file is cut short,
the system ends the process without a word (SIGBUS); a read that comes back short is an error with a line.
The system's page cache serves both alike, and neither keeps more of the file than there is memory for.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor
from tqdm import tqdm

from xnnlib.data.images import Frame, PackedImages, Split
from xnnlib.errors import UserError

# Several reads at a time hide the latency of a disk; batches beyond those in work only take memory.
_READERS, _AHEAD = 4, 8
_CHUNK = 4096  # images read at once where all of them are read


def read_at(file: BinaryIO, view: memoryview, offset: int) -> None:
    """Fill `view` with the file's bytes from `offset`. Raises UserError where they are not to be had."""
    while view:
        try:
            count = os.preadv(file.fileno(), [view], offset)
        except OSError as error:
            raise UserError(
                f"cache {file.name} cannot be read ({error.strerror}); "
                "check the disk, or set XNNLIB_CACHE to a folder on another."
            ) from error
        if not count:
            raise UserError(
                f"cache {file.name} was cut short while it was read; run again: it is packed anew."
            )
        view, offset = view[count:], offset + count


@dataclass(frozen=True)
class StoredImages:
    """N images in an open file, laid out as in `PackedImages`: what it does, without holding the pixels.

    `starts` (N,), int64: where in the file each image begins. `sizes` (N, 2), int64: rows and columns.
    A file that is deleted or replaced under its name does no harm: the open one is still there.
    """

    file: BinaryIO
    starts: Tensor
    sizes: Tensor

    @classmethod
    def contiguous(cls, file: BinaryIO, first: int, sizes: Tensor) -> "StoredImages":
        """Images of `sizes` (N, 2), one after the other from byte `first` of the file."""
        lengths = 3 * sizes.prod(dim=1)
        return cls(file, first + lengths.cumsum(0) - lengths, sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Tensor:
        """Image `index` as (3, rows, columns), uint8."""
        return self.read(torch.tensor([index]))[0]

    @property
    def nbytes(self) -> int:
        """Of all pixels."""
        return 3 * int(self.sizes.prod(dim=1).sum())

    def select(self, indices: Tensor) -> "StoredImages":
        """Images `indices` (B,), still in the file."""
        return StoredImages(self.file, self.starts[indices], self.sizes[indices])

    def read(self, indices: Tensor, pinned: bool = False) -> PackedImages:
        """Images `indices` (B,) in the CPU's memory, page-locked if `pinned`."""
        if not len(indices):
            return PackedImages(torch.empty(0, dtype=torch.uint8), self.sizes[:0])
        sizes, starts = self.sizes[indices], self.starts[indices]
        lengths = 3 * sizes.prod(dim=1)
        ends = lengths.cumsum(0)
        pixels = torch.empty(int(lengths.sum()), dtype=torch.uint8, pin_memory=pinned)
        view = memoryview(pixels.numpy())
        # Neighbours in the file are read at once.
        apart = starts[1:] != starts[:-1] + lengths[:-1]
        first = torch.cat([torch.zeros(1, dtype=torch.long), apart.nonzero().flatten() + 1])
        last = torch.cat([first[1:] - 1, torch.tensor([len(indices) - 1])])
        runs = zip(starts[first].tolist(), (ends - lengths)[first].tolist(), ends[last].tolist(), strict=True)
        for offset, begin, end in runs:
            read_at(self.file, view[begin:end], offset)
        return PackedImages(pixels, sizes)

    def to(self, device: torch.device | str) -> PackedImages:
        """All images in the device's memory, with no second copy in the CPU's on the way."""
        pixels, filled = torch.empty(self.nbytes, dtype=torch.uint8, device=device), 0
        with tqdm(total=len(self), desc="read the images", unit="image", delay=2) as bar:
            for indices in torch.arange(len(self)).split(_CHUNK):
                part = self.read(indices).pixels
                pixels[filled : filled + len(part)] = part
                filled += len(part)
                bar.update(len(indices))
        return PackedImages(pixels, self.sizes)

    def batches(self, order: Tensor, frames: Iterable[Frame], device: torch.device | str) -> Iterator[Tensor]:
        """As `PackedImages.batches`, in the same order, read and copied while earlier ones are worked on."""
        device = torch.device(device)
        # CUDA: the copies run on a stream of their own, beside the computation's.
        stream = torch.cuda.Stream(device) if device.type == "cuda" else None

        def load(frame: Frame) -> tuple[Tensor, "torch.cuda.Event | None"]:
            with torch.cuda.stream(stream) if stream else nullcontext():
                part = self.read(order[frame.rows], pinned=stream is not None)
                # Page-locked memory that is let go is not used again before its copy is complete.
                part = PackedImages(part.pixels.to(device, non_blocking=True), part.sizes)
                images = part.gather(torch.arange(len(part), device=device), frame.height, frame.width)
                return images, stream.record_event() if stream else None

        pending = deque()
        # A new thread is on the first GPU, whichever its process is on.
        here = (torch.cuda.set_device, (device,)) if stream else (None, ())
        with ThreadPoolExecutor(_READERS, "read-ahead", *here) as pool:
            try:
                for frame in frames:
                    pending.append(pool.submit(load, frame))
                    if len(pending) > _AHEAD:
                        yield _received(*pending.popleft().result(), device)
                while pending:
                    yield _received(*pending.popleft().result(), device)
            finally:
                for task in pending:
                    task.cancel()


def _received(images: Tensor, copied: "torch.cuda.Event | None", device: torch.device) -> Tensor:
    """`images`, which the current stream may use once `copied` has happened."""
    if copied is not None:
        current = torch.cuda.current_stream(device)
        current.wait_event(copied)
        # Their memory belongs to the other stream: not to be given away before this one is done with it.
        images.record_stream(current)
    return images


def free_memory(device: torch.device | str) -> int:
    """Bytes that the device, or for the CPU this machine or this process's share of it, has to give."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            kibibytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return min(1024 * int(kibibytes), _control_group_room())
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _control_group_room() -> float:
    """Bytes that the control group of this process, such as a container's or a Slurm job's, has left."""
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="ascii").split("0::/")[1].strip()
        folder = Path("/sys/fs/cgroup", group)
        most, used = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
        return most - used
    except (OSError, IndexError, ValueError):  # no control group of this kind, or "max": no limit
        return float("inf")


to_device = lambda split, device: placed(split, device, 0.5)


def placed(split: Split, device: torch.device | str, memory_share: float = 0.5) -> Split:
    """The split as training on `device` should have it; either gives the same batches.

    Resident where its pixels take at most `memory_share` of the device's free memory, which is the
    faster; else streamed from the cache's file, with its labels on the device.
    """
    if split.images.nbytes <= memory_share * free_memory(device):
        return split.to(device)
    return Split(split.images, split.labels.to(device))
