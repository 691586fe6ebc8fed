"""Pack the data set of a profile into the cache and say what it holds: `python tools/pack_data.py quick`."""

import sys
from pathlib import Path

import yaml

from xnnlib import UserError, load_images
from xnnlib.settings import from_mapping


def main(name: str) -> int:
    """What a run of the profile loads, loaded as a run does; 2 if it cannot be."""
    profile = Path("profiles", f"{name}.yaml")
    try:
        images = load_images(from_mapping(yaml.safe_load(profile.read_text(encoding="utf-8")), profile))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{images.name}: {len(images.class_names)} classes")
    print(f"{len(images.train):,} training and {len(images.val):,} validation images")
    print(f"fingerprint: {images.fingerprint}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
