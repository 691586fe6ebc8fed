"""Small data sets in each source's layout, made of generated images."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xnnlib.errors import UserError

WNIDS = ("n01443537", "n01629819", "n01641577", "n01644900", "n01698640", "n01742172")


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def encoded(seed: int, width: int = 64, height: int = 64, mode: str = "RGB", format: str = "JPEG") -> bytes:
    """A smooth random image, so that JPEG keeps it nearly as it is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
    return saved(image.quantize() if mode == "P" else image.convert(mode), format)


def tiny_imagenet(wnids=WNIDS, train: int = 12, val: int = 3) -> dict[str, bytes]:
    """Tiny ImageNet's layout, its lists out of order as in the original; a class keeps its images
    whatever the others are."""
    files = {"tiny-imagenet-200/wnids.txt": "".join(f"{wnid}\n" for wnid in reversed(wnids)).encode()}
    annotations = []
    for wnid in wnids:
        number = WNIDS.index(wnid)
        folder = f"tiny-imagenet-200/train/{wnid}"
        files[f"{folder}/{wnid}_boxes.txt"] = b"not an image"
        for k in range(train):
            files[f"{folder}/images/{wnid}_{k}.JPEG"] = encoded(1000 * number + k)
        for k in range(val):
            name = f"val_{k * len(WNIDS) + number}.JPEG"
            files[f"tiny-imagenet-200/val/images/{name}"] = encoded(1000 * number + 500 + k)
            annotations.append(f"{name}\t{wnid}\t0\t0\t63\t63\n")
    files["tiny-imagenet-200/val/val_annotations.txt"] = "".join(reversed(annotations)).encode()
    return files


def image_folder(classes=("cat", "dog", "eel"), train: int = 4, val: int = 2) -> dict[str, bytes]:
    """train/<class>/* and val/<class>/*, each image another one."""
    return {
        f"{split}/{name}/{k}.jpg": encoded(seed=seed + 100 * label + k)
        for split, count, seed in (("train", train, 0), ("val", val, 50))
        for label, name in enumerate(classes)
        for k in range(count)
    }


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return path


@contextmanager
def refused(message: str) -> Iterator[None]:
    """Within it a UserError of one line is raised, which has the pattern `message` in it."""
    with pytest.raises(UserError, match=message) as raised:
        yield
    assert "\n" not in str(raised.value)
