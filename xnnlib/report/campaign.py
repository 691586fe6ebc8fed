"""Campaigns as tables: the recipes of the full-scale one, and the experiments that change the network.

A row is one block in one folder of the list, with as many of its seeds as are complete; what was not run
is in the tables too, with what it costs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from xnnlib import complexity
from xnnlib.campaign import LIST, Job, best_changes, jobs, read
from xnnlib.errors import UserError
from xnnlib.records import Run, load_run
from xnnlib.report.numbers import Number, run_source
from xnnlib.report.settings import TITLES, letter, shared
from xnnlib.report.speed import WAITING
from xnnlib.report.summary import difference, estimate, millions, text, top1_digits
from xnnlib.report.tables import NOT_RUN, Table
from xnnlib.settings import Settings
from xnnlib.spec import NetworkSpec

# The entries that the text compares.
REFERENCE, TUNED = "paper-reference", "tuned"
# Which parameters of a network an experiment may change, as the paper writes them.
SYMBOLS = {"reduction": "R", "experts": "M", "filter_size": "F", "expansion": "Ne / Ni", "width": "width x"}
# What a record's parameters may differ in from what the list asks.
FREE = ("checkpoint_seconds",)


class Group(NamedTuple):
    """The seeds of one block in one folder: what they are asked to be, how many, and the complete ones.

    `waits_for` names the search that has not chosen their recipe yet.
    """

    name: str
    settings: Settings
    waits_for: str
    asked: int
    runs: list[Run]
    diverged: int

    @property
    def top1(self) -> list[float]:
        """Of each complete run after its last epoch, in percent."""
        return [run.record["last"]["top1"] for run in self.runs]

    @property
    def varies_network(self) -> bool:
        return bool(self.changed_sizes())

    def changed_sizes(self) -> dict[str, int | float]:
        """What the network has in another size than the paper's."""
        return changed_sizes(self.settings.block, self.settings.network.sizes())

    def seeds(self) -> str:
        """How many of the seeds are complete, `1 of 3`, and how many have diverged."""
        done = f"{len(self.runs)} of {self.asked}"
        return f"{done}, {self.diverged} diverged" if self.diverged else done

    def precision(self) -> str:
        """What the complete runs computed in; empty if there are none."""
        return _precision(self.runs) if self.runs else ""

    def accuracy(self) -> str:
        """Top-1 after the last epoch, mean ± 95 % interval, or that there is none."""
        return text(estimate(self.top1), top1_digits(self.runs)) if self.runs else NOT_RUN


def _precision(runs: list[Run]) -> str:
    return shared(runs, lambda run: run.record["recipe"]["precision"])


def _epochs(runs: list[Run]) -> str:
    return shared(runs, lambda run: run.record["epochs"])


def changed_sizes(block: str, sizes: Mapping[str, int | float]) -> dict[str, int | float]:
    """Those of a network's `sizes` in which it differs from the paper's with the same block and classes."""
    paper = NetworkSpec(block, sizes["num_classes"]).sizes()
    return {name: size for name, size in sizes.items() if size != paper[name]}


def load_campaign(root: Path, list_file: str = LIST) -> list[Group]:
    """The campaign of the project in `root`, in the order of its list, LIST or SMALL_LIST.

    Raises UserError on a list or a record that cannot be read, and on a run that is not what the list asks.
    """
    results = root / "results"
    entries = read(root / list_file)

    undecided = set()

    def best(search: str) -> str:
        try:
            return best_changes(entries, results, search)
        except UserError:
            undecided.add(search)  # not all of its candidates are complete
            return ""

    groups: dict[tuple[str, str], Group] = {}
    for job in jobs(entries, results, root / "profiles", best):
        settings = job.settings()
        key = (settings.profile, settings.block)
        waits_for = job.best_of if job.best_of in undecided else ""
        group = groups.get(key, Group(settings.profile, settings, waits_for, 0, [], 0))
        run = _run(job, settings, list_file)
        diverged = run is not None and "diverged" in run.record
        complete = [run] if run is not None and run.record.get("complete") else []
        groups[key] = group._replace(
            asked=group.asked + 1, runs=group.runs + complete, diverged=group.diverged + diverged
        )
    return list(groups.values())


def _run(job: Job, settings: Settings, list_file: str) -> Run | None:
    """The run in the job's folder, if there is one; it must be what the list asks."""
    if not (job.folder / "record.json").exists():
        return None
    run = load_run(job.folder)
    found, asked = run.record.get("parameters", {}), settings.recorded()
    for name in asked:
        if name not in FREE and found.get(name, asked[name]) != asked[name]:
            raise UserError(
                f"{job.folder} was trained with {name} {found[name]!r}, and {list_file} asks for "
                f"{asked[name]!r}; delete the folder, or make the list say what was run."
            )
    return run


