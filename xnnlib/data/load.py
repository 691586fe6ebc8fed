"""One call for every source: from the cache, or packed into it first."""

import hashlib
import json
import os
import sys
from pathlib import Path

from xnnlib.data import pack, shapes
from xnnlib.data.archives import identity as archive_identity
from xnnlib.data.images import Dataset
from xnnlib.data.sources import archives_of, find_source, select
from xnnlib.errors import UserError, choose
from xnnlib.settings import Settings
from xnnlib.spec import DATASETS


def load_dataset(
    name: str,
    data_root: str | os.PathLike = "",
    num_classes: int = 0,
    train_images: int = 0,
    val_images: int = 0,
    size: int = 64,
    seed: int = 0,
) -> Dataset:
    """The data set `name`, one of DATASETS, packed; its pixels are mapped from the cache's file.

    `data_root`: the zip file or folder (tiny-imagenet: if empty, the environment's XNNLIB_TINY_IMAGENET;
    shapes: unused); a relative one starts at the project's root, as a run folder does. `num_classes`: the
    first classes in sorted order (shapes: in the order of `shapes.OUTLINES`). `train_images`, `val_images`:
    images of the whole split, spread evenly over the classes, the first classes one more where that leaves a
    remainder; of each class its first ones. 0 means all (for shapes 100 and 20 a class). `size`: the short
    side in pixels; nothing is cropped. `seed`: of shapes alone. The cache is in
    the environment's XNNLIB_CACHE, else in ~/.cache/xnnlib.

    Raises UserError, one line, on every mistake in these and on damaged or missing files.
    """
    choose("dataset", name, DATASETS)
    counts = {"num_classes": num_classes, "train_images": train_images, "val_images": val_images}
    request = counts | {"size": size, "seed": seed}
    for parameter, value in request.items():
        least = 8 if parameter == "size" else 0
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{parameter} is {value!r}; it must be an integer of at least {least}.")
    if name == "shapes":
        identity = shapes.identity()
    else:
        root = find_source(name, data_root)
        request["data_root"] = str(root.resolve())
        identity = [[path.name, archive_identity(path)] for path in archives_of(name, root)]
    # Hashed, so that the many files of a folder do not swell the index.
    identity, key = (
        hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest() for what in (identity, request)
    )
    folder = Path(os.environ.get("XNNLIB_CACHE") or "~/.cache/xnnlib").expanduser()
    path = folder / f"{name}-{key[:16]}"
    if path.with_suffix(".json").exists():
        if dataset := pack.load(path, identity):
            return dataset
        print(f"cache {path}: it is damaged or its source has changed; packing again", file=sys.stderr)
    if name == "shapes":
        class_names, splits = shapes.splits(**counts, size=size, seed=seed)
    else:
        class_names, files = select(name, root, **counts)
        splits = {split: (len(chosen), pack.decoded(chosen, size)) for split, chosen in files.items()}
    return pack.create(path, identity, name, class_names, splits)


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
