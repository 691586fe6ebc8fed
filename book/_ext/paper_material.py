"""What the book shows, read once before any page: runs, benchmarks, numbers, tables, figures, their origins.

Everything that the book takes from `xnnlib.report` is imported here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xnnlib
from xnnlib.campaign import SMALL_LIST
from xnnlib.errors import UserError
from xnnlib.records import Run, load_runs
from xnnlib.report import campaign, layer_times, tables, throughput
from xnnlib.report.campaign import changed_sizes, experiment_numbers, load_campaign, recipe_text
from xnnlib.report.numbers import Number, Numbers, numbers, run_source
from xnnlib.report.settings import letter
from xnnlib.report.speed import gain_table, goal_table, speed_numbers
from xnnlib.report.steps import step_table
from xnnlib.report.tables import Table
from xnnlib.spec import BLOCKS, NetworkSpec

QUICK = "quick"  # the profile on procedural images, which shows that the parts work and is marked as such


@dataclass
class Material:
    """The records of one project; `notebooks` are all runs whose executed notebook is a page, each once."""

    root: Path
    profile: str
    runs: list[Run]
    experiments: list
    benchmarks: list
    notebooks: list[Run]
    numbers: dict[str, Number]


def load_material(root: Path, results: str, profile: str) -> Material:
    """Read everything below `root`.

    Raises UserError on a damaged record or benchmark, and on a profile without a run of each block.
    """
    runs = load_runs(root / results, profile)
    missing = [block for block in BLOCKS if block not in {run.record["block"] for run in runs}]
    if missing:
        raise UserError(
            f"{results}/{profile} has no run of block {' and '.join(missing)}; the paper compares "
            f"{', '.join(BLOCKS)}: train what is missing, or name another paper_profile in _config.yml."
        )
    for run in runs:
        if not (run.path / "train.ipynb").exists():
            raise UserError(f"{run_source([run])}/train.ipynb is missing, which the book shows; train again.")
    experiments = load_campaign(root, SMALL_LIST)
    others = [run for group in experiments for run in group.runs]
    # The notebook of a run that has just been trained may be still to come.
    others = [run for run in others if (run.path / "train.ipynb").exists()]
    benchmarks = throughput.load_benchmarks(root / "benchmarks" / "results")
    found = numbers(runs) | speed_numbers(benchmarks) | experiment_numbers(experiments)
    notebooks = list({run.path: run for run in runs + others}.values())
    return Material(root, profile, runs, experiments, benchmarks, notebooks, Numbers(found))


TABLES: dict[str, Callable[[Material], Table]] = {
    "1": lambda material: tables.table_1(NetworkSpec()),
    "2": lambda material: tables.table_2(material.runs),
    "3": lambda material: tables.table_3(material.runs),
    "4": lambda material: tables.table_4(NetworkSpec()),
    "operations": lambda material: tables.table_4(NetworkSpec()),
    "costs": lambda material: tables.cost_table(NetworkSpec().num_classes),
    "experiments": lambda material: campaign.experiment_table(material.experiments),
    "speed": lambda material: throughput.speed_table(material.benchmarks),
}
# The tables of the page of speed as it is until it has one table.
TABLES |= {
    "roofline": lambda material: throughput.roofline_table(material.benchmarks),
    "kernels": lambda material: throughput.kernel_table(material.benchmarks),
    "steps": lambda material: step_table(material.benchmarks),
    "depthwise": lambda material: layer_times.depthwise_table(material.benchmarks, per_image=False),
    "depthwise-per-image": lambda material: layer_times.depthwise_table(material.benchmarks, per_image=True),
    "conditional": lambda material: layer_times.conditional_table(material.benchmarks),
    "growth": lambda material: throughput.growth_table(material.benchmarks),
    "gains": lambda material: gain_table(material.benchmarks),
    "goals": lambda material: goal_table(material.benchmarks, material.runs),
}

# The tables that a notebook shows, which must be those that the pages show.
NOTEBOOK_TABLES = {
    "notebooks/design": ("1",),
    "notebooks/results": ("2", "3"),
    "notebooks/implementation": ("4", "costs"),
}

# Each table and figure by its name: the notebook that makes it, if one does, and from what: modules or files,
# `runs` for those of the profile.
ARTEFACTS = {
    "table-related": ("", "the papers that its rows cite"),
    "figure-structure": ("notebooks/design", "xnnlib.spec, xnnlib.model"),
    "table-network": ("notebooks/design", "xnnlib.spec"),
    "figure-blocks": ("notebooks/design", "xnnlib.model"),
    "figure-se": ("notebooks/design", "xnnlib.model"),
    "figure-condconv": ("notebooks/design", "xnnlib.model"),
    "table-recipe": ("notebooks/results", "runs"),
    "table-results": ("notebooks/results", "runs"),
    "figure-training": ("notebooks/results", "runs"),
    "table-operations": ("notebooks/implementation", "xnnlib.complexity"),
    "table-single-operations": ("notebooks/implementation", "xnnlib.complexity"),
    "table-costs": ("notebooks/implementation", "xnnlib.complexity"),
    "figure-costs": ("notebooks/implementation", "xnnlib.complexity"),
    "table-experiments": ("", "profiles/ and the records of its runs"),
    "table-speed": ("", "benchmarks"),
    "figure-shapes": ("notebooks/design", "xnnlib.data.shapes"),
}
# Those of the page of speed as it is until it has one table.
ARTEFACTS |= {
    f"table-{name}": ("", "benchmarks")
    for name in (
        "gains roofline kernels steps depthwise depthwise-per-image conditional growth goals".split()
    )
}


def artefact_source(material: Material, name: str) -> str:
    """From what a table or figure is made, with its run folders or files."""
    _, source = ARTEFACTS[name]
    if source == "runs":
        return run_source(material.runs)
    if source == "benchmarks":
        return "; ".join(["benchmarks/", *(found.source for found in material.benchmarks)])
    return source


def run_change(run: Run) -> str:
    """A run's block by its letter, with what it changes of network and recipe: `B, expansion 2`."""
    record = run.record
    changed = changed_sizes(record["block"], record["network"])
    changes = [f"{name} {value:g}" for name, value in changed.items()]
    recipe = recipe_text(record["recipe"]["name"], record.get("parameters", {}).get("recipe_changes", ""))
    return ", ".join([letter(record["block"]), *changes, *recipe.split("; ")[1:]])


