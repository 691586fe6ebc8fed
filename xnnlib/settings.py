"""What a user can ask of a training run: one list for the notebook, the profiles and the command line.

Nothing is guessed and nothing is ignored: an unknown name, a wrong type or a value out of range is an
error before any work.
"""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from types import FunctionType, ModuleType
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from xnnlib.errors import UserError, choose, one_line_errors
from xnnlib.spec import (
    BLOCKS,
    DATASETS,
    FAN_OUTS,
    GATES,
    RECIPES,
    ROUTINGS,
    SIZES,
    AnySpec,
    NetworkSpec,
    NonNegativeInt,
    Recipe,
    recipe_for,
)

CHECKPOINT_SECONDS = 60.0


def _one_line(text: str) -> str:
    if not text or not text.isprintable() or text != text.strip():
        raise ValueError("one line of printable text without spaces around it")
    return text


# On a command line and behind papermill's -p everything that is no number is text.
def _flag(value: object) -> object:
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _mapping(value: object) -> object:
    try:
        return (yaml.safe_load(value) or {}) if isinstance(value, str) else value
    except yaml.YAMLError:
        return value


Line = Annotated[str, AfterValidator(_one_line)]
Flag = Annotated[bool, BeforeValidator(_flag)]
PositiveInt32 = Annotated[int, Field(ge=1, lt=2**31)]
NonNegativeInt32 = Annotated[int, Field(ge=0, lt=2**31)]


