"""`python -m xnnlib.data`: pack a data set into the cache and say what it holds.

`python -m xnnlib.data download tiny-imagenet --to DIR`: fetch a public one first.
"""

import argparse
import sys

from xnnlib.data.download import DOWNLOADS, download
from xnnlib.data.load import SOURCES, load_dataset
from xnnlib.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m xnnlib.data", description="Pack a data set into the cache and print its fingerprint."
    )
    parser.add_argument("--dataset", default="shapes", help=f"one of {', '.join(SOURCES)} (default: shapes)")
    parser.add_argument("--data-root", default="", help="the zip file or folder of the images")
    parser.add_argument("--num-classes", type=int, default=0, help="the first classes; 0: all")
    parser.add_argument("--train-images", type=int, default=0, help="of all classes together; 0: all")
    parser.add_argument("--val-images", type=int, default=0, help="of all classes together; 0: all")
    parser.add_argument("--size", type=int, default=64, help="the short side in pixels (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="of shapes (default: 0)")
    parser.add_argument("--cache-dir", default=None, help="default: XNNLIB_CACHE, else ~/.cache/xnnlib")
    commands = parser.add_subparsers(dest="command", metavar="[download]", title="to fetch a data set")
    fetch = commands.add_parser("download", help="fetch a public data set; see download --help")
    fetch.add_argument("name", help=f"one of {', '.join(DOWNLOADS)}")
    fetch.add_argument("--to", required=True, metavar="DIR", help="the folder to keep it in")
    options = vars(parser.parse_args(arguments))
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not know a class name's letters
    try:
        if options.pop("command"):
            for path in download(options["name"], options["to"]):
                print(path)
            return 0
        dataset = load_dataset(options.pop("dataset"), **options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"{dataset.name}: {len(dataset.class_names)} classes, from {dataset.class_names[0]} "
        f"to {dataset.class_names[-1]}"
    )
    for name in ("train", "val"):
        images = getattr(dataset, name).images
        low, high = images.sizes.amin(dim=0).tolist(), images.sizes.amax(dim=0).tolist()
        print(
            f"{name}: {len(images):,} images of {low[0]}x{low[1]} to {high[0]}x{high[1]} pixels, "
            f"{images.pixels.nbytes / 2**20:,.1f} MiB"
        )
    print(f"fingerprint: {dataset.fingerprint}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
