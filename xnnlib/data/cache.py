"""The packed data set on disk: one safetensors file, written whole or not at all.

The file is written and read here rather than by the safetensors package, which wants all tensors in memory
to write them and maps the file to read it (`xnnlib.data.stream` says why not). Pixels come first, so that
they are written as they are made: neither way does the memory needed grow with them. After them, in this
order, class_names (JSON, as bytes), and sizes and labels of each split.
"""

import json
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch
from tqdm import tqdm

from xnnlib.data.images import Dataset, Split
from xnnlib.data.stream import StoredImages, read_at
from xnnlib.errors import UserError
from xnnlib.files import write_atomically

FORMAT = 2

_DATA = 4096  # where the pixels begin; what goes before them has a length of some hundreds of bytes
_BLOCK = 2**24  # bytes checked at once


class Stale(Exception):
    """Why a cache file cannot be used."""


def cache_folder(cache_dir: str | os.PathLike | None) -> Path:
    """`cache_dir`, else the environment's XNNLIB_CACHE, else ~/.cache/xnnlib."""
    return Path(cache_dir or os.environ.get("XNNLIB_CACHE") or "~/.cache/xnnlib").expanduser()


def create(path: Path, source: list | str, pack: Callable[[BinaryIO], Dataset], progress: bool) -> Dataset:
    """Let `pack` write the pixels into a file and complete it to the cache `path`; returns what is in it.

    `source`: the identity of what it is made from. The file appears under its name only when it is
    complete and on the disk. Raises UserError if it cannot be written, and what `pack` raises; then what
    stood there before is as it was.
    """

    def write(file: BinaryIO) -> None:
        file.seek(_DATA)
        _complete(file, pack(file), source, progress)

    write_atomically(path, write)
    return _opened(path, lambda file: _dataset(file, _table(file)))


def load(path: Path, source: list | str, progress: bool) -> Dataset:
    """The data set in `path`, its images still in the file, which has been read through once and checked.

    Raises Stale if it is damaged, or made from something else than `source`.
    """

    def checked(file: BinaryIO) -> Dataset:
        table = _table(file)
        header = json.loads(table["__metadata__"]["xnnlib"])
        if header["format"] != FORMAT:
            raise Stale("it is of another version")
        if header["source"] != source:
            raise Stale("the source has changed")
        if table["__metadata__"].pop("checksum") != _checksum(file, table, progress):
            raise Stale("it is damaged")
        return _dataset(file, table)

    try:
        return _opened(path, checked)
    except (UserError, OSError, KeyError, TypeError, ValueError) as error:
        raise Stale("it is damaged") from error


def _opened(path: Path, read: Callable[[BinaryIO], Dataset]) -> Dataset:
    """What `read` makes of the file, which stays open for the images in it."""
    file = open(path, "rb")  # noqa: SIM115
    try:
        return read(file)
    except BaseException:
        file.close()
        raise


def _complete(file: BinaryIO, dataset: Dataset, source: list | str, progress: bool) -> None:
    """Write what goes after the pixels and before them; the file is read, too, for its checksum."""
    table, end = {}, 0
    for name in ("train", "val"):
        nbytes = getattr(dataset, name).images.nbytes
        table[f"{name}.pixels"] = _entry("U8", [nbytes], end)
        end += nbytes
    file.seek(_DATA + end)
    class_names = json.dumps(dataset.class_names).encode()
    class_names += b" " * (-(end + len(class_names)) % 8)  # so that what follows is aligned
    table["class_names"] = _entry("U8", [len(class_names)], end)
    end += file.write(class_names)
    for name in ("train", "val"):
        split = getattr(dataset, name)
        for key, tensor in (("sizes", split.images.sizes), ("labels", split.labels)):
            table[f"{name}.{key}"] = _entry("I64", list(tensor.shape), end)
            end += file.write(tensor.contiguous().numpy())
    file.flush()
    header = {"format": FORMAT, "name": dataset.name, "fingerprint": dataset.fingerprint, "source": source}
    table["__metadata__"] = {"xnnlib": json.dumps(header)}
    table["__metadata__"]["checksum"] = _checksum(file, table, progress)
    # Spaces may follow the header's JSON: so it can be written last, into the room that was left for it.
    file.seek(0)
    file.write((_DATA - 8).to_bytes(8, "little") + json.dumps(table).encode().ljust(_DATA - 8))
    file.flush()


def _entry(dtype: str, shape: list[int], begin: int) -> dict:
    nbytes = math.prod(shape) * {"U8": 1, "I64": 8}[dtype]
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin + nbytes]}


def _table(file: BinaryIO) -> dict:
    """The header of a safetensors file."""
    length = int.from_bytes(file.read(8), "little")
    return json.loads(file.read(min(length, os.fstat(file.fileno()).st_size)))


def _checksum(file: BinaryIO, table: dict, progress: bool) -> str:
    """CRC-32, in hexadecimal, of the header without the checksum itself, then of all data."""
    checksum = zlib.crc32(json.dumps(table).encode())
    size, block = os.fstat(file.fileno()).st_size, memoryview(bytearray(_BLOCK))
    with tqdm(
        total=size, desc="check the cache", unit="B", unit_scale=True, delay=2, disable=not progress
    ) as bar:
        for offset in range(_DATA, size, _BLOCK):
            part = block[: size - offset]
            read_at(file, part, offset)
            checksum = zlib.crc32(part, checksum)
            bar.update(len(part))
    return f"{checksum:08x}"


def _dataset(file: BinaryIO, table: dict) -> Dataset:
    def values(key: str) -> bytearray:
        begin, end = table[key]["data_offsets"]
        content = bytearray(end - begin)
        read_at(file, memoryview(content), _DATA + begin)
        return content

    def integers(key: str) -> torch.Tensor:
        return torch.frombuffer(values(key), dtype=torch.int64).view(table[key]["shape"])

    splits = {}
    for name in ("train", "val"):
        first = _DATA + table[f"{name}.pixels"]["data_offsets"][0]
        images = StoredImages.contiguous(file, first, integers(f"{name}.sizes"))
        splits[name] = Split(images, integers(f"{name}.labels"))
    header = json.loads(table["__metadata__"]["xnnlib"])
    class_names = json.loads(values("class_names"))
    return Dataset(header["name"], class_names, **splits, fingerprint=header["fingerprint"])