def drawn_digest(material: Material, name: str) -> str | None:
    """The digest of the data that a figure would show if it were drawn now; None for an unknown figure."""
    # matplotlib and seaborn take seconds to import: only a page with a figure needs them.
    from xnnlib.report import costs, curves, diagrams, samples

    spec = NetworkSpec()
    figures = {
        "figure-1-structure": lambda: diagrams.figure_1(spec),
        "figure-2-blocks": lambda: diagrams.figure_2(spec),
        "figure-3-squeeze-excite": lambda: diagrams.figure_3(spec),
        "figure-4-conditional-convolution": lambda: diagrams.figure_4(spec),
        "figure-5-training": lambda: curves.figure_5(material.runs),
        "figure-6-costs": lambda: costs.figure_6(spec.num_classes),
        "shapes-contact-sheet": samples.shapes_sheet,
    }
    return figures[name]().data_digest if name in figures else None


def source_files(material: Material) -> list[Path]:
    """Every file that the book is made from, the library's and this extension's code included."""
    patterns = ("_config.yml", "_toc.yml", "references.bib", "book/**/*", "figures/*", "notebooks/*.ipynb")
    patterns += ("profiles/*.yaml", "results/*/*/record.json", "benchmarks/results/**/*.json")
    files = [file for pattern in patterns for file in material.root.glob(pattern)]
    for run in material.notebooks:
        files += [run.path / name for name in ("record.json", "epochs.csv", "train.ipynb")]
    files += Path(xnnlib.__file__).parent.rglob("*.py")
    return [file for file in files if file.is_file() and "__pycache__" not in file.parts]
