"""Pack the data set of a profile into the cache and say what it holds: `python tools/pack_data.py quick`."""

import sys
from pathlib import Path

import yaml

from xnnlib.data.__main__ import main
from xnnlib.spec import recipe_for

ARGUMENTS = ("dataset", "data_root", "num_classes", "train_images", "val_images")


def arguments(settings: dict) -> list[str]:
    """The options of `python -m xnnlib.data` for the data set that a run with these settings asks for."""
    recipe = recipe_for(settings["recipe"], "standard")
    recipe = recipe.scaled(settings["epochs"], settings["batch_size"], settings["crop"])
    given = {name: settings[name] for name in ARGUMENTS if settings.get(name)} | {"size": recipe.resize}
    return [str(part) for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)]


if __name__ == "__main__":
    profile = Path("profiles", f"{sys.argv[1]}.yaml")
    sys.exit(main(arguments(yaml.safe_load(profile.read_text(encoding="utf-8")))))
