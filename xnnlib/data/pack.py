"""Decode images once, to uint8 pixels in a `.npy` file that is mapped into memory when it is read.

A JSON file beside it holds class names, sizes, labels, the data set's fingerprint, and a digest of all of
this and the pixels. Either file appears under its name only when it is whole; the JSON comes last, and one
that is not of these pixels is found by its digest, as any other damage is.

The fingerprint is a SHA-256 over content, not over its container, in this order:

1. each class name in label order, UTF-8 in NFC, ended by a newline;
2. for the training split, then for the validation split: the split's name and a newline, then for
   each image in order (label after label, natural order of file names within one) its label, then
   the number of its bytes, both as 8 bytes little endian, then the bytes.

The bytes are those of the encoded file (for `shapes`, which has no files, the generated pixels), so
that neither the packed size nor the version of a decoder nor how it treats a file's EXIF orientation
has a part in it.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.lib import format as npy
from PIL import Image, ImageOps
from tqdm import tqdm

from xnnlib.data.archives import File
from xnnlib.data.images import Dataset, PackedImages, Split
from xnnlib.errors import UserError
from xnnlib.files import write_atomically

PACK_VERSION = 4  # a cache of another version is packed again

# What Pillow decodes itself. Not among them: EPS, for which it would start another program.
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

# An image longer than this is no photograph: scaled to the short side it would fill the memory.
MAX_ASPECT_RATIO = 100

_PREFETCH = 64  # encoded images that are read before they are decoded


class Labelled(NamedTuple):
    """An image (3, rows, columns), uint8, its label, and the bytes that stand for it in the fingerprint."""

    image: np.ndarray
    label: int
    content: bytes


def decode(content: bytes, size: int) -> np.ndarray:
    """Decode an image to RGB, (3, rows, columns), uint8, upright, its short side `size` pixels.

    Grey, palette, CMYK and RGBA become RGB (transparency is dropped); of 16 bits the high eight are kept.
    What EXIF says of the orientation is followed. An image whose short side is `size` already is not
    resampled; another is resized by Pillow's antialiased bilinear filter, the long side rounded down as
    torchvision's Resize does. Raises ValueError on an aspect ratio above MAX_ASPECT_RATIO and on pixels
    without a known scale (32 bits, floating point), and what Pillow raises on content that is none of
    IMAGE_FORMATS or is damaged.
    """
    with Image.open(BytesIO(content), formats=IMAGE_FORMATS) as opened:
        short, long = sorted(opened.size)
        if long > MAX_ASPECT_RATIO * short:
            raise ValueError(
                f"{opened.width}x{opened.height} pixels, an aspect ratio above {MAX_ASPECT_RATIO}"
            )
        deep = opened.mode.startswith("I;16")
        if opened.mode in ("I", "F"):
            raise ValueError(
                f"pixels of unknown scale, Pillow's mode {opened.mode}: save it with 8 bits a channel"
            )
        image = ImageOps.exif_transpose(opened)
    if deep:  # Pillow's own conversion would make white of all but the darkest
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGB")
    if short != size:
        long = int(size * long / short)
        image = image.resize((size, long) if image.width < image.height else (long, size), Image.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _decode_file(size: int, file: File, label: int, content: bytes) -> Labelled:
    try:
        return Labelled(decode(content, size), label, content)
    except Exception as error:  # decoders of damaged files raise nearly anything
        unknown = isinstance(error, Image.UnidentifiedImageError)
        reason = f"not an image in {', '.join(IMAGE_FORMATS)}" if unknown else str(error).rstrip(".")
        raise UserError(
            f"{file.where} cannot be decoded ({reason}; {len(content):,} bytes); replace or remove the file."
        ) from error


def decoded(files: list[tuple[File, int]], size: int) -> Iterator[Labelled]:
    """Decode in threads (Pillow releases the GIL), in order.

    Raises UserError that names a damaged file.
    """
    # Pillow only warns of an image of more than 89 million pixels, from 268 MB: here it is an error.
    bomb = warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning)
    with bomb, ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # of EXIF that is damaged
        for first in range(0, len(files), _PREFETCH):
            part, labels = zip(*files[first : first + _PREFETCH], strict=True)
            yield from pool.map(partial(_decode_file, size), part, labels, [file.read() for file in part])


def create(
    path: Path,
    source: str,
    name: str,
    class_names: list[str],
    splits: dict[str, tuple[int, Iterable[Labelled]]],
) -> Dataset:
    """Pack the images of `splits`, with how many there are, into the files `path`.npy and `path`.json.

    `source`: the identity of what they are made from. Raises UserError if the files cannot be written, and
    what the images' iterators raise; what stood there before is then as it was.
    """
    fingerprint = hashlib.sha256("".join(f"{name}\n" for name in class_names).encode())
    index = {"source": f"{PACK_VERSION} {source}", "name": name, "class_names": class_names}

    def write(file: BinaryIO) -> None:
        # Not through a memory map: where the disk is full, that is a SIGBUS.
        written = 0
        _write_header(file, written)
        for split, (total, images) in splits.items():
            fingerprint.update(f"{split}\n".encode())
            index[split] = {"sizes": [], "labels": []}
            bar = tqdm(images, f"pack {name} {split}", total, unit="image")
            for image, label, content in bar:
                fingerprint.update(label.to_bytes(8, "little") + len(content).to_bytes(8, "little"))
                fingerprint.update(content)
                written += file.write(image.tobytes())
                index[split]["sizes"].append(image.shape[1:])
                index[split]["labels"].append(label)
        file.seek(0)
        _write_header(file, written)

    pixels = path.with_suffix(".npy")
    try:
        write_atomically(pixels, write)
    except UserError as error:
        if not str(error).startswith(str(pixels)):  # it is an image's
            raise
        raise UserError(f"{str(error).rstrip('.')}, or set XNNLIB_CACHE to another folder.") from error
    index["fingerprint"] = fingerprint.hexdigest()
    index["digest"] = _digest(pixels, index)
    write_atomically(path.with_suffix(".json"), lambda file: file.write(json.dumps(index).encode()))
    return _dataset(pixels, index)


def _write_header(file: BinaryIO, size: int) -> None:
    """NumPy pads it so that it has the same length whatever the size."""
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (size,)})


def load(path: Path, source: str) -> Dataset | None:
    """The data set in `path`.npy and `path`.json, once both have been read through and checked.

    None if they are damaged, of another PACK_VERSION, or made from something else than `source`.
    """
    pixels = path.with_suffix(".npy")
    try:
        index = json.loads(path.with_suffix(".json").read_bytes())
        digest = index.pop("digest")
        if index["source"] == f"{PACK_VERSION} {source}" and _digest(pixels, index) == digest:
            return _dataset(pixels, index)
    except (OSError, LookupError, TypeError, ValueError, AttributeError):  # no JSON, or of something else
        pass
    return None


def _digest(pixels: Path, index: dict) -> str:
    """SHA-256 of the index, then of the file of pixels."""
    start = hashlib.sha256(json.dumps(index).encode())
    with open(pixels, "rb") as file:
        return hashlib.file_digest(file, lambda: start).hexdigest()


def _dataset(path: Path, index: dict) -> Dataset:
    with warnings.catch_warnings(action="ignore"):  # that the pixels are read-only: no one writes them
        pixels = torch.from_numpy(np.load(path, mmap_mode="r"))
    splits, end = {}, 0
    for name in ("train", "val"):
        sizes = torch.tensor(index[name]["sizes"], dtype=torch.int64).view(-1, 2)
        first, end = end, end + 3 * int(sizes.prod(dim=1).sum())
        images = PackedImages(pixels[first:end], sizes)
        splits[name] = Split(images, torch.tensor(index[name]["labels"], dtype=torch.int64))
    return Dataset(index["name"], index["class_names"], **splits, fingerprint=index["fingerprint"])
