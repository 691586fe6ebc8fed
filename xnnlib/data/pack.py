"""Decode encoded images once, in parallel, to packed uint8, and take the content's fingerprint.

The fingerprint is a SHA-256 over content, not over its container, in this order:

1. each class name in label order, UTF-8, ended by a newline;
2. for the training split, then for the validation split: the split's name and a newline, then for
   each image in order (label after label, natural order of file names within one) its label, then
   the number of its bytes, both as 8 bytes little endian, then the bytes.

The bytes are those of the encoded file (for `shapes`, which has no files, the generated pixels), so
that neither the packed size nor the version of a decoder has a part in it.
"""

import array
import hashlib
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import islice
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from xnnlib.data.images import Dataset, Split
from xnnlib.data.sources import File, Selection
from xnnlib.data.stream import StoredImages
from xnnlib.errors import UserError

# What Pillow decodes itself. Not among them: EPS, for which it would start another program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

# A long side beyond this many short ones is no photograph: scaled to the short side it would fill the memory.
LONGEST = 100

_CHUNK = 16  # images a task: enough to hide its cost, few enough to hold large photographs


class Fingerprint:
    """The running SHA-256 of the module's docstring."""

    def __init__(self, class_names: Iterable[str]):
        self._hash = hashlib.sha256("".join(f"{name}\n" for name in class_names).encode())

    def split(self, name: str) -> None:
        self._hash.update(f"{name}\n".encode())

    def image(self, label: int, content: bytes) -> None:
        self._hash.update(label.to_bytes(8, "little") + len(content).to_bytes(8, "little"))
        self._hash.update(content)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class Packer:
    """Writes images (3, rows, columns), uint8, into a file, and makes a Split of them and their labels.

    They go where the file stands; without one, into one without a name that ends with the split.
    """

    def __init__(self, pixels: BinaryIO | None = None):
        self._file = pixels or TemporaryFile()
        self._first = self._file.tell()
        self._sizes, self._labels = array.array("q"), array.array("q")

    def add(self, image: np.ndarray, label: int) -> None:
        self._file.write(image.tobytes())
        self._sizes.extend(image.shape[1:])
        self._labels.append(label)

    def split(self) -> Split:
        self._file.flush()
        sizes = torch.from_numpy(np.array(self._sizes).reshape(-1, 2))
        images = StoredImages.contiguous(self._file, self._first, sizes)
        return Split(images, torch.from_numpy(np.array(self._labels)))


def decode(content: bytes, size: int) -> np.ndarray:
    """Decode an image to RGB, (3, rows, columns), uint8, its short side `size` pixels.

    Grey, palette, CMYK and RGBA become RGB (transparency is dropped). An image whose short side is
    `size` already is not resampled; another is resized by Pillow's antialiased bilinear filter, the
    long side rounded down as torchvision's Resize does. Raises ValueError on a strip, and what Pillow
    raises on content that is none of FORMATS or is damaged.
    """
    with Image.open(BytesIO(content), formats=FORMATS) as opened:
        short, long = sorted(opened.size)
        if long > LONGEST * short:
            raise ValueError(f"{opened.width}x{opened.height} pixels, a strip of more than {LONGEST} to 1")
        image = opened.convert("RGB")
    if short != size:
        long = int(size * long / short)
        image = image.resize((size, long) if image.width < image.height else (long, size), Image.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def _decode_files(chunk: list[tuple[File, int, bytes]], size: int) -> list[tuple[np.ndarray, int]]:
    decoded = []
    for file, label, content in chunk:
        try:
            decoded.append((np.ascontiguousarray(decode(content, size)), label))
        except Exception as error:  # decoders of damaged files raise nearly anything
            unknown = isinstance(error, Image.UnidentifiedImageError)
            reason = f"not an image in {', '.join(FORMATS)}" if unknown else str(error).rstrip(".")
            raise UserError(
                f"{file.where()} cannot be decoded ({reason}; {len(content):,} bytes); "
                "replace or remove the file."
            ) from error
    return decoded


def _decoded(files: list[tuple[File, int]], size: int, fingerprint: Fingerprint) -> Iterator[list]:
    """Decode in threads (Pillow works outside the interpreter's lock), in order, a few chunks ahead."""
    workers = os.cpu_count() or 1
    remaining, pending = iter(files), deque()
    # Pillow only warns of an image of more than 89 million pixels, from 268 MB: here it is an error.
    bomb = warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning)
    with bomb, ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                while len(pending) < 2 * workers:
                    chunk = [(file, label, file.read()) for file, label in islice(remaining, _CHUNK)]
                    if not chunk:
                        break
                    for _, label, content in chunk:
                        fingerprint.image(label, content)
                    pending.append(pool.submit(_decode_files, chunk, size))
                if not pending:
                    return
                yield pending.popleft().result()
        finally:
            for task in pending:
                task.cancel()


def pack_files(
    name: str, selection: Selection, size: int, progress: bool = True, pixels: BinaryIO | None = None
) -> Dataset:
    """Read, fingerprint and decode the selected files; the images go into `pixels`, as `Packer` says.

    Raises UserError that names a damaged file.
    """
    fingerprint = Fingerprint(selection.class_names)
    splits = {}
    for split in ("train", "val"):
        files = getattr(selection, split)
        fingerprint.split(split)
        packer = Packer(pixels)
        with tqdm(
            total=len(files), desc=f"pack {name} {split}", unit="image", mininterval=0.5, disable=not progress
        ) as bar:
            for images in _decoded(files, size, fingerprint):
                for image, label in images:
                    packer.add(image, label)
                bar.update(len(images))
        splits[split] = packer.split()
    return Dataset(name, selection.class_names, **splits, fingerprint=fingerprint.hexdigest())
