"""Small data sets in each source's layout, made of generated images."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = ("n01443537", "n01629819", "n01641577", "n01644900", "n01698640", "n01742172")


def encoded(seed: int, width: int = 64, height: int = 64, mode: str = "RGB", format: str = "JPEG") -> bytes:
    """A smooth random image, so that JPEG keeps it nearly as it is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
    image = image.quantize() if mode == "P" else image.convert(mode)
    stream = io.BytesIO()
    image.save(stream, format)
    return stream.getvalue()


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
    """train/<class>/* and val/<class>/*."""
    return {
        f"{split}/{name}/{k}.jpg": encoded(seed=image_seed(split, label, k))
        for split, count in (("train", train), ("val", val))
        for label, name in enumerate(classes)
        for k in range(count)
    }


def image_seed(split: str, label: int, k: int) -> int:
    """A seed of its own for each image, the same in every process."""
    return {"train": 0, "val": 50}[split] + 100 * label + k


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
