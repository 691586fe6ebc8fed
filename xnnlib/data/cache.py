"""The packed data set on disk: one safetensors file, written whole or not at all."""

import json
import os
import zlib
from pathlib import Path
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from xnnlib.data.images import Dataset, PackedImages, Split
from xnnlib.errors import UserError

FORMAT = 1


class Stale(Exception):
    """Why a cache file cannot be used."""


def cache_folder(cache_dir: str | os.PathLike | None) -> Path:
    """`cache_dir`, else the environment's XNNLIB_CACHE, else ~/.cache/xnnlib."""
    return Path(cache_dir or os.environ.get("XNNLIB_CACHE") or "~/.cache/xnnlib").expanduser()


def _checksum(tensors: dict[str, torch.Tensor]) -> int:
    checksum = 0
    for key in sorted(tensors):
        checksum = zlib.crc32(tensors[key].numpy(), checksum)
    return checksum


def save(path: Path, dataset: Dataset, source: list) -> None:
    """Write `dataset` to `path`, with `source`, the identity of what it was made from.

    The file appears under its name only when it is complete and on the disk.
    Raises UserError if the folder cannot be written.
    """
    tensors = {}
    for name in ("train", "val"):
        split = getattr(dataset, name)
        tensors[f"{name}.pixels"] = split.images.pixels
        tensors[f"{name}.sizes"] = split.images.sizes
        tensors[f"{name}.labels"] = split.labels
    header = {
        "format": FORMAT,
        "name": dataset.name,
        "class_names": dataset.class_names,
        "fingerprint": dataset.fingerprint,
        "source": source,
        "checksum": _checksum(tensors),
    }
    temporary = path.with_name(f"{path.stem}-{uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata={"xnnlib": json.dumps(header)})
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cache {path} cannot be written ({error}); free space or set XNNLIB_CACHE to another folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, source: list) -> Dataset:
    """Read `path`. Raises Stale if it is damaged, or made from something else than `source`."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["xnnlib"])
            if header["format"] != FORMAT:
                raise Stale("it is of another version")
            if header["source"] != source:
                raise Stale("the source has changed")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise Stale("it is damaged") from error
    if _checksum(tensors) != header["checksum"]:
        raise Stale("it is damaged")
    splits = {
        name: Split(
            PackedImages(tensors[f"{name}.pixels"], tensors[f"{name}.sizes"]), tensors[f"{name}.labels"]
        )
        for name in ("train", "val")
    }
    return Dataset(header["name"], header["class_names"], **splits, fingerprint=header["fingerprint"])
