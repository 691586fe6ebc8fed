"""The layouts of the image sources: which file belongs to which class and split.

Classes are taken in sorted order of their names, images of a class in the natural order of their
file names (numbers compare as numbers: `2.jpg` before `10.jpg`).
"""

import codecs
import os
import re
from collections.abc import Callable
from pathlib import Path

from xnnlib.data.archives import File, Files, find, identity, open_archive
from xnnlib.errors import UserError

Classes = dict[str, list[File]]

_AGAIN = "copy or download the data again"


class Source:
    """The source `name`, one of FILE_SOURCES, in the folder or zip file `data_root`.

    For tiny-imagenet an empty `data_root` is the environment's XNNLIB_TINY_IMAGENET. Raises UserError if
    nothing is there.
    """

    def __init__(self, name: str, data_root: str | os.PathLike):
        if name == "tiny-imagenet" and not str(data_root):
            data_root = os.environ.get("XNNLIB_TINY_IMAGENET", "")
            if not data_root:
                raise UserError(
                    "data_root is empty; give the zip file or folder of Tiny ImageNet, "
                    "or set XNNLIB_TINY_IMAGENET to it."
                )
        self.path = find(data_root)
        self._layout = FILE_SOURCES[name]
        self._parts = _course_parts(self.path) if name == "imagenet64" else [self.path]

    def identity(self) -> list:
        """What changes when the files do, found without reading them."""
        return [[part.name, identity(part)] for part in self._parts]

    def splits(self) -> dict[str, Classes]:
        """The files of each split by class. Raises UserError on another layout and on unsafe files."""
        train, val = self._layout({part: open_archive(part) for part in self._parts})
        return {"train": train, "val": val}


def _classes_under(files: Files, prefix: str) -> Classes:
    """Files below `<prefix><class>/`, by class; a class folder without files is an empty list."""
    classes: Classes = {}
    for name, file in files.items():
        if name.startswith(prefix):
            class_name, slash, rest = name[len(prefix) :].partition("/")
            if slash:
                own = classes.setdefault(class_name, [])
                if rest and not rest.endswith("/"):
                    own.append(file)
    return classes


def _found(files: Files, top: str = "") -> str:
    """What lies in a folder, for a message; where that is one folder alone, what lies in it."""
    rests = [name[len(top) :] for name in files if name.startswith(top)]
    wrapper = re.sub("[^/]*$", "", os.path.commonprefix(rests))
    found = sorted({re.match("[^/]*/?", rest[len(wrapper) :])[0] for rest in rests} - {""})
    return ", ".join(f"{wrapper}{name}" for name in found[:6]) + ", ..." * (len(found) > 6) or "nothing"


def _top(path: Path, files: Files, marker: str, advice: str) -> str:
    """The folder, "" or ending in `/`, that holds `marker`, the one that is closest to the top."""
    pattern = re.compile(f"(|.*?/){re.escape(marker)}" + "$" * (not marker.endswith("/")))
    tops = {found[1] for name in files if (found := pattern.match(name))}
    if not tops:
        raise UserError(f"{path} has no {marker} (it has {_found(files)}); {advice}.")
    depth = min(top.count("/") for top in tops)
    tops = sorted(top for top in tops if top.count("/") == depth)
    if len(tops) > 1:
        raise UserError(f"{path} has {marker} in {', '.join(tops[:8])}; give one of these folders.")
    return tops[0]


def _tiny_imagenet(archives: dict[Path, Files]) -> tuple[Classes, Classes]:
    """Tiny ImageNet's own layout, in its zip, its folder, or that folder's parent.

    `wnids.txt`, `train/<wnid>/images/*.JPEG`, `val/images/*.JPEG`, `val/val_annotations.txt`.
    """
    ((path, files),) = archives.items()
    top = _top(path, files, "wnids.txt", "give tiny-imagenet-200.zip or its folder")
    wnids = sorted(_lines(files[f"{top}wnids.txt"]))
    found, train = _classes_under(files, f"{top}train/"), {}
    for wnid in wnids:
        if wnid in train:
            raise UserError(f"{files[f'{top}wnids.txt'].where} lists {wnid!r} twice; {_AGAIN}.")
        folder = f"{top}train/{wnid}/"
        train[wnid] = [file for file in found.get(wnid, []) if file.name.startswith(f"{folder}images/")]
        if found.get(wnid) and not train[wnid]:
            raise UserError(
                f"{path}: {folder} has no images in images/ (it has {_found(files, folder)}): not Tiny "
                "ImageNet's own layout; download it anew, or, if val/ has a folder a class too, read it as "
                "dataset folder."
            )
    annotations = files.get(f"{top}val/val_annotations.txt")
    if annotations is None:
        raise UserError(f"{path}: {top}val/val_annotations.txt is missing; {_AGAIN}.")
    val: Classes = {wnid: [] for wnid in wnids}
    images = {name: file for name, file in files.items() if name.startswith(f"{top}val/images/")}
    for number, line in enumerate(_lines(annotations), start=1):
        name, wnid, *_ = [*line.split("\t"), ""]
        if wnid not in val:
            raise UserError(
                f"{annotations.where}, line {number}: expected a file name, a tab and a class of wnids.txt, "
                f"found {line[:60]!r}; {_AGAIN}."
            )
        image = images.pop(f"{top}val/images/{name}", None)  # a second line for it is refused
        if image is None:
            raise UserError(
                f"{annotations.where}: {name} is listed twice, or is missing (val/ has "
                f"{_found(files, f'{top}val/')}); {_AGAIN}."
            )
        val[wnid].append(image)
    return train, val


