"""What was varied: profiles that change another one's parameters, each run compared with its base.

A row is one block of one such profile. Only what was run is shown, and what differs is read from the records.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from xnnlib import complexity
from xnnlib.profiles import Profile
from xnnlib.records import RECORD, Run, load_complete
from xnnlib.report.estimates import format_setting
from xnnlib.report.numbers import COUNTED, Number, block_gains, gains, measured, millions
from xnnlib.report.summary import by_block, is_baseline, letter, run_source, shared, top1_by_seed
from xnnlib.report.tables import TITLES, Table

# The sizes of a network as the paper writes them.
SYMBOLS = {"expansion": "Nₑ/Nᵢ", "width": "width ×"}
# Changes that name and value do not tell.
IN_WORDS = {("gate", "none"): "without gates", ("depthwise_fan_out", "layer"): "smaller initial filters"}
SPLITS = ("train_images", "val_images")
# What a record says of the run itself and not of what was changed.
NOT_A_CHANGE = ("precision", "name", "num_classes")


class Experiment(NamedTuple):
    """The complete runs of one block of a profile, and those of its base, of all blocks."""

    profile: str
    block: str
    runs: list[Run]
    base: list[Run]

    @property
    def base_runs(self) -> list[Run]:
        """The base's runs of the same block."""
        return by_block(self.base).get(self.block, [])

    def changes(self) -> dict[str, object]:
        """What the runs have in another value than their base, by its name in the record."""
        if not self.base_runs:
            return {}
        first = (self.runs[0].record, self.base_runs[0].record)
        own, base = (
            record["network"] | record["recipe"] | {name: record["dataset"][name] for name in SPLITS}
            for record in first
        )
        return {k: v for k, v in own.items() if k not in NOT_A_CHANGE and v != base.get(k)}

    def change_text(self) -> str:
        """`Nₑ/Nᵢ 2`, or a recipe's fields in words: `weight decay 0.0005; label smoothing 0.1`."""
        titles = SYMBOLS | {name: title.split(" (")[0].lower() for name, title in TITLES.items()}
        texts = [
            IN_WORDS.get((name, value))
            or f"{titles.get(name, name.replace('_', ' '))} {format_setting(value)}"
            for name, value in self.changes().items()
        ]
        return "; ".join(texts).replace("× ", "×")

    def numbers(self) -> dict[str, Number]:
        """Its numbers, by the name that follows profile and block in a key."""
        precision = shared(self.runs, lambda run: run.record["recipe"]["precision"])
        found = {"precision": Number.of(precision, tuple(map(run_source, self.runs)))}
        counts = complexity.total(complexity.count(self.runs[0].spec))
        for name, count in zip(("macs", "coefficients"), counts, strict=True):
            found[name] = Number.of(count, COUNTED, millions(count))
        found |= measured(self.runs)
        return found | (gains(self.runs, self.base_runs) if self.base_runs else {})


def load_experiments(results_dir: Path, profiles: Mapping[str, Profile]) -> list[Experiment]:
    """The experiments among the profiles that have runs, in the order of the list.

    An experiment is a profile whose `base` is another one; a base that is only a file of parameters has no
    runs. Raises UserError if a record cannot be read, Diverged if a run has diverged.
    """

    @cache
    def complete_runs(name: str) -> list[Run]:
        names = profiles[name].run_names() if name in profiles else ()
        folders = [Path(results_dir, name, run) for run in names]
        return [load_complete(folder) for folder in folders if (folder / RECORD).exists()]

    return [
        Experiment(profile.name, block, runs, complete_runs(profile.base))
        for profile in profiles.values()
        if profile.base != profile.name
        for block, runs in by_block(complete_runs(profile.name)).items()
    ]


def experiment_table(experiments: list[Experiment]) -> Table:
    """Each change: what the network costs, how accurate it is, and what it gains over its base."""
    columns = ("Block", "Change", "MACs (M)", "Coefficients (M)", "Seeds", "Top-1 (%)")
    columns += ("Gain, by seed", "Gain, independent", "Precision")
    rows, changed = [], {}
    for one in experiments:
        found = one.numbers()
        # What its base has changed already, in a row above.
        before = [changed[run.path] for run in one.base_runs[:1] if run.path in changed]
        text = "; ".join([*before, one.change_text()])
        changed |= {run.path: text for run in one.runs}
        macs, coefficients = found["macs"].value, found["coefficients"].value
        # A gain of fewer than two shared seeds is not paired, and stands in the other column alone.
        shared_seeds = top1_by_seed(one.runs).keys() & top1_by_seed(one.base_runs).keys()
        paired = "top1_gain" if len(shared_seeds) > 1 else ""
        names = ("seeds", "top1", paired, "top1_gain_welch", "precision")
        texts = (found[name].text if name in found else "" for name in names)
        rows.append((letter(one.block), text, f"{macs / 1e6:.1f}", f"{coefficients / 1e6:.2f}", *texts))
    return Table(columns, "llrrrrrrl", tuple(rows))


def experiment_numbers(experiments: list[Experiment]) -> dict[str, Number]:
    """The numbers of each experiment's runs, and its gain: `small-width-0.75.se.top1_gain`.

    Blocks of one profile are also compared, `small-fan-out.se.top1_gain_over_standard`, and with those blocks
    that only its base has. The key of a nested profile, `routing/frozen`, has a hyphen in the place of each
    slash.
    """
    found, runs = {}, {}
    trained = {(one.profile, one.block) for one in experiments}
    for one in experiments:
        own = one.numbers()
        compared = one.base if one.changes() and not is_baseline(one.runs[0]) else []
        for block, others in by_block(compared).items():
            if (one.profile, block) not in trained:
                own |= {f"{name}_over_{block}": gain for name, gain in gains(one.runs, others).items()}
        found |= {f"{one.profile}.{one.block}.{name}": number for name, number in own.items()}
        runs.setdefault(one.profile, []).extend(one.runs)
    for profile, own in runs.items():
        found |= {f"{profile}.{name}": gain for name, gain in block_gains(own).items()}
    return {key.replace("/", "-"): number for key, number in found.items()}
