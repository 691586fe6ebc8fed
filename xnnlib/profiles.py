"""The runs of the project: which blocks and seeds of which profile, with which parameters.

profiles/runs.yaml names every profile; its base is another profile, or profiles/<base>.yaml, which holds
parameters of xnnlib.settings in the form in which papermill takes them too.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from xnnlib.errors import UserError, choose, explain
from xnnlib.settings import Settings, from_mapping
from xnnlib.spec import BLOCKS, NonNegativeInt

RUNS = "profiles/runs.yaml"
ENTRY = ("blocks", "seeds", "base", "parameters")


def _folder(name: str) -> str:
    part = r"[A-Za-z0-9][\w.-]*"
    if not re.fullmatch(f"{part}(/{part})?", name, re.ASCII) or name == "runs":
        raise ValueError("letters, digits, '.', '_' and '-', with one '/' at most")
    return name


def _distinct(values: list) -> list:
    if not values or len(set(values)) < len(values):
        raise ValueError("a list of at least one, without duplicates")
    return values


class Profile(BaseModel):
    """One entry of profiles/runs.yaml with the parameters of its base."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Annotated[str, AfterValidator(_folder)]
    base: Annotated[str, AfterValidator(_folder)]
    blocks: Annotated[list[Literal[*BLOCKS]], AfterValidator(_distinct)]
    seeds: Annotated[list[NonNegativeInt], AfterValidator(_distinct)]
    parameters: dict[str, object] = {}
    base_values: dict[str, object] = Field(default={}, repr=False)

    def values(self) -> dict[str, object]:
        """The parameters that all runs share, as papermill takes them."""
        merged = self.base_values | self.parameters | {"profile": self.name}
        # As settings read them: they may be text, as on a command line.
        places = (self.base_values, self.parameters)
        base, own = (from_mapping(values, f"{RUNS}: {self.name}").recipe_changes for values in places)
        return merged | ({"recipe_changes": base | own} if base | own else {})

    def run_names(self) -> list[str]:
        """The folders below results/<name>, such as "se-seed0"."""
        return [f"{block}-seed{seed}" for block in self.blocks for seed in self.seeds]

    def settings(self, block: str, seed: int) -> Settings:
        """What one run is trained with."""
        run = {"block": block, "seed": seed, "run_dir": f"results/{self.name}/{block}-seed{seed}"}
        return from_mapping(self.values() | run, f"{RUNS}: {self.name}")

    def runs(self) -> dict[str, Settings]:
        """What each run is trained with, by its name."""
        asked = (self.settings(block, seed) for block in self.blocks for seed in self.seeds)
        return dict(zip(self.run_names(), asked, strict=True))


def profile_names(root: Path = Path()) -> list[str]:
    """The names in profiles/runs.yaml of the project in `root`. Raises UserError if it cannot be read."""
    return list(read_yaml(root, RUNS))


def load_profile(root: Path, name: str, based_on_it: tuple[str, ...] = ()) -> Profile:
    """One profile. Raises UserError, `profiles/...: what, what to do`, on all that is wrong with it.

    `based_on_it` are the profiles that are being loaded and have it as their base, directly or not.
    """
    entries = read_yaml(root, RUNS)
    where = f"{RUNS}: {choose(f'{RUNS}: profile', str(name), map(str, entries))}"
    if not isinstance(name, str) or name not in entries:
        raise UserError(f"{where}: to YAML this name is not text; put it in quotes.")
    entry = entries[name]
    if not isinstance(entry, dict):
        raise UserError(f"{where} is {entry!r}; it must have `blocks` and `seeds`.")
    for key in entry:
        choose(f"{where}: entry", str(key), ENTRY)
    try:
        profile = Profile(**{"name": name, "base": name} | entry)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error)}") from None
    file = f"profiles/{profile.base}.yaml"
    if profile.base in based_on_it:
        raise UserError(f"{where}: its base {profile.base} is based on it; choose another base.")
    if profile.base in entries and profile.base != name:
        values = load_profile(root, profile.base, (*based_on_it, name)).values()
    else:
        values = read_yaml(root, file)
    for place, given in ((file, values), (where, profile.parameters)):
        for parameter in ("block", "seed", "run_dir", *(["profile"] if place == where else [])):
            if parameter in given:
                raise UserError(f"{place}: {parameter} follows from {RUNS}; remove it.")
        from_mapping(given, place)
    if values.get("profile", profile.base) != profile.base:
        raise UserError(f"{file}: profile is {values['profile']!r}; it must be {profile.base!r}.")
    profile = profile.model_copy(update={"base_values": values})
    profile.runs()
    return profile


def load_profiles(root: Path = Path()) -> dict[str, Profile]:
    """All profiles by name, in the order of the list. Raises UserError on the first that is wrong."""
    return {name: load_profile(root, name) for name in profile_names(root)}


class _UniqueKeys(yaml.SafeLoader):
    """A SafeLoader that refuses duplicate keys, of which PyYAML silently keeps the last."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, Hashable) or name in seen:
                problem = f"{name!r} is a duplicate or unhashable key"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_yaml(root: Path, file: str) -> dict:
    """The mapping in a YAML file of the project. Raises UserError if there is none, or a key twice."""
    try:
        values = _UniqueKeys((root / file).read_text(encoding="utf-8-sig")).get_single_data()
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({error.strerror}); write it, or correct what names it."
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: it is not UTF-8; save it as UTF-8.") from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", "unreadable")
        line = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{file}: {line}{problem}; correct the YAML.") from None
    if not isinstance(values, dict):
        raise UserError(f"{file}: it is not a mapping of name: value.")
    return values