def _lines(file: File) -> list[str]:
    """The lines of a text file, whichever byte-order mark an editor or a shell has put before them."""
    content = file.read()
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if utf16 else "utf-8-sig", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _course_parts(root: Path) -> list[Path]:
    """`Train1.zip` to `Train5.zip` and `Val1.zip`, or folders of these names; letter case does not count.

    Where a folder and a zip have the same name the zip is read.
    """
    if not root.is_dir():
        raise UserError(
            f"data_root {str(root)!r} is a file; give the folder that holds Train1.zip to Val1.zip."
        )
    parts: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        if re.fullmatch(r"(train|val)[0-9]*(\.zip)?", path.name, re.IGNORECASE):
            other = parts.setdefault(path.name.lower(), path)
            if other != path:
                raise UserError(f"{other} and {path} differ in letter case alone; remove one.")
    for split in ("train", "val"):
        if not any(name.startswith(split) for name in parts):
            raise UserError(
                f"{root} has no {split.capitalize()}1.zip (nor a folder of that name); "
                "give the folder that holds the course's zips."
            )
    return [path for name, path in parts.items() if f"{name}.zip" not in parts]


def _imagenet64(archives: dict[Path, Files]) -> tuple[Classes, Classes]:
    """Each part holds `<class>/*`, or one folder of its own around that; the parts of a split are joined."""
    splits: tuple[Classes, Classes] = {}, {}
    for path, files in archives.items():
        # Files beside the folders belong to no class, around the classes or at the top.
        folders = {name.split("/", 1)[0] for name in files if "/" in name}
        deep = any(name.count("/") > 1 and not name.endswith("/") for name in files)
        wrapper = f"{folders.pop()}/" if len(folders) == 1 and deep else ""
        split = splits[path.name.lower().startswith("val")]
        for name, own in _classes_under(files, wrapper).items():
            split.setdefault(name, []).extend(own)
    return splits


def _folder(archives: dict[Path, Files]) -> tuple[Classes, Classes]:
    """`train/<class>/*` and `val/<class>/*`, at the top or in folders around them."""
    ((path, files),) = archives.items()
    top = _top(path, files, "train/", "give the folder or zip that holds train/ and val/")
    if not any(name.startswith(f"{top}val/") for name in files):
        raise UserError(
            f"{path} has no val/ beside {top}train/ (there is {_found(files, top)}); "
            "rename the validation split to val/."
        )
    return _classes_under(files, f"{top}train/"), _classes_under(files, f"{top}val/")


# By the name of the source: the files of its archives to those of its splits, by class.
FILE_SOURCES: dict[str, Callable[[dict[Path, Files]], tuple[Classes, Classes]]] = {
    "tiny-imagenet": _tiny_imagenet,
    "imagenet64": _imagenet64,
    "folder": _folder,
}


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
    splits, totals = source.splits(), {"train": train_images, "val": val_images}
    class_names = sorted(splits["train"] | splits["val"])
    if num_classes > len(class_names):
        raise UserError(
            f"num_classes is {num_classes}; {source.path} has {len(class_names)}: ask for at most that."
        )
    class_names = class_names[: num_classes or len(class_names)]
    chosen = {}
    for split, classes in splits.items():
        if not any(classes.values()):
            raise UserError(f"{source.path} has no {split} images; check that the {split} split is there.")
        total = totals[split]
        counts = spread(total, len(class_names), f"{split}_images") if total else [0] * len(class_names)
        chosen[split] = []
        for label, (name, count) in enumerate(zip(class_names, counts, strict=True)):
            files = sorted(classes.get(name, []), key=_natural_key)
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
