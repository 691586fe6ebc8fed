"""Measure the host memory that packing and streaming take, at several sizes of the data.

Each size gets a process of its own, which packs that many random images into a cache file, loads it and
makes training batches on the CPU from the file. The peak is of private memory, without the page cache
(see peak_memory.py). `peak_rss` (ru_maxrss) is beside it.
"""

import argparse
import itertools
import json
import multiprocessing
import resource
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import numpy as np
import torch
from peak_memory import PeakMemory, private_memory
from tqdm import tqdm

from xnnlib import runtime
from xnnlib.data import Dataset, Split, cache, train_batches
from xnnlib.data.pack import Packer
from xnnlib.errors import UserError

SIZE, CLASSES, VAL_IMAGES = 64, 1000, 1000
IMAGE_BYTES = 3 * SIZE * SIZE


def pack(pixels: BinaryIO, images: int) -> Dataset:
    """Seeded random images, through the packing that decoded ones go through."""
    generator, splits = np.random.default_rng(0), {}
    for name, count in (("train", images), ("val", VAL_IMAGES)):
        packer = Packer(pixels)
        for index in tqdm(range(count), desc=f"pack {name}", unit="image", mininterval=1.0):
            image = np.frombuffer(generator.bytes(IMAGE_BYTES), np.uint8).reshape(3, SIZE, SIZE)
            packer.add(image, index % CLASSES)
        splits[name] = packer.split()
    return Dataset("random", [f"class {k}" for k in range(CLASSES)], **splits, fingerprint="0" * 64)


def stream(split: Split, batches: int, batch_size: int, crop: int) -> int:
    """Make that many batches of one epoch; returns how many images they held."""
    seen = 0
    made = itertools.islice(train_batches(split, batch_size, crop, torch.Generator()), batches)
    for images, _ in tqdm(made, total=batches, desc="stream", unit="batch", mininterval=1.0):
        seen += len(images)
    return seen


def measure(images: int, batches: int, batch_size: int, crop: int, folder: Path) -> dict:
    """Pack, load and stream `images` images by way of a file in `folder`, which is removed again."""
    private = {"before": private_memory()}
    with TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary) / "random.safetensors"
        with PeakMemory() as memory:
            cache.create(path, "random", lambda pixels: pack(pixels, images), progress=True)
        private["packing"], file_bytes = memory.peak, path.stat().st_size
        with PeakMemory() as memory:
            dataset = cache.load(path, "random", progress=True)
        private["loading"] = memory.peak
        start = time.perf_counter()
        with PeakMemory() as memory:
            seen = stream(dataset.train, batches, batch_size, crop)
        private["streaming"], seconds = memory.peak, time.perf_counter() - start
    return {
        "images": images,
        "file_bytes": file_bytes,
        "private_bytes": private,
        "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "streamed_images": seen,
        "images_per_second": round(seen / seconds, 1),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--images", type=int, nargs="+", default=[50_000, 1_000_000], help="sizes of the data"
    )
    parser.add_argument("--batches", type=int, default=200, help="streamed at each size (default: 200)")
    parser.add_argument("--batch-size", type=int, default=256, help="default: 256")
    parser.add_argument("--crop", type=int, default=56, help="rows and columns of a batch (default: 56)")
    parser.add_argument("--folder", type=Path, default=Path("."), help="on a disk with room for the images")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parent / "results" / "host_memory.json",
        help="JSON file",
    )
    options = parser.parse_args(arguments)
    setting = {"batches": options.batches, "batch_size": options.batch_size, "crop": options.crop}
    try:
        needed, free = max(options.images) * IMAGE_BYTES, shutil.disk_usage(options.folder).free
        if needed + 2**30 > free:
            raise UserError(
                f"--folder {options.folder} has {free:,} bytes free; {max(options.images):,} images take "
                f"{needed:,} and a reserve: name another folder or fewer images."
            )
        result = {
            "device": runtime.describe_device(torch.device("cpu")),
            "versions": runtime.versions(),
            "commit": runtime.commit(),
            "image": [SIZE, SIZE],
            **setting,
            "sizes": [],
        }
        spawn = multiprocessing.get_context("spawn")
        for images in options.images:
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                measured = process.submit(measure, images, *setting.values(), options.folder).result()
            result["sizes"].append(measured)
            numbers = ", ".join(f"{phase} {n / 2**20:,.0f}" for phase, n in measured["private_bytes"].items())
            print(f"{images:,} images: private memory in MiB: {numbers}")
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
