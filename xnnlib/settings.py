"""What a user can ask of a training run: one list for the notebook, the profiles and the command line.

Nothing is guessed and nothing is ignored: an unknown name, a wrong type or a value out of range is an
error before any work.
"""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cached_property

from xnnlib.errors import UserError, choose
from xnnlib.spec import BLOCKS, RECIPES, NetworkSpec, Recipe, recipe_for

CHECKPOINT_SECONDS = 60.0
SOURCES = ("shapes", "tiny-imagenet", "imagenet64", "folder")


def _setting(default, help: str, at_least: float | None = None):
    given = {"default_factory": type(default)} if isinstance(default, dict) else {"default": default}
    return field(**given, metadata={"help": help, "at_least": at_least})


@dataclass(frozen=True)
class Settings:
    """One training run as it was asked for. Raises UserError on a value that cannot be."""

    profile: str = _setting("custom", "the name that the record carries")
    block: str = _setting("standard", f"one of {', '.join(BLOCKS)}")
    seed: int = _setting(0, "of the weights and the augmentation", 0)
    recipe: str = _setting("paper", f"one of {', '.join(RECIPES)}")
    recipe_changes: dict = _setting({}, "settings of the recipe to change, applied after scaling")
    epochs: int = _setting(55, "how many", 1)
    batch_size: int = _setting(256, "images a step, on all devices together", 1)
    crop: int = _setting(56, "rows and columns that the network sees", 14)
    dataset: str = _setting("shapes", f"one of {', '.join(SOURCES)}")
    data_root: str = _setting("", "the data's archive or folder")
    num_classes: int = _setting(100, "the first classes in sorted order", 2)
    train_images: int = _setting(0, "of all classes together; 0 takes every one", 0)
    val_images: int = _setting(0, "of all classes together; 0 takes every one", 0)
    hold_out: bool = _setting(False, "validate on a tenth of the training images")
    reduction: int = _setting(4, "R, of squeeze-and-excite", 1)
    experts: int = _setting(4, "M, of conditional convolution", 1)
    filter_size: int = _setting(3, "F, of the depthwise filters", 1)
    expansion: int = _setting(4, "Ne / Ni", 1)
    width: float = _setting(1.0, "multiplies every stage's channels", 0.05)
    devices: int = _setting(1, "GPUs, or processes on a CPU, that train together", 1)
    checkpoint_seconds: float = _setting(CHECKPOINT_SECONDS, "between two checkpoints inside an epoch", 0)
    run_dir: str = _setting("results/custom/standard-seed0", "the run folder to make or to go on with")

    def __post_init__(self):
        for parameter in fields(self):
            _check(parameter, getattr(self, parameter.name))
        choose("dataset", self.dataset, SOURCES)
        if self.batch_size % self.devices:
            raise UserError(
                f"batch_size is {self.batch_size}; it must be a multiple of devices, {self.devices}."
            )
        # Made here so that what is wrong with them is said before anything is loaded.
        _ = self.routine, self.network

    @cached_property
    def routine(self) -> Recipe:
        """The recipe as it applies to the block, with its changes, in the budget that was asked for."""
        recipe = recipe_for(self.recipe, self.block).scaled(self.epochs, self.batch_size, self.crop)
        for name in self.recipe_changes:
            choose("recipe_changes", name, [field.name for field in fields(recipe)])
            if name in ("name", "epochs", "batch_size", "crop", "resize"):
                raise UserError(f"recipe_changes sets {name}, which follows from the other parameters.")
        return replace(recipe, **self.recipe_changes)

    @cached_property
    def network(self) -> NetworkSpec:
        names = ("block", "num_classes", "reduction", "experts", "filter_size", "expansion", "width")
        return NetworkSpec(**{name: getattr(self, name) for name in names})

    def recorded(self) -> dict:
        """Every setting, defaults included, but for places and the number of devices, which the run knows."""
        left_out = ("data_root", "run_dir", "devices")
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    def arguments(self) -> list[str]:
        """The command line that asks for the same, on the device that it runs on."""
        given = asdict(self) | {"devices": 1}
        given = {_option(name): value for name, value in given.items()}
        flags = [option for option, value in given.items() if value is True]
        return flags + [f"{name}={value}" for name, value in given.items() if not isinstance(value, bool)]


_WORDS = {dict: "a mapping", int: "a whole number", float: "a number", str: "text", bool: "true or false"}
NAMES = tuple(parameter.name for parameter in fields(Settings))


def from_mapping(values: Mapping, where: str) -> Settings:
    """Settings from a profile's or a notebook's values. Raises UserError on a name that there is not."""
    if not isinstance(values, Mapping):
        raise UserError(f"{where} is no list of `name: value`; see profiles/quick.yaml for one.")
    for name in values:
        choose(f"{where}: parameter", name, NAMES)
    return Settings(**values)


def from_notebook(variables: Mapping) -> Settings:
    """Settings from the variables of a notebook whose parameters cell sets every one of them.

    Raises UserError on a parameter that papermill was given and that is none.
    """
    refuse_unknown(variables, NAMES)
    return Settings(**{name: variables[name] for name in NAMES})


def refuse_unknown(variables: Mapping, known: Iterable[str]) -> None:
    """Raise UserError if papermill gave the notebook a parameter that is not one of `known`.

    papermill itself only warns. What it was given stands in the cell that it adds, whose first line is
    "# Parameters"; IPython keeps the source of each cell in `In`.
    """
    for cell in variables.get("In", []):
        if cell.startswith("# Parameters\n"):
            for line in cell.splitlines()[1:]:
                name, assigned, _ = line.partition(" = ")
                if assigned and name.isidentifier():
                    choose("parameter", name, known)


def require_text(variables: Mapping, *names: str) -> None:
    """Raise UserError if papermill gave a notebook a parameter other than `names`, or one that is no text."""
    refuse_unknown(variables, names)
    for name in names:
        if not isinstance(variables[name], str):
            raise UserError(f"{name} is {variables[name]!r}; it must be {_WORDS[str]}.")


def from_arguments(arguments: list[str] | None, program: str, description: str) -> Settings:
    """Settings from a command line. Raises UserError on an option that there is not."""
    parser = argparse.ArgumentParser(prog=program, description=description, allow_abbrev=False)
    for parameter in fields(Settings):
        if parameter.default is MISSING:
            continue
        kind, text = type(parameter.default), parameter.metadata["help"]
        if kind is bool:
            parser.add_argument(_option(parameter.name), action="store_true", help=text)
        else:
            shown = "" if parameter.default == "" else f" (default: {parameter.default})"
            parser.add_argument(
                _option(parameter.name),
                type=kind,
                default=parameter.default,
                help=text + shown,
                metavar=kind.__name__.upper(),
                required=parameter.name == "run_dir",
            )
    given, unknown = parser.parse_known_args(arguments)
    for option in unknown:
        choose("option", option.split("=")[0], map(_option, NAMES))
    return Settings(**vars(given))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _check(parameter, value) -> None:
    kind, name = dict if parameter.default is MISSING else type(parameter.default), parameter.name
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{name} is {value!r}; it must be {_WORDS[kind]}.")
    least = parameter.metadata["at_least"]
    if least is not None and not least <= value < 2**63:  # written so that NaN is outside
        raise UserError(
            f"{name} is {value!r}; it must be at least {least:g}, and a number that fits 64 bits."
        )
