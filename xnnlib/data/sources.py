"""The layouts of the image sources: which file belongs to which class and split.

Classes are taken in sorted order of their names, images of a class in the natural order of their
file names (numbers compare as numbers: `2.jpg` before `10.jpg`).
"""

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from xnnlib.data.archives import Folder, Zip, open_archive
from xnnlib.errors import UserError


class File(NamedTuple):
    """One encoded image in its container."""

    archive: Folder | Zip
    name: str

    def read(self) -> bytes:
        return self.archive.read(self.name)

    def where(self) -> str:
        return self.archive.where(self.name)


Classes = dict[str, list[File]]


@dataclass(frozen=True)
class Listing:
    """All files of a source, by split and class. `root` is for messages."""

    root: str
    class_names: list[str]
    train: Classes
    val: Classes


@dataclass(frozen=True)
class Selection:
    """The files that were asked for, class after class, with their labels."""

    class_names: list[str]
    train: list[tuple[File, int]]
    val: list[tuple[File, int]]


def natural_key(file: File) -> tuple:
    """Sorts `n_2.JPEG` before `n_10.JPEG`; the path decides between files of one name."""
    base = file.name.rsplit("/", 1)[-1]
    return [int(t) if i % 2 else t for i, t in enumerate(re.split("([0-9]+)", base))], file.name


def _classes_under(archive: Folder | Zip, names: Iterable[str], prefix: str) -> Classes:
    """Files below `<prefix><class>/`, by class; a class folder without files is an empty list."""
    classes: Classes = {}
    for name in names:
        if name.startswith(prefix):
            class_name, slash, rest = name[len(prefix) :].partition("/")
            if slash:
                files = classes.setdefault(class_name, [])
                if rest and not rest.endswith("/"):
                    files.append(File(archive, name))
    return classes


def _wrapper(names: list[str], depth: int) -> str:
    """The one folder around everything, as a prefix, where the files lie deeper than `depth` folders."""
    files = [name for name in names if not name.endswith("/")]
    tops = {name.split("/", 1)[0] for name in files}
    return f"{tops.pop()}/" if len(tops) == 1 and all(name.count("/") > depth for name in files) else ""


class TinyImageNet:
    """Tiny ImageNet's own layout, in its zip, its folder, or that folder's parent.

    `wnids.txt`, `train/<wnid>/images/*.JPEG`, `val/images/*.JPEG`, `val/val_annotations.txt`.
    """

    def __init__(self, data_root: str):
        data_root = data_root or os.environ.get("XNNLIB_TINY_IMAGENET", "")
        if not data_root:
            raise UserError(
                "data_root is empty; give the zip file or folder of Tiny ImageNet, "
                "or set XNNLIB_TINY_IMAGENET to it."
            )
        self.archive = open_archive(data_root)
        self.path = self.archive.path

    def identity(self) -> list:
        return self.archive.identity()

    def listing(self) -> Listing:
        names = self.archive.names()
        root = str(self.path)
        tops = [name[: -len("wnids.txt")] for name in names if f"/{name}".endswith("/wnids.txt")]
        if not tops:
            raise UserError(
                f"{root} is not Tiny ImageNet: no wnids.txt in it; give tiny-imagenet-200.zip or its folder."
            )
        top = min(tops, key=len)
        wnids = sorted(self._lines(f"{top}wnids.txt"))
        for wnid, count in Counter(wnids).items():
            if count > 1:
                where = self.archive.where(f"{top}wnids.txt")
                raise UserError(f"{where} lists {wnid!r} {count} times; copy or download the data again.")
        return Listing(root, wnids, self._train(names, top), self._val(names, top, set(wnids)))

    def _lines(self, name: str) -> list[str]:
        text = self.archive.read(name).decode("utf-8", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()]

    def _train(self, names: list[str], top: str) -> Classes:
        files = _classes_under(self.archive, names, f"{top}train/")
        return {wnid: [f for f in found if "/images/" in f.name] for wnid, found in files.items()}

    def _val(self, names: list[str], top: str, wnids: set[str]) -> Classes:
        annotations = f"{top}val/val_annotations.txt"
        present = set(names)
        if annotations not in present:
            raise UserError(
                f"{self.archive.where(annotations)} is missing: no validation split; "
                "copy or download the data again."
            )
        classes: Classes = {}
        for number, line in enumerate(self._lines(annotations), start=1):
            columns = line.split("\t")
            if len(columns) < 2 or columns[1] not in wnids:
                raise UserError(
                    f"{self.archive.where(annotations)}, line {number}: expected a file name, a tab and a "
                    f"class of wnids.txt, found {line[:60]!r}; copy or download the data again."
                )
            name = f"{top}val/images/{columns[0]}"
            if name not in present:
                raise UserError(
                    f"{self.archive.where(name)} is listed in val_annotations.txt and missing, "
                    "or listed twice; copy or download the data again."
                )
            present.remove(name)  # a second line for it would be refused above
            classes.setdefault(columns[1], []).append(File(self.archive, name))
        return classes


