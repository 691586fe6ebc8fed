"""Pack the data set of a profile into the cache and say what it holds: `python tools/pack_data.py quick`."""

import sys
from pathlib import Path

from xnnlib import UserError, load_images
from xnnlib.files import write_atomically
from xnnlib.profiles import load_profile


def main(name: str) -> int:
    """Load what a run of the profile loads and tell it, in _build/<name>/data.txt too; 2 if it cannot be."""
    try:
        images = load_images(next(iter(load_profile(Path(), name).runs().values())))
        summary = (
            f"{images.name}: {len(images.class_names)} classes\n"
            f"{len(images.train):,} training and {len(images.val):,} validation images\n"
            f"fingerprint: {images.fingerprint}\n"
        )
        write_atomically(Path("_build", name, "data.txt"), lambda file: file.write(summary.encode()))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # tools/reproduce.py says so
        return 130
    print(summary, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
