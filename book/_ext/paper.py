"""The book's Sphinx extension: numbers, tables and run pages made from the run records.

`_config.yml` says which profile's records the paper shows (`paper_profile`, below `paper_results`).

| module | what it gives |
| --- | --- |
| paper_material | everything that is shown, read from records and specifications once |
| paper_guard | any problem, a stale figure or notebook included, fails the build |
| paper_text | the roles `num` and `claim`; numbers typed by hand are refused |
| paper_tables | the directives `paper-table` and `paper-provenance` |
| paper_typst | the PDF |
| paper_pages | what can be downloaded |

Here: the records are read, and each training notebook becomes a page.
"""

import json
from pathlib import Path

from paper_guard import refuse
from paper_material import load_material, run_title
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx_external_toc.api import Document

from xnnlib.errors import UserError
from xnnlib.report.plots import DEMONSTRATION


def load_records(app: Sphinx, config: Config) -> None:
    """Read the profile's records once, and set everything that must be known before pages are read."""
    try:
        app.paper = load_material(Path(app.srcdir), config.paper_results, config.paper_profile)
    except UserError as error:
        refuse(str(error))
    if config.paper_profile == DEMONSTRATION:
        announcement = "Profile quick, on procedural images: it shows that the parts work, and no result."
        config.html_theme_options["announcement"] = announcement


def leave_out_analysis(app: Sphinx, config: Config) -> None:
    """Leave out the pages on what networks do inside where the profile's were not looked into."""
    if app.paper.analysis:
        return
    pages = ("book/analysis", "notebooks/analysis")
    for document in config.external_site_map.values():
        for tree in document.subtrees:
            tree.items = [item for item in tree.items if item not in pages]
    config.exclude_patterns = [*config.exclude_patterns, *(f"{page}.*" for page in pages)]


def add_run_pages(app: Sphinx, config: Config) -> None:
    """Make each training notebook a page; the list of runs links them, not the sidebar."""
    pages = [(run.path / "train").relative_to(app.srcdir).as_posix() for run in app.paper.notebooks]
    config.external_site_map.update({page: Document(page) for page in pages})
    # sphinx_external_toc has excluded what `_toc.yml` does not name.
    files = {f"{page}.ipynb" for page in pages}
    config.exclude_patterns = [pattern for pattern in config.exclude_patterns if pattern not in files]


def present_run(app: Sphinx, docname: str, source: list[str]) -> None:
    """Show a training notebook with its result in the title, its curve first and its code folded."""
    run = next((run for run in app.paper.notebooks if run.path / "train" == Path(app.srcdir, docname)), None)
    if run is None:
        return
    notebook, record = json.loads(source[0]), run.record
    notebook["metadata"]["orphan"] = True
    cells = notebook["cells"]
    first = next(cell for cell in cells if cell["cell_type"] == "markdown")
    body = "".join(first["source"]).partition("\n")[2]
    network = run_title(app.paper, run, "Block ")
    title = f"# {network}, seed {record['seed']}: {record['last']['top1']:.2f} % top-1"
    summary = (
        f"{network}, profile {record['profile']}: {record['last']['top1']:.2f} % "
        f"top-1 after {record['epochs']} epochs, which took {record['train_seconds'] / 60:.0f} minutes on "
        f"{record['device']['name']}."
    )
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for cell in code:
        cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "hide-input"]
    curve = [cell for cell in code if "figure_5([" in "".join(cell["source"])]
    opening = {"cell_type": "markdown", "id": "result", "metadata": {}, "source": f"{title}\n\n{summary}\n"}
    first["source"] = f"## The notebook\n{body}"
    notebook["cells"] = [opening, *curve, *(cell for cell in cells if cell not in curve)]
    source[0] = json.dumps(notebook)


def setup(app: Sphinx) -> dict:
    app.add_config_value("paper_profile", "paper", "env", str)
    app.add_config_value("paper_results", "results", "env", str)
    for extension in ("paper_guard", "paper_text", "paper_tables", "paper_pages"):
        app.setup_extension(extension)
    # sphinx_external_toc reads _toc.yml at priority 900.
    app.connect("config-inited", load_records, priority=800)
    app.connect("config-inited", leave_out_analysis, priority=940)
    app.connect("config-inited", add_run_pages, priority=950)
    app.connect("source-read", present_run)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
