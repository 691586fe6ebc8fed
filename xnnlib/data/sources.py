"""The layouts of the image sources: which file belongs to which class and split.

Classes are taken in sorted order of their names, images of a class in the natural order of their
file names (numbers compare as numbers: `2.jpg` before `10.jpg`).
"""

import codecs
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from xnnlib.data.archives import Folder, Zip, open_archive
from xnnlib.errors import UserError


class File(NamedTuple):
    """One encoded image in its archive."""

    archive: Folder | Zip
    name: str

    def read(self) -> bytes:
        return self.archive.read(self.name)

    def where(self) -> str:
        return self.archive.where(self.name)


Classes = dict[str, list[File]]


@dataclass(frozen=True)
class Source:
    """The archives of a data set and the layout that sorts their files. `path` is for messages."""

    path: Path
    archives: list[Folder | Zip]
    layout: Callable[["Source"], tuple[Classes, Classes]]

    def identity(self) -> list:
        """What changes when the files do, found without reading them."""
        return [[archive.path.name, archive.identity()] for archive in self.archives]

    def classes(self) -> tuple[Classes, Classes]:
        """The training files and the validation files by class. Raises UserError on another layout."""
        return self.layout(self)


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


def _found(names: list[str], top: str) -> str:
    """What lies in a folder, for a message; where that is one folder alone, what lies in it."""
    rests = [name[len(top) :] for name in names if name.startswith(top)]
    wrapper = os.path.commonprefix(rests).rpartition("/")[0]
    wrapper += "/" * bool(wrapper)
    parts = (rest[len(wrapper) :].partition("/") for rest in rests)
    found = sorted({f"{wrapper}{first}{slash}" for first, slash, _ in parts if first})
    if len(found) > 5:
        found[5:] = ["..."]
    return ", ".join(found) or "nothing"


def open_tiny_imagenet(data_root: str) -> Source:
    """Tiny ImageNet's own layout, in its zip, its folder, or that folder's parent.

    `wnids.txt`, `train/<wnid>/images/*.JPEG`, `val/images/*.JPEG`, `val/val_annotations.txt`. Without
    `data_root` the environment's XNNLIB_TINY_IMAGENET is read.
    """
    data_root = data_root or os.environ.get("XNNLIB_TINY_IMAGENET", "")
    if not data_root:
        raise UserError(
            "data_root is empty; give the zip file or folder of Tiny ImageNet, "
            "or set XNNLIB_TINY_IMAGENET to it."
        )
    archive = open_archive(data_root)
    return Source(archive.path, [archive], _tiny_imagenet)


def _tiny_imagenet(source: Source) -> tuple[Classes, Classes]:
    (archive,) = source.archives
    names = archive.names()
    tops = [name[: -len("wnids.txt")] for name in names if f"/{name}".endswith("/wnids.txt")]
    if not tops:
        raise UserError(
            f"{source.path} is not Tiny ImageNet: no wnids.txt in it, but {_found(names, '')}; "
            "give tiny-imagenet-200.zip or its folder."
        )
    top = min(tops, key=len)
    wnids = sorted(_lines(archive, f"{top}wnids.txt"))
    for wnid, count in Counter(wnids).items():
        if count > 1:
            raise UserError(
                f"{archive.where(f'{top}wnids.txt')} lists {wnid!r} {count} times; "
                "copy or download the data again."
            )
    found = _classes_under(archive, names, f"{top}train/")
    train: Classes = {}
    for wnid in wnids:
        folder = f"{top}train/{wnid}/"
        train[wnid] = [file for file in found.get(wnid, []) if file.name.startswith(f"{folder}images/")]
        if found.get(wnid) and not train[wnid] and f"{folder}images/" not in names:
            raise UserError(
                f"{archive.where(folder)} has no folder images/ (it has {_found(names, folder)}): not Tiny "
                "ImageNet's own layout; download it anew, or, if val/ has a folder a class too, read it as "
                "dataset folder."
            )
    return train, _tiny_imagenet_val(archive, names, top, set(wnids))


def _tiny_imagenet_val(archive: Folder | Zip, names: list[str], top: str, wnids: set[str]) -> Classes:
    annotations, present, classes = f"{top}val/val_annotations.txt", set(names), {}
    if annotations not in present:
        raise UserError(
            f"{archive.where(annotations)} is missing: no validation split; copy or download the data again."
        )
    for number, line in enumerate(_lines(archive, annotations), start=1):
        columns = line.split("\t")
        if len(columns) < 2 or columns[1] not in wnids:
            raise UserError(
                f"{archive.where(annotations)}, line {number}: expected a file name, a tab and a "
                f"class of wnids.txt, found {line[:60]!r}; copy or download the data again."
            )
        name = f"{top}val/images/{columns[0]}"
        if name not in present:
            raise UserError(
                f"{archive.where(name)} is listed in val_annotations.txt and missing (val/ has "
                f"{_found(names, f'{top}val/')}), or listed twice; copy or download the data again."
            )
        present.remove(name)  # a second line for it would be refused above
        classes.setdefault(columns[1], []).append(File(archive, name))
    return classes


