"""The layouts of the image sources: which file belongs to which class and split.

Classes are taken in sorted order of their names, images of a class in the natural order of their
file names (numbers compare as numbers: `2.jpg` before `10.jpg`).
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from xnnlib.data.archives import File, Files, find, open_archive
from xnnlib.errors import UserError

Classes = dict[str, list[File]]

_AGAIN = "copy or download the data again"


def find_source(source: str, data_root: str | os.PathLike) -> Path:
    """The folder or zip file that holds `source`, one of FILE_SOURCES.

    For tiny-imagenet an empty `data_root` is the environment's XNNLIB_TINY_IMAGENET. Raises UserError if
    nothing is there.
    """
    if source == "tiny-imagenet" and not str(data_root):
        data_root = os.environ.get("XNNLIB_TINY_IMAGENET", "")
        if not data_root:
            raise UserError(
                "data_root is empty; give the zip file or folder of Tiny ImageNet, "
                "or set XNNLIB_TINY_IMAGENET to it."
            )
    return find(data_root)


def archives_of(source: str, root: Path) -> list[Path]:
    """The folders and zip files that hold the images of `source`."""
    return _course_parts(root) if source == "imagenet64" else [root]


def _course_parts(root: Path) -> list[Path]:
    """`Train1.zip` to `Train5.zip` and `Val1.zip`, or folders of these names; letter case does not count.

    Where a folder and a zip have the same name the zip is read.
    """
    pattern = re.compile(r"(train|val)[0-9]*(\.zip)?", re.IGNORECASE)
    paths = sorted(root.iterdir()) if root.is_dir() else []
    parts = [path for path in paths if pattern.fullmatch(path.name)]
    names = {path.name.lower() for path in parts}
    for split in ("train", "val"):
        if not any(name.startswith(split) for name in names):
            raise UserError(
                f"{root} has no {split.capitalize()}1.zip (nor a folder of that name); "
                "give the folder that holds Train1.zip to Val1.zip."
            )
    return [path for path in parts if f"{path.name.lower()}.zip" not in names]


def _classes_under(files: Files, prefix: str) -> Classes:
    """Files below `<prefix><class>/`, by class; a class folder without files is an empty list."""
    classes: Classes = {}
    for name, file in files.items():
        class_name, slash, rest = name.removeprefix(prefix).partition("/")
        if name.startswith(prefix) and slash:
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


def _tiny_imagenet(archives: dict[Path, Files]) -> tuple[Classes, Classes]:
    """Tiny ImageNet's own layout, in its zip, its folder, or that folder's parent.

    `wnids.txt`, `train/<wnid>/images/*.JPEG`, `val/images/*.JPEG`, `val/val_annotations.txt`.
    """
    ((path, files),) = archives.items()
    top = _top(path, files, "wnids.txt", "give tiny-imagenet-200.zip or its folder")
    found, train, val = _classes_under(files, f"{top}train/"), {}, {}
    for wnid in _lines(path, files, f"{top}wnids.txt"):
        if wnid in train:
            raise UserError(f"{path}: {top}wnids.txt lists {wnid!r} twice; {_AGAIN}.")
        folder = f"{top}train/{wnid}/"
        train[wnid] = [file for file in found.get(wnid, []) if file.name.startswith(f"{folder}images/")]
        if found.get(wnid) and not train[wnid]:
            raise UserError(
                f"{path}: {folder} has no images in images/ (it has {_found(files, folder)}): not Tiny "
                "ImageNet's own layout; download it anew, or, if val/ has a folder a class too, read it as "
                "dataset folder."
            )
    listed, annotations = set(), f"{top}val/val_annotations.txt"
    for number, line in enumerate(_lines(path, files, annotations), start=1):
        name, wnid, *_ = [*line.split("\t"), ""]
        image = f"{top}val/images/{name}"
        if wnid not in train or image not in files or image in listed:
            raise UserError(
                f"{path}: {annotations}, line {number}: expected a file name of val/images/ that no other "
                f"line has, a tab and a class of wnids.txt, found {line[:60]!r} (val/ has "
                f"{_found(files, f'{top}val/')}); {_AGAIN}."
            )
        listed.add(image)
        val.setdefault(wnid, []).append(files[image])
    return train, val


def _lines(path: Path, files: Files, name: str) -> list[str]:
    """The lines of a text file in UTF-8, with a byte-order mark or without."""
    if name not in files:
        raise UserError(f"{path}: {name} is missing; {_AGAIN}.")
    lines = files[name].read().decode("utf-8-sig", "replace").splitlines()
    return [line.strip() for line in lines if line.strip()]


# By the name of the source: from the files of its archives to those of the two splits, by class.
FILE_SOURCES: dict[str, Callable[[dict[Path, Files]], tuple[Classes, Classes]]] = {
    "tiny-imagenet": _tiny_imagenet,
    "imagenet64": _imagenet64,
    "folder": _folder,
}


def images_per_class(total: int, num_classes: int, parameter: str) -> list[int]:
    """How many images of each class make `total`: evenly, the first classes one more."""
    if total < num_classes:
        raise UserError(
            f"{parameter} is {total} for {num_classes} classes; give at least one image per class."
        )
    each, more = divmod(total, num_classes)
    return [each + (label < more) for label in range(num_classes)]


def _natural_key(file: File) -> tuple:
    """Sorts `n_2.JPEG` before `n_10.JPEG`; the path decides between files of one name."""
    base = file.name.rsplit("/", 1)[-1]
    # Of two numbers the longer one is larger: int() refuses thousands of digits.
    parts = [t.lstrip("0") if i % 2 else t for i, t in enumerate(re.split("([0-9]+)", base))]
    return [(len(t), t) if i % 2 else t for i, t in enumerate(parts)], file.name


def select(
    source: str, root: Path, num_classes: int, train_images: int, val_images: int
) -> tuple[list[str], dict[str, list[tuple[File, int]]]]:
    """Names of the first classes, and for each split the first files of each with its label; 0 means all.

    Raises UserError on too many classes, too few images, an empty class, another layout, unsafe files.
    """
    train, val = FILE_SOURCES[source]({path: open_archive(path) for path in archives_of(source, root)})
    class_names = sorted(train | val)
    if not class_names or num_classes > len(class_names):
        raise UserError(
            f"num_classes is {num_classes}; {root} has {len(class_names)} classes: ask for at most that."
        )
    class_names = class_names[: num_classes or len(class_names)]
    chosen = {}
    for split, classes, total in (("train", train, train_images), ("val", val, val_images)):
        counts = (
            images_per_class(total, len(class_names), f"{split}_images") if total else [0] * len(class_names)
        )
        chosen[split] = []
        for label, (name, count) in enumerate(zip(class_names, counts, strict=True)):
            files = sorted(classes.get(name, []), key=_natural_key)
            if len(files) < max(count, 1):
                raise UserError(
                    f"{root}: class {name!r} has {len(files)} {split} images, fewer than the "
                    f"{max(count, 1)} asked for; add some, or ask for fewer images or classes."
                )
            chosen[split] += [(file, label) for file in files[: count or len(files)]]
    return class_names, chosen