@one_line_errors
class Settings(BaseModel):
    """One training run as it was asked for. Raises UserError on an invalid value.

    The defaults train for seconds on the embedded shapes; a profile names its own.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    profile: Line = Field("custom", description="the name that the record carries; it loads no profile")
    model: Line = Field("xnn", description="the paper's network, or a name of torchvision's or timm's models")
    block: Literal[BLOCKS] = Field("standard", description=f"one of {', '.join(BLOCKS)}")
    seed: NonNegativeInt = Field(0, description="of the weights and the augmentation")
    recipe: Literal[tuple(RECIPES)] = Field("paper", description=f"one of {', '.join(RECIPES)}")
    recipe_changes: Annotated[dict[str, Any], BeforeValidator(_mapping)] = Field(
        {}, description="fields of Recipe in other values, such as {label_smoothing: 0.1}"
    )
    epochs: PositiveInt32 = Field(2, description="how many")
    batch_size: PositiveInt32 = Field(20, description="images a step, over all ranks")
    crop: PositiveInt32 = Field(28, description="rows and columns that the network sees")
    dataset: Literal[DATASETS] = Field("shapes", description=f"one of {', '.join(DATASETS)}")
    data_root: str = Field("", description="the data's archive or folder")
    num_classes: Annotated[int, Field(ge=2, lt=2**31)] = Field(4, description="the first in sorted order")
    train_images: NonNegativeInt32 = Field(80, description="of all classes together; 0 takes every one")
    val_images: NonNegativeInt32 = Field(40, description="of all classes together; 0 takes every one")
    hold_out: Flag = Field(False, description="validate on a tenth of the training images")
    reduction: PositiveInt32 = Field(4, description="R, of squeeze-and-excite")
    experts: PositiveInt32 = Field(4, description="M, of conditional convolution")
    routing: Literal[ROUTINGS] = Field("equalised", description=f"one of {', '.join(ROUTINGS)}")
    conditional_from: PositiveInt32 = Field(1, description="the first conditional level, 1 to 5")
    gate: Literal[GATES] = Field("se", description=f"of block se_cond, one of {', '.join(GATES)}")
    filter_size: PositiveInt32 = Field(3, description="F, of the depthwise filters")
    depthwise_fan_out: Literal[FAN_OUTS] = Field(
        "channel", description="of the initial depthwise filters, F * F of the channel or of the whole layer"
    )
    expansion: PositiveInt32 = Field(4, description="Ne / Ni")
    width: Annotated[float, Field(ge=0.05)] = Field(1.0, description="multiplies every stage's channels")
    checkpoint_seconds: Annotated[float, Field(ge=0)] = Field(
        CHECKPOINT_SECONDS, description="between two checkpoints inside an epoch"
    )
    run_dir: Line = Field("results/custom/standard-seed0", description="the run folder to make or to resume")

    def model_post_init(self, _) -> None:
        # Made here so that what is wrong with them is said before anything is loaded.
        _ = self.routine, self.network

    @cached_property
    def routine(self) -> Recipe:
        """The recipe as it applies to the block, in the budget that was asked for, with its changes."""
        recipe = recipe_for(self.recipe, self.block).scaled(self.epochs, self.batch_size, self.crop)
        for name in self.recipe_changes:
            if choose("recipe_changes:", name, vars(recipe)) in _BUDGET:
                raise UserError(f"recipe_changes sets {name}, which follows from the other parameters.")
        try:
            return replace(recipe, **self.recipe_changes)
        except UserError as error:
            raise UserError(f"recipe_changes: {error}") from None

    @cached_property
    def network(self) -> AnySpec:
        """The network that the block and the sizes describe, or the baseline that `model` names."""
        sizes = {name: getattr(self, name) for name in ("block", *SIZES)}
        if self.model == "xnn":
            return NetworkSpec(**sizes)
        for name, value in sizes.items():
            default = type(self).model_fields[name].default
            if name != "num_classes" and value != default:
                raise UserError(f"{name} is of model xnn; leave it {default!r} for model {self.model}.")
        from xnnlib import baselines  # takes seconds, which the paper's own networks need not wait

        return baselines.find(self.model, self.num_classes)

    def recorded(self) -> dict:
        """Every setting, defaults included, except the paths data_root and run_dir."""
        return self.model_dump(exclude={"data_root", "run_dir"})


_BUDGET = ("name", "epochs", "batch_size", "crop", "resize")
_OF_IPYTHON = ("In", "Out", "get_ipython", "exit", "quit", "open")
NAMES = tuple(Settings.model_fields)


def from_mapping(values: Mapping, where: str) -> Settings:
    """Settings from a profile's values.

    Raises UserError, which begins with `where`, on an unknown name or an invalid value.
    """
    try:
        return Settings(**{str(name): value for name, value in values.items()})
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def from_notebook(variables: Mapping) -> Settings:
    """Settings from the variables of a notebook, right after its parameters cell.

    Raises UserError on an unknown parameter given to papermill, of which papermill itself only warns.
    """
    refuse_unknown(variables, NAMES)
    return Settings(**{name: variables[name] for name in NAMES})


def refuse_unknown(variables: Mapping, known: Iterable[str]) -> None:
    """Raise UserError if a notebook has a public variable that is not one of `known`.

    For the cell after the parameters: what is there by then are the parameters, imports, and IPython's own.
    """
    for name, value in variables.items():
        code = isinstance(value, ModuleType | type | FunctionType) or name in _OF_IPYTHON
        if not (name.startswith("_") or code):
            choose("parameter", name, known)


def require_text(variables: Mapping, *names: str) -> None:
    """Raise UserError if papermill gave a notebook a parameter other than `names`, or one that is no text."""
    refuse_unknown(variables, names)
    for name in names:
        if not isinstance(variables[name], str):
            raise UserError(f"{name} is {variables[name]!r}; it must be text.")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(f"{message}; see --help.")


def from_arguments(arguments: list[str] | None, program: str, description: str) -> Settings:
    """Settings from a command line. Raises UserError on an unknown option or a value of another type."""
    parser = _Parser(prog=program, description=description, allow_abbrev=False)
    for name, parameter in Settings.model_fields.items():
        default, option, help_text = parameter.default, _option(name), parameter.description
        if isinstance(default, bool):
            parser.add_argument(option, action="store_true", help=help_text)
            continue
        help_text += "" if default in ("", {}) or name == "run_dir" else f" (default: {default})"
        kind = str if isinstance(default, dict) else type(default)
        shape = {"type": kind, "metavar": kind.__name__.upper()}
        parser.add_argument(option, default=default, help=help_text, required=name == "run_dir", **shape)
    given, unknown = parser.parse_known_args(arguments)
    for option in unknown:
        choose("option", option.split("=")[0], map(_option, NAMES))
    return Settings(**vars(given))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
