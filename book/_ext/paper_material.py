"""What the book shows, read once before any page: runs, benchmarks, numbers, tables, figures and origins."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xnnlib.errors import UserError
from xnnlib.profiles import load_profiles
from xnnlib.records import Run, load_runs
from xnnlib.report import baselines, diagrams, inside, plots, routing, tables
from xnnlib.report.experiments import Experiment, experiment_numbers, experiment_table, load_experiments
from xnnlib.report.inside import inside_numbers, inside_table, load_analysis, routing_table
from xnnlib.report.numbers import Number, numbers, run_numbers
from xnnlib.report.routing import STUDY, in_study, load_study, study_numbers, study_table, title_of
from xnnlib.report.speed import Benchmark, latencies, load_benchmarks, speed_numbers, speed_table
from xnnlib.report.summary import is_baseline, letter, network_title, run_source
from xnnlib.report.tables import Table
from xnnlib.spec import BLOCKS, NetworkSpec


@dataclass
class Material:
    """The records of one project; `notebooks` are all runs whose executed notebook is a page, each once.

    `analysis` and `study` are what notebooks/analysis.ipynb found: in the profile's networks, None where it
    was not run, and in those that settled block C's routing.
    """

    profile: str
    runs: list[Run]
    experiments: list[Experiment]
    benchmarks: list[Benchmark]
    notebooks: list[Run]
    numbers: dict[str, Number]
    analysis: dict | None
    study: dict


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
            raise UserError(
                f"{run_source(run)}/train.ipynb is missing, which the book shows; run notebooks/train.ipynb "
                "by papermill with the run's parameters: a complete run is not trained again."
            )
    experiments = load_experiments(root / results, load_profiles(root))
    names = {one.profile for one in experiments}
    bases = {one.base[0].record["profile"]: one.base for one in experiments if one.base}
    bases = {name: bases[name] for name in bases.keys() - names}  # a base may be an experiment itself
    others = [run for one in experiments for run in one.base + one.runs]
    # The notebook of a run that has just been trained may be still to come.
    others = [run for run in others if (run.path / "train.ipynb").exists()]
    benchmarks = load_benchmarks(root / "benchmarks" / "results")
    found = numbers(runs) | speed_numbers(benchmarks) | experiment_numbers(experiments)
    for name, base in bases.items():
        found |= run_numbers(base, name)
    names |= {profile, *bases}
    analyses = {name: one for name in sorted(names) if (one := load_analysis(root / results, name))}
    for name, one in analyses.items():
        found |= inside_numbers(one, f"{name}.inside")
    analysis = analyses.get(profile)
    found |= inside_numbers(analysis) if analysis else {}
    study = load_study(root / results)
    found |= study_numbers(experiments, study)
    notebooks = list({run.path: run for run in runs + others}.values())
    return Material(profile, runs, experiments, benchmarks, notebooks, found, analysis, study)


TABLES: dict[str, Callable[[Material], Table]] = {
    "network": lambda material: tables.table_1(NetworkSpec()),
    "recipe": lambda material: tables.table_2(material.runs),
    "results": lambda material: tables.table_3(material.runs),
    "operations": lambda material: tables.table_4(),
    "single-operations": lambda material: tables.operation_table(NetworkSpec()),
    "costs": lambda material: tables.cost_table(),
    "experiments": lambda material: experiment_table(
        [one for one in material.experiments if not (in_study(one) or is_baseline(one.runs[0]))]
    ),
    "baselines": lambda material: baselines.baseline_table(material.experiments, material.benchmarks),
    "speed": lambda material: speed_table(material.benchmarks),
    "inside": lambda material: inside_table(material.analysis),
    "routing": lambda material: routing_table(material.analysis),
    "study": lambda material: study_table(material.experiments, material.study),
}

# Each table and figure by its name: the notebook that makes it, if one does, and from what: modules or files,
# `runs` for those of the profile, `benchmarks` and `analysis` for their files.
ARTEFACTS = {
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
    "figure-costs": ("notebooks/results", "runs; benchmarks"),
    "table-experiments": ("", "profiles/ and the records of its runs"),
    "table-baselines": ("notebooks/results", "profiles/ and the records of its runs; benchmarks"),
    "figure-baselines": ("notebooks/results", "profiles/ and the records of its runs; benchmarks"),
    "table-speed": ("", "benchmarks"),
    "table-inside": ("notebooks/analysis", "analysis"),
    "table-routing": ("notebooks/analysis", "analysis"),
    "figure-routing": ("notebooks/analysis", "analysis"),
    "table-study": ("notebooks/analysis", f"the records of results/routing; results/{STUDY}"),
    "figure-first-epoch": ("notebooks/analysis", f"results/{STUDY}"),
    "figure-shapes": ("notebooks/design", "xnnlib.data.shapes"),
}


def tables_of(notebook: str) -> list[str]:
    """The tables that a notebook shows, which must be those that the pages show."""
    return [name for name in TABLES if ARTEFACTS[f"table-{name}"][0] == notebook]


def artefact_source(material: Material, name: str) -> str:
    """From what a table or figure is made, with its run folders or files."""
    _, source = ARTEFACTS[name]
    places = {
        "runs": ", ".join(map(run_source, material.runs)),
        "benchmarks": "; ".join(["benchmarks/results", *(found.title for found in material.benchmarks)]),
        "analysis": material.analysis["source"] if material.analysis else "",
    }
    return "; ".join(places.get(part, part) for part in source.split("; "))


def run_title(material: Material, run: Run, prefix: str = "") -> str:
    """What a run trained: `B, expansion 2` behind the prefix, or another paper's network."""
    if is_baseline(run):
        return network_title(run)
    block = f"{prefix}{letter(run.record['block'])}"
    one = next((one for one in material.experiments if run in one.runs), None)
    if one is None:
        return block
    return ", ".join(filter(None, [block, title_of(run) if in_study(one) else one.change_text()]))


def drawn_digest(material: Material, name: str) -> str | None:
    """The digest of the data that a figure would show if it were drawn now; None for an unknown figure."""
    spec = NetworkSpec()
    figures = {
        "figure-1-structure": lambda: diagrams.figure_1(spec),
        "figure-2-blocks": lambda: diagrams.figure_2(spec),
        "figure-3-squeeze-excite": lambda: diagrams.figure_3(spec),
        "figure-4-conditional-convolution": lambda: diagrams.figure_4(spec),
        "figure-5-training": lambda: plots.figure_5(material.runs),
        "figure-6-costs": lambda: plots.figure_6(material.runs, latencies(material.benchmarks)),
        "figure-7-routing": lambda: inside.figure_7(material.analysis),
        "figure-8-first-epoch": lambda: routing.figure_8(material.study),
        "figure-9-baselines": lambda: baselines.figure_9(material.experiments, material.benchmarks),
        "shapes-contact-sheet": plots.shapes_sheet,
    }
    return figures[name]().data_digest if name in figures else None
