"""The book's Sphinx extension: numbers, tables and run pages made from the run records.

`_config.yml` says which profile's records are shown (`paper_profile`, below `paper_results`); those of
`xnnlib.report.BESIDE` and of the campaigns are shown beside them. The extension gives the pages

- the role `` {num}`se.top1` ``, one of `xnnlib.report.numbers` by key (paper_numbers);
- the role `` {claim}`name` ``, a comparing sentence held to the numbers (paper_claims);
- the directive `{paper-table} 1` (2, 3, 4, costs ...), a table of `xnnlib.report` (paper_tables);
- the directive `{paper-provenance} runs` (artefacts, numbers), where everything is from (paper_provenance);
- the directive `{paper-downloads}`, links to the PDF, the references and the records (paper_downloads);
- the directive `{paper-launch}`, links that open the records in a browser (paper_launch);
- the directive `{paper-profile}`, a note of what is shown for any profile but `paper`, which every
  page then also carries as a banner;
- the executed training notebooks of all these runs in the place of the globs in `_toc.yml`.

A number typed by hand (paper_prose), a figure or table older than its records (paper_figures), and a key,
record, figure, citation or reference that is missing fail the build (paper_guard).
"""

import json
from html import escape
from pathlib import Path

from paper_guard import refuse, source_digest
from paper_profile import FACTS, notice
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx_external_toc.api import Document, FileItem, GlobItem

import xnnlib
from xnnlib.campaign import SMALL_LIST
from xnnlib.errors import UserError
from xnnlib.records import Run, load_runs
from xnnlib.report import BESIDE
from xnnlib.report.campaign import campaign_numbers, experiment_numbers, load_campaign
from xnnlib.report.numbers import Numbers, beside_numbers, numbers
from xnnlib.report.scaling import scaling_numbers
from xnnlib.report.speed import speed_numbers
from xnnlib.report.throughput import FILE, LAYERS_FILE, STEPS_FILE, load_benchmarks
from xnnlib.spec import BLOCK_TITLES

EXTENSIONS = (
    "paper_guard",
    "paper_profile",
    "paper_numbers",
    "paper_prose",
    "paper_claims",
    "paper_provenance",
    "paper_tables",
    "paper_figures",
    "paper_downloads",
    "paper_launch",
    "paper_pages",
)


def load_records(app: Sphinx, config: Config) -> None:
    """Read the profile's records once, and make everything that is set before pages are read."""
    root, results = Path(app.srcdir), Path(app.srcdir) / config.paper_results
    try:
        app.paper_runs = load_runs(results, config.paper_profile)
        app.paper_beside = load_runs(results, BESIDE)
        app.paper_benchmarks = load_benchmarks(root / "benchmarks" / "results")
        app.paper_campaign = load_campaign(root)
        app.paper_experiments = load_campaign(root, SMALL_LIST)
    except UserError as error:
        refuse(str(error))
    runs, benchmarks = app.paper_runs, app.paper_benchmarks
    campaigns = [run for group in app.paper_experiments + app.paper_campaign for run in group.runs]
    # The notebook of a campaign's run that has just been trained may be still to come.
    campaigns = [run for run in campaigns if (run.path / "train.ipynb").exists()]
    # Each once: a campaign has runs of a profile among its own.
    app.paper_notebooks = list({run.path: run for run in runs + app.paper_beside + campaigns}.values())
    found = numbers(runs) | scaling_numbers(runs) | speed_numbers(benchmarks)
    found |= beside_numbers(app.paper_beside) | campaign_numbers(app.paper_campaign)
    found |= experiment_numbers(app.paper_experiments)
    app.paper_numbers = Numbers(found)
    if config.paper_profile != "paper":
        facts = FACTS.format_map({key: number.text for key, number in app.paper_numbers.items()})
        config.html_theme_options["announcement"] = escape(f"{notice(config)}: {facts}")
    # A changed configuration value makes Sphinx read every page again.
    sources = book_sources(root, app.paper_notebooks)
    config.paper_sources = source_digest(filter(Path.is_file, sources), root)
    others = set(results.glob("*/*/")) - {run.path for run in app.paper_notebooks}
    excluded = sorted(other.relative_to(root).as_posix() for other in others)
    config.exclude_patterns = [*config.exclude_patterns, *excluded]


def book_sources(root: Path, runs: list[Run]) -> list[Path]:
    """Every file that the book is made from, the library's and this extension's code included."""
    patterns = ("_config.yml", "_toc.yml", "references.bib", "book/**/*", "figures/*", "notebooks/*.ipynb")
    patterns += ("profiles/*.yaml", "results/*/*/record.json")
    patterns += tuple(f"benchmarks/results/*/{file}" for file in (FILE, LAYERS_FILE, STEPS_FILE))
    files = [file for pattern in patterns for file in root.glob(pattern)]
    files += [run.path / name for run in runs for name in ("record.json", "epochs.csv", "train.ipynb")]
    files += Path(xnnlib.__file__).parent.rglob("*.py")
    return [file for file in files if "__pycache__" not in file.parts]


def list_runs(app: Sphinx, config: Config) -> None:
    """Put the training notebooks in the place of the globs of `_toc.yml`: first those of the profile."""
    root = Path(app.srcdir)
    pages = [(run.path / "train").relative_to(root).as_posix() for run in app.paper_notebooks]
    site_map = config.external_site_map
    for tree in [tree for document in site_map.values() for tree in document.subtrees]:
        if any(isinstance(item, GlobItem) for item in tree.items):
            tree.items = [item for item in tree.items if not isinstance(item, GlobItem)]
            tree.items += [FileItem(page) for page in pages]
    for page in pages:
        site_map[page] = Document(page)


def title_run(app: Sphinx, docname: str, source: list[str]) -> None:
    """Name a training notebook's page after its run: all of them begin with the same heading."""
    run = next((run for run in app.paper_notebooks if run.path / "train" == Path(app.srcdir, docname)), None)
    if run is None:
        return
    notebook = json.loads(source[0])
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    body = "".join(first["source"]).partition("\n")[2]
    title = f"# Block {BLOCK_TITLES[run.record['block']]}, seed {run.record['seed']}"
    if run not in app.paper_runs:
        title += f", profile {run.record['profile']}"
    first["source"] = f"{title}\n{body}"
    source[0] = json.dumps(notebook)


def setup(app: Sphinx) -> dict:
    app.add_config_value("paper_profile", "paper", "env", str)
    app.add_config_value("paper_results", "results", "env", str)
    app.add_config_value("paper_sources", "", "env", str)
    for extension in EXTENSIONS:
        app.setup_extension(extension)
    # sphinx_external_toc reads _toc.yml at priority 900.
    app.connect("config-inited", load_records, priority=800)
    app.connect("config-inited", list_runs, priority=950)
    app.connect("source-read", title_run)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
