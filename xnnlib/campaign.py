"""A campaign: a list of runs as data; the head of profiles/campaign.yaml says what its entries hold."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import yaml

from xnnlib.errors import Diverged, UserError, choose
from xnnlib.settings import Settings, from_mapping

# The lists whose runs the paper shows, from the project's root: at full scale, and at the scale of a CPU.
LISTS = LIST, SMALL_LIST = ("profiles/campaign.yaml", "profiles/campaign-small.yaml")

KEYS = ("results", "base", "blocks", "seeds", "parameters", "candidates", "best_of", "weights")


@dataclass(frozen=True)
class Job:
    """One run: its folder, the profile that it is based on, and what it changes there.

    `best_of` names the search whose best candidate it takes over; `keeps_weights` says whether its weights
    stay when it is complete.
    """

    folder: Path
    base: Path
    parameters: dict
    best_of: str = ""
    keeps_weights: bool = False

    @property
    def name(self) -> str:
        """Its folder below the results."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def finished(self) -> bool:
        return (self.folder / "train.ipynb").exists()

    def base_parameters(self) -> dict:
        """What the profile says that the run is based on. Raises UserError if there is none."""
        if not self.base.exists():
            raise UserError(f"{self.base} is missing; an entry's `base` names a profile beside the list.")
        return yaml.safe_load(self.base.read_text(encoding="utf-8"))

    def settings(self) -> Settings:
        """All that the run is asked to be. Raises UserError on a parameter that is none or cannot be."""
        asked = self.base_parameters() | self.parameters
        return from_mapping(asked, f"{self.folder.parent.name} on {self.base.name}")


def read(path: Path) -> list[dict]:
    """The list of a file. Raises UserError if there is none."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; profiles/campaign.yaml is a list of runs.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(entries, list):
        raise UserError(f"{path} is no list of entries; see profiles/campaign.yaml for one.")
    return entries


def jobs(entries: list[dict], results: Path, profiles: Path, best: Callable[[str], str]) -> Iterator[Job]:
    """The runs of the list in its order, one after the other, as far as earlier ones allow to say.

    `best` says which of a search's candidates goes on. Raises UserError on an entry that cannot be read.
    """
    for entry in entries:
        try:
            for key in entry:
                choose("the campaign's key", key, KEYS)
            blocks, seeds = list(entry["blocks"]), list(entry["seeds"])
            names, base = entry["results"], profiles / f"{entry['base']}.yaml"
            changes = {"": entry.get("parameters", {}).get("recipe_changes", "")}
            if "candidates" in entry:
                changes = {f"-{number}": text for number, text in enumerate(entry["candidates"], 1)}
        except KeyError as missing:
            raise UserError(f"the campaign's entry {entry} lacks {missing}.") from None
        except (AttributeError, TypeError) as error:
            raise UserError(f"the campaign's entry {entry} cannot be read ({error}).") from None
        search = entry.get("best_of", "")
        if search:
            changes = {"": best(search)}
        for suffix, text in changes.items():
            for seed in seeds:
                for block in blocks:
                    profile = f"{names}{suffix}"
                    folder = results / profile / f"{block}-seed{seed}"
                    own = {"profile": profile, "block": block, "seed": seed, "recipe_changes": text}
                    parameters = entry.get("parameters", {}) | own
                    yield Job(folder, base, parameters, search, bool(entry.get("weights")))


def check(entries: list[dict], results: Path, profiles: Path) -> None:
    """Raise UserError, before any work, if a run of the list has a parameter that is none or cannot be."""
    for job in jobs(entries, results, profiles, best=lambda search: ""):
        job.settings()


def best_changes(entries: list[dict], results: Path, search: str) -> str:
    """The recipe changes of the candidate with the highest mean accuracy after its last epoch.

    Raises UserError if a candidate has not been run, if there are none of that name, or if all diverged.
    """
    # And torch with it, which takes seconds that those who only list the runs need not wait.
    from xnnlib.records import load_runs

    candidates = [text for entry in entries if entry["results"] == search for text in entry["candidates"]]
    if not candidates:
        raise UserError(f"the campaign has no candidates {search!r} to choose the best of.")
    means = {}
    for number, text in enumerate(candidates, 1):
        try:
            runs = load_runs(results, f"{search}-{number}")
        except Diverged:
            continue
        means[text] = mean(run.record["last"]["top1"] for run in runs)
    if not means:
        raise UserError(f"every candidate of {search!r} has diverged; there is no best one.")
    return max(means, key=means.get)