def recipe_table(groups: list[Group]) -> Table:
    """The campaign's runs of the paper's own network: their recipe and their accuracy."""
    columns = ("Runs", "Recipe", "Epochs", "Validated on", "Block", "Seeds", "Top-1, last epoch (%)")
    rows = []
    for group in groups:
        if group.varies_network:
            continue
        validated = "held-out tenth" if group.settings.hold_out else "validation"
        epochs = str(group.settings.epochs)
        shown = (group.name, _recipe(group), epochs, validated, letter(group.settings.block))
        rows.append((*shown, group.seeds(), group.accuracy()))
    return Table(columns, "llrlllr", tuple(rows))


def _recipe(group: Group) -> str:
    if group.waits_for:
        return f"{group.settings.recipe}; the best of {group.waits_for}"
    return recipe_text(group.settings.recipe, group.settings.recipe_changes)


def recipe_text(name: str, changes: str) -> str:
    """A recipe by its name with the changes of the parameter `recipe_changes`, in their own digits."""
    pairs = [change.split("=") for change in changes.split(",") if change.strip()]
    titles = [f"{TITLES[setting.strip()].split(' (')[0].lower()} {value.strip()}" for setting, value in pairs]
    return "; ".join([name, *titles])


def experiment_table(groups: list[Group]) -> Table:
    """Each change of the network: what it costs, and what it brings against the same block unchanged."""
    costs = ("Block", "Change", "MACs", "Coefficients")
    results = ("Seeds", "Precision", "Top-1, last epoch (%)", "Gain (points)")
    rows = []
    for block, base in _unchanged(groups).items():
        varied = [group for group in groups if group.varies_network and group.settings.block == block]
        rows += [_experiment_row(group, base) for group in [base, *varied] if varied]
    return Table(costs + results, "llrrllrr", tuple(rows))


def _unchanged(groups: list[Group]) -> dict[str, Group]:
    """What the others of a block are compared with: the first on the list with the paper's network."""
    unchanged: dict[str, Group] = {}
    for group in groups:
        if not group.varies_network:
            unchanged.setdefault(group.settings.block, group)
    return unchanged


def _experiment_row(group: Group, base: Group) -> tuple[str, ...]:
    changes = ", ".join(f"{SYMBOLS[name]} {size:g}" for name, size in group.changed_sizes().items())
    macs, coefficients = complexity.total(complexity.count(group.settings.network))
    return (
        letter(group.settings.block),
        changes or "none",
        millions(macs),
        millions(coefficients),
        group.seeds(),
        group.precision(),
        group.accuracy(),
        "" if group is base else _gain(group, base),
    )


def _gain(group: Group | None, base: Group | None) -> str:
    """The difference of two groups' accuracies in points; empty where one of them has no run."""
    if not (group and base and group.runs and base.runs):
        return ""
    return text(difference(group.top1, base.top1), top1_digits(group.runs + base.runs), signed=True)


def experiment_numbers(groups: list[Group]) -> dict[str, Number]:
    """Of the runs of the list and what they are compared with: `small-width-0.75.se.top1_gain`.

    `other-sizes.seeds`, `.epochs` and `.precision` are of all that change the network.
    """
    unchanged, values = _unchanged(groups), _of_other_sizes(groups)
    for group in (group for group in groups if group.runs):
        found = {
            "seeds": str(len(group.runs)),
            "epochs": _epochs(group.runs),
            "precision": group.precision(),
            "recipe": _recipe(group),
            "top1": group.accuracy(),
        }
        sources = group.runs
        base = unchanged.get(group.settings.block)
        if base and base is not group and base.runs:
            found["top1_gain"] = _gain(group, base)
            sources = group.runs + base.runs
        key = f"{group.name}.{group.settings.block}"
        values |= {f"{key}.{name}": Number(value, run_source(sources)) for name, value in found.items()}
    return values


def _of_other_sizes(groups: list[Group]) -> dict[str, Number]:
    resized = [group for group in groups if group.varies_network and group.runs]
    if not resized:
        return {}
    runs = [run for group in resized for run in group.runs]
    values = {
        "seeds": " or ".join(map(str, sorted({len(group.runs) for group in resized}))),
        "epochs": _epochs(runs),
        "precision": _precision(runs),
    }
    return {f"other-sizes.{name}": Number(value, run_source(runs)) for name, value in values.items()}


def campaign_numbers(groups: list[Group]) -> dict[str, Number]:
    """How much of the campaign has been run, and what the text compares."""
    found = {(group.name, group.settings.block): group for group in groups}
    tuned, reference = found.get((TUNED, "standard")), found.get((REFERENCE, "standard"))
    values = {
        "runs": str(sum(group.asked for group in groups)),
        "complete": str(sum(len(group.runs) for group in groups)),
        "experiments": str(sum(group.asked for group in groups if group.varies_network)),
        "experiments_complete": str(sum(len(group.runs) for group in groups if group.varies_network)),
        "tuned_gain": _gain(tuned, reference) or WAITING["cuda"],
        "tuned_recipe": WAITING["cuda"] if tuned is None or tuned.waits_for else _recipe(tuned),
    }
    return {f"campaign.{name}": Number(value, LIST) for name, value in values.items()}
