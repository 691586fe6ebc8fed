"""What was varied: profiles that change another one's parameters, each run compared with its base.

A row is one block of one such profile. Only what was run is shown, and what differs is read from the records.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xnnlib import complexity
from xnnlib.records import Run, load_run
from xnnlib.report.estimates import estimate, setting_text, text
from xnnlib.report.numbers import Number
from xnnlib.report.summary import letter, run_source, shared, top1_by_seed, top1_digits, top1_gains
from xnnlib.report.tables import TITLES, Table

if TYPE_CHECKING:
    from xnnlib.settings import Profile

# The sizes of a network as the paper writes them.
SYMBOLS = {
    "reduction": "R",
    "experts": "M",
    "filter_size": "F",
    "expansion": "Nₑ/Nᵢ",
    "width": "width ×",
    "model": "",
}
# What a record says of the run itself and not of what was changed.
NOT_A_CHANGE = ("precision", "name", "num_classes", "library")


class Experiment(NamedTuple):
    """The complete runs of one block of a profile, and those of the same block in its base."""

    profile: str
    block: str
    runs: list[Run]
    base_runs: list[Run]

    def changes(self) -> dict[str, object]:
        """What the runs have in another value than their base, by its name in the record."""
        if not self.base_runs:
            return {}
        own, base = self.runs[0].record, self.base_runs[0].record
        return {
            name: value
            for part in ("network", "recipe")
            for name, value in own[part].items()
            if name not in NOT_A_CHANGE and value != base[part].get(name)
        }

    def change_text(self) -> str:
        """`Nₑ/Nᵢ 2`, or a recipe's fields in words: `weight decay 0.0005; label smoothing 0.1`."""
        return "; ".join(
            f"{_title(name)} {setting_text(value)}".strip().replace("× ", "×")
            for name, value in self.changes().items()
        )


def _title(name: str) -> str:
    return SYMBOLS.get(name, TITLES.get(name, name.replace("_", " ")).split(" (")[0].lower())


def load_experiments(results_dir: Path, profiles: Mapping[str, "Profile"]) -> list[Experiment]:
    """The experiments among the profiles that have runs, in the order of the list.

    An experiment is a profile whose `base` is another one; a base that is only a file of parameters has no
    runs. Raises UserError if a record cannot be read.
    """
    found = []
    for profile in profiles.values():
        if profile.base == profile.name:
            continue
        own = _complete_runs(results_dir, profile)
        base = _complete_runs(results_dir, profiles[profile.base]) if profile.base in profiles else []
        for block in dict.fromkeys(run.record["block"] for run in own):
            runs, base_runs = ([run for run in all_ if run.record["block"] == block] for all_ in (own, base))
            found.append(Experiment(profile.name, block, runs, base_runs))
    return found


def _complete_runs(results_dir: Path, profile: "Profile") -> list[Run]:
    folders = [Path(results_dir, profile.name, name) for name in profile.run_names()]
    runs = [load_run(folder) for folder in folders if (folder / "record.json").exists()]
    return [run for run in runs if run.record.get("complete") and "diverged" not in run.record]


def experiment_table(experiments: list[Experiment]) -> Table:
    """Each change: what the network costs, how accurate it is, and what it gains over its base."""
    columns = ("Block", "Change", "MACs (M)", "Coefficients (M)", "Seeds", "Top-1 (%)")
    columns += ("Gain, by seed", "Gain, Welch", "Precision")
    rows = []
    for experiment in experiments:
        macs, coefficients = complexity.total(complexity.count(experiment.runs[0].spec))
        rows.append(
            (
                # Another paper's network has no block of this one.
                "" if "model" in experiment.runs[0].record["network"] else letter(experiment.block),
                experiment.change_text(),
                f"{macs / 1e6:.1f}",
                f"{coefficients / 1e6:.2f}",
                str(len(experiment.runs)),
                text(estimate(list(top1_by_seed(experiment.runs).values())), top1_digits(experiment.runs)),
                *_gain_texts(experiment),
                _precision(experiment),
            )
        )
    return Table(columns, "llrrrrrrl", tuple(rows))


def _precision(experiment: Experiment) -> str:
    return shared(experiment.runs, lambda run: run.record["recipe"]["precision"])


def _gain_texts(experiment: Experiment) -> tuple[str, str]:
    if not experiment.base_runs:
        return ("", "")
    digits = top1_digits(experiment.runs + experiment.base_runs)
    by_seed, welch = top1_gains(experiment.runs, experiment.base_runs)
    return text(by_seed, digits, signed=True), text(welch, digits, signed=True)


def experiment_numbers(experiments: list[Experiment]) -> dict[str, Number]:
    """The numbers of each experiment's runs, and its gain: `small-width-0.75.se.top1_gain`.

    The key of a nested profile, `routing/frozen`, has a hyphen in the place of each slash.
    """
    found: dict[str, Number] = {}
    for one in experiments:
        key, sources, digits = (
            f"{one.profile.replace('/', '-')}.{one.block}",
            tuple(map(run_source, one.runs)),
            top1_digits(one.runs),
        )
        found[f"{key}.change"] = Number.of(one.change_text(), sources)
        found[f"{key}.epochs"] = Number.of(shared(one.runs, lambda run: run.record["epochs"]), sources)
        found[f"{key}.seeds"] = Number.of(len(one.runs), sources)
        found[f"{key}.precision"] = Number.of(_precision(one), sources)
        top1 = estimate(list(top1_by_seed(one.runs).values()))
        found[f"{key}.top1"] = Number.measured(top1, digits, one.runs)
        if one.base_runs:
            both = one.runs + one.base_runs
            by_seed, welch = top1_gains(one.runs, one.base_runs)
            found[f"{key}.top1_gain"] = Number.measured(by_seed, digits, both, signed=True)
            found[f"{key}.top1_gain_welch"] = Number.measured(welch, digits, both, signed=True)
    return found