def _lines(archive: Folder | Zip, name: str) -> list[str]:
    """The lines of a text file, whichever byte-order mark an editor or a shell has put before them."""
    content = archive.read(name)
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if utf16 else "utf-8-sig", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def open_imagenet64(data_root: str) -> Source:
    """The course's parts: `Train1.zip` to `Train5.zip` and `Val1.zip`, or folders of these names.

    Each holds `<class>/*`, or one folder of its own around that; the parts of a split are joined. Letter
    case does not count. Where a folder and a zip have the same name the zip is read.
    """
    root = open_archive(data_root)
    if isinstance(root, Zip):
        raise UserError(
            f"data_root {data_root!r} is a file; give the folder that holds Train1.zip to Val1.zip."
        )
    archives = []
    for split in ("train", "val"):
        pattern, parts = re.compile(rf"{split}[0-9]*(\.zip)?", re.IGNORECASE), {}
        for path in sorted(root.path.iterdir()):
            if pattern.fullmatch(path.name):
                parts.setdefault(path.name.lower(), []).append(path)
        for name, paths in parts.items():
            if len(paths) > 1:
                raise UserError(f"{paths[0]} and {paths[1]} differ in letter case alone; remove one.")
            if not name.endswith(".zip") and f"{name}.zip" in parts:
                continue
            archives.append(open_archive(paths[0]))
        if not parts:
            raise UserError(
                f"{root.path} has no {split.capitalize()}1.zip (nor a folder of that name); "
                "give the folder that holds the course's zips."
            )
    return Source(root.path, archives, _imagenet64)


def _imagenet64(source: Source) -> tuple[Classes, Classes]:
    splits: tuple[Classes, Classes] = {}, {}
    for archive in source.archives:
        names = archive.names()
        # Files beside the folders belong to no class, around the classes or at the top.
        folders = {name.split("/", 1)[0] for name in names if "/" in name}
        deep = any(name.count("/") > 1 and not name.endswith("/") for name in names)
        wrapper = f"{folders.pop()}/" if len(folders) == 1 and deep else ""
        split = splits[archive.path.name.lower().startswith("val")]
        for name, files in _classes_under(archive, names, wrapper).items():
            split.setdefault(name, []).extend(files)
    return splits


def open_folder(data_root: str) -> Source:
    """`train/<class>/*` and `val/<class>/*`, in a folder or a zip, at the top or in folders around them."""
    archive = open_archive(data_root)
    return Source(archive.path, [archive], _folder)


def _folder(source: Source) -> tuple[Classes, Classes]:
    (archive,) = source.archives
    names = archive.names()
    tops = {f"/{name}".partition("/train/")[0][1:] for name in names if "/train/" in f"/{name}"}
    depth = min((top.count("/") + bool(top) for top in tops), default=0)
    tops = sorted(top for top in tops if top.count("/") + bool(top) == depth)
    if not tops:
        raise UserError(
            f"{source.path} has no train/ with a folder for each class (it has {_found(names, '')}); "
            "give the folder or zip that holds train/ and val/."
        )
    if len(tops) > 1:
        raise UserError(f"{source.path} has train/ in {', '.join(tops[:8])}; give one of these folders.")
    top = f"{tops[0]}/" if tops[0] else ""
    if not any(name.startswith(f"{top}val/") for name in names):
        raise UserError(
            f"{source.path} has no val/ beside {top}train/ (there is {_found(names, top)}); "
            "rename the validation split to val/."
        )
    return _classes_under(archive, names, f"{top}train/"), _classes_under(archive, names, f"{top}val/")


FILE_SOURCES = {"tiny-imagenet": open_tiny_imagenet, "imagenet64": open_imagenet64, "folder": open_folder}


def spread(total: int, num_classes: int, parameter: str) -> list[int]:
    """How many images of each class make `total`: evenly, the first classes one more."""
    if total < num_classes:
        raise UserError(f"{parameter} is {total} for {num_classes} classes; give at least one image a class.")
    each, more = divmod(total, num_classes)
    return [each + (label < more) for label in range(num_classes)]


def _natural_key(file: File) -> tuple:
    """Sorts `n_2.JPEG` before `n_10.JPEG`; the path decides between files of one name."""
    base = file.name.rsplit("/", 1)[-1]
    return [int(t) if i % 2 else t for i, t in enumerate(re.split("([0-9]+)", base))], file.name


def select(
    source: Source, num_classes: int, train_images: int, val_images: int
) -> tuple[list[str], dict[str, list[tuple[File, int]]]]:
    """Names of the first classes, and for each split the first files of each with its label; 0 means all.

    Raises UserError on too many classes, too few images, an empty class, a missing split.
    """
    splits = dict(zip(("train", "val"), source.classes(), strict=True))
    class_names = sorted(splits["train"] | splits["val"])
    if num_classes > len(class_names):
        raise UserError(
            f"num_classes is {num_classes}; {source.path} has {len(class_names)}: ask for at most that."
        )
    class_names = class_names[: num_classes or len(class_names)]
    chosen = {}
    for split, total in (("train", train_images), ("val", val_images)):
        if not any(splits[split].values()):
            raise UserError(f"{source.path} has no {split} images; check that the {split} split is there.")
        counts = spread(total, len(class_names), f"{split}_images") if total else [0] * len(class_names)
        chosen[split] = []
        for label, (name, count) in enumerate(zip(class_names, counts, strict=True)):
            files = sorted(splits[split].get(name, []), key=_natural_key)
            if not files:
                raise UserError(
                    f"{source.path}: class {name!r} has no {split} images; add some or remove the class."
                )
            if count > len(files):
                raise UserError(
                    f"{split}_images is {total}, {count} of class {name!r}, and {source.path} has "
                    f"{len(files)} of it; ask for at most {len(files) * len(class_names)}."
                )
            chosen[split] += [(file, label) for file in files[: count or len(files)]]
    return class_names, chosen
