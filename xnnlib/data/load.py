"""One call for every source: from the cache, or packed into it first."""

import hashlib
import json
import os
import sys
from typing import BinaryIO

from xnnlib.data import cache, shapes
from xnnlib.data.images import Dataset
from xnnlib.data.pack import pack_files
from xnnlib.data.sources import FILE_SOURCES, select
from xnnlib.errors import UserError, choose
from xnnlib.settings import Settings
from xnnlib.spec import DATASETS as SOURCES


def load_dataset(
    name: str,
    data_root: str | os.PathLike = "",
    num_classes: int | None = None,
    train_images: int | None = None,
    val_images: int | None = None,
    size: int = 64,
    seed: int = 0,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Dataset:
    """The data set `name`, one of SOURCES, packed; its images stay in the cache's file until they are wanted.

    `data_root`: the zip file or folder (tiny-imagenet: if empty, the environment's
    XNNLIB_TINY_IMAGENET; shapes: unused). `num_classes`: the first classes in sorted order.
    `train_images`, `val_images`: images of the whole split, spread evenly over the classes, the first
    classes one more where that leaves a rest; of each class its first ones. None or 0 means all (for
    shapes 100 and 20 a class). `size`: the short side in pixels; nothing is cropped. `seed`: of shapes
    alone. `cache_dir`: see `xnnlib.data.cache.cache_folder`.

    Raises UserError, one line, on every mistake in these and on damaged or missing files.
    """
    choose("dataset", name, SOURCES)
    request = {"name": name, "size": size, "seed": seed}
    counts = {"num_classes": num_classes, "train_images": train_images, "val_images": val_images}
    for parameter, value in counts.items():
        request[parameter] = _whole(parameter, 0 if value is None else value, at_least=0)
    _whole("size", size, at_least=8)
    _whole("seed", seed, at_least=0)

    if name == "shapes":
        source, identity = None, shapes.identity()
    else:
        source = FILE_SOURCES[name](str(data_root))
        request["data_root"] = str(source.path.resolve())
        identity = source.identity()
    # Digested, so that the many files of a folder do not swell the cache's header.
    identity = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    key = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]
    path = cache.cache_folder(cache_dir) / f"{name}-{key}.safetensors"
    if path.exists():
        try:
            return cache.load(path, identity, progress)
        except cache.Stale as why:
            print(f"cache {path}: {why}; packing again", file=sys.stderr)
    counts = [request[parameter] for parameter in counts]

    def pack(pixels: BinaryIO) -> Dataset:
        if source is None:
            return shapes.make_dataset(*counts, size=size, seed=seed, progress=progress, pixels=pixels)
        return pack_files(name, select(source.listing(), *counts), size, progress, pixels)

    return cache.create(path, identity, pack, progress)


def load_images(settings: Settings) -> Dataset:
    """The images that the settings name. Raises UserError as `load_dataset` does."""
    dataset = load_dataset(
        settings.dataset,
        settings.data_root,
        settings.num_classes,
        settings.train_images,
        settings.val_images,
        size=settings.routine.resize,
    )
    return dataset.held_out() if settings.hold_out else dataset


def _whole(parameter: str, value: int, at_least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise UserError(f"{parameter} is {value!r}; it must be a whole number of at least {at_least}.")
    return value