class ImageNet64:
    """The course's zips in one folder: `Train1.zip` to `Train5.zip` and `Val1.zip`, or their folders.

    Each holds `<class>/*`, or that in one more folder. A class may be spread over several of them. Of a
    zip and a folder of the same name the zip is read.
    """

    def __init__(self, data_root: str):
        root = open_archive(_required(data_root, "the folder of Train1.zip to Train5.zip and Val1.zip"))
        if isinstance(root, Zip):
            raise UserError(
                f"data_root {data_root!r} is a file; give the folder that holds Train1.zip to Val1.zip."
            )
        self.path = root.path
        self.parts = {split: self._find(split) for split in ("train", "val")}

    def _find(self, split: str) -> list[Folder | Zip]:
        pattern = re.compile(rf"{split}[0-9]*(\.zip)?", re.IGNORECASE)
        try:
            entries = sorted(self.path.iterdir())
        except OSError as error:
            raise UserError(f"{self.path} cannot be read ({error.strerror}); make it readable.") from error
        paths = {
            path.name.lower().removesuffix(".zip"): path for path in entries if pattern.fullmatch(path.name)
        }
        if not paths:
            raise UserError(
                f"{self.path} has no {split.capitalize()}1.zip (nor a folder of that name); "
                "give the folder that holds the course's zips."
            )
        return [open_archive(path) for path in paths.values()]

    def identity(self) -> list:
        return [[part.path.name, part.identity()] for parts in self.parts.values() for part in parts]

    def listing(self) -> Listing:
        splits = {}
        for split, parts in self.parts.items():
            classes: Classes = {}
            for part in parts:
                names = part.names()
                for name, files in _classes_under(part, names, _wrapper(names, depth=1)).items():
                    classes.setdefault(name, []).extend(files)
            splits[split] = classes
        return Listing(str(self.path), sorted(splits["train"] | splits["val"]), **splits)


class ImageFolder:
    """`train/<class>/*` and `val/<class>/*`, in a folder or a zip, or that in one more folder."""

    def __init__(self, data_root: str):
        self.archive = open_archive(_required(data_root, "the folder or zip with train/ and val/"))
        self.path = self.archive.path

    def identity(self) -> list:
        return self.archive.identity()

    def listing(self) -> Listing:
        names = self.archive.names()
        top = "" if any(name.startswith("train/") for name in names) else _wrapper(names, depth=2)
        train = _classes_under(self.archive, names, f"{top}train/")
        val = _classes_under(self.archive, names, f"{top}val/")
        return Listing(str(self.path), sorted(train | val), train, val)


def _required(data_root: str, what: str) -> Path:
    if not data_root:
        raise UserError(f"data_root is empty; give {what}.")
    return Path(data_root)


FILE_SOURCES = {"tiny-imagenet": TinyImageNet, "imagenet64": ImageNet64, "folder": ImageFolder}


def spread(total: int, num_classes: int, parameter: str) -> list[int]:
    """How many images of each class make `total`: evenly, the first classes one more."""
    if total < num_classes:
        raise UserError(f"{parameter} is {total} for {num_classes} classes; give at least one image a class.")
    each, more = divmod(total, num_classes)
    return [each + (label < more) for label in range(num_classes)]


def select(listing: Listing, num_classes: int, train_images: int, val_images: int) -> Selection:
    """The first classes, and the first images of each; 0 means all.

    Raises UserError on too many classes, too few images, an empty class, a missing split.
    """
    available = len(listing.class_names)
    if num_classes > available:
        raise UserError(
            f"num_classes is {num_classes}; {listing.root} has {available}: ask for at most that."
        )
    class_names = listing.class_names[: num_classes or available]
    splits = {}
    for split, total in (("train", train_images), ("val", val_images)):
        classes = getattr(listing, split)
        if not any(classes.values()):
            raise UserError(f"{listing.root} has no {split} images; check that the {split} split is there.")
        counts = spread(total, len(class_names), f"{split}_images") if total else [0] * len(class_names)
        chosen = []
        for label, (name, count) in enumerate(zip(class_names, counts, strict=True)):
            files = sorted(classes.get(name, []), key=natural_key)
            if not files:
                raise UserError(
                    f"{listing.root}: class {name!r} has no {split} images; add some or remove the class."
                )
            if count > len(files):
                raise UserError(
                    f"{split}_images is {total}, {count} of class {name!r}, and {listing.root} has "
                    f"{len(files)} of it; ask for at most {len(files) * len(class_names)}."
                )
            chosen += [(file, label) for file in files[: count or len(files)]]
        splits[split] = chosen
    return Selection(class_names, **splits)
