"""The book's Sphinx extension: numbers, tables and run pages made from the run records.

`_config.yml` says which profile's records are shown (`paper_profile`, below `paper_results`). The
extension gives the pages

- the role `` {num}`se.top1` ``, one of `xnnlib.report.numbers` by key, with its source as a tooltip;
- the directive `{paper-table} 1` (2, 3, 4, costs), a table of `xnnlib.report.tables` with a caption;
- the directive `{paper-profile}`, a note of what is shown for any profile but `paper`, which every
  page then also carries as a banner;
- the executed training notebooks of the profile in the place of the globs in `_toc.yml`.

A key, record, figure, citation or reference that is missing fails the build: see paper_guard.
"""

import json
from difflib import get_close_matches
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from paper_guard import source_digest
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.logging import getLogger
from sphinx_external_toc.api import Document, FileItem, GlobItem

import xnnlib
from xnnlib.errors import UserError
from xnnlib.records import Run, load_runs
from xnnlib.report import tables
from xnnlib.report.numbers import numbers
from xnnlib.spec import BLOCK_TITLES, NetworkSpec

logger = getLogger(__name__)

TABLES = {
    "1": lambda runs: tables.table_1(NetworkSpec()),
    "2": tables.table_2,
    "3": tables.table_3,
    "4": lambda runs: tables.table_4(NetworkSpec()),
    "costs": lambda runs: tables.cost_table(NetworkSpec().num_classes),
}

# The tables that a notebook shows, which must be those that the pages show.
NOTEBOOK_TABLES = {
    "notebooks/design": ("1",),
    "notebooks/results": ("2", "3"),
    "notebooks/implementation": ("4", "costs"),
}
ALIGNMENT = {"l": "text-left", "r": "text-right"}


class BoundNumber(nodes.inline):
    """A number made by xnnlib.report; attribute `source` says from what."""


def visit_number(translator, node: BoundNumber) -> None:
    translator.body.append(f'<span class="paper-number" title="{escape(node["source"], quote=True)}">')


def depart_number(translator, node: BoundNumber) -> None:
    translator.body.append("</span>")


def bound(app: Sphinx, key: str) -> BoundNumber:
    number = app.paper_numbers[key]
    # A number is not broken at the end of a line, but the name of a device may be.
    text = number.text.replace(" ", "\N{NO-BREAK SPACE}") if len(number.text) < 20 else number.text
    return BoundNumber("", text, source=f"{key}: {number.source}")


class NumberRole(SphinxRole):
    """`` {num}`key` ``: the number's text; an unknown key is a problem that fails the build."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        known = self.env.app.paper_numbers
        if self.text in known:
            return [bound(self.env.app, self.text)], []
        nearest = ", ".join(get_close_matches(self.text, known, n=3, cutoff=0.4)) or ", ".join(sorted(known))
        message = f"unknown number {self.text!r}; the nearest keys are: {nearest}"
        logger.warning(message, location=self.get_location(), type="paper", subtype="number")
        return [nodes.literal("", self.text)], []


class PaperTable(SphinxDirective):
    """`{paper-table} 3` with `:name:`; the content is the caption."""

    required_arguments = 1
    has_content = True
    option_spec = {"name": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        which = self.arguments[0]
        if which not in TABLES:
            raise self.error(f"unknown table {which!r}; choose one of {', '.join(TABLES)}")
        content = TABLES[which](self.env.app.paper_runs)
        caption, messages = self.state.inline_text(" ".join(self.content), self.content_offset)
        table = nodes.table(
            "", nodes.title("", "", *caption), classes=["paper-table", f"paper-table-{which}"]
        )
        self.set_source_info(table)
        self.add_name(table)
        group = nodes.tgroup(cols=len(content.columns))
        group += [nodes.colspec(colwidth=1) for _ in content.columns]
        group += nodes.thead("", self._row(content.columns, content.align))
        group += nodes.tbody("", *(self._row(cells, content.align) for cells in content.rows))
        table += group
        table["classes"].append("colwidths-auto")
        return [addnodes.tabular_col_spec(spec=content.align), table, *messages]

    @staticmethod
    def _row(cells: tuple[str, ...], align: str) -> nodes.row:
        row = nodes.row(classes=["total"] if cells[0].startswith("Total") else [])
        for cell, side in zip(cells, align, strict=True):
            row += nodes.entry("", nodes.paragraph("", cell), classes=[ALIGNMENT[side]])
        return row


class PaperProfile(SphinxDirective):
    """`{paper-profile}`: a note of what the page's numbers are from, unless it is the `paper` profile."""

    def run(self) -> list[nodes.Node]:
        if self.config.paper_profile == "paper":
            return []
        title, facts = profile_note(self.env.app)
        note = nodes.admonition("", nodes.title("", title), nodes.paragraph("", facts), classes=["warning"])
        return [note]


def profile_note(app: Sphinx) -> tuple[str, str]:
    """What is shown: a title, and facts from the records with the remark on the runs if there is one."""
    shown = {key: number.text for key, number in app.paper_numbers.items()}
    facts = (
        f"{shown['num_classes']} classes of {shown['dataset']}; {shown['train_images']} training images; "
        f"epochs: {shown['epochs']}; seeds for each block: {shown['seeds']}; device: {shown['device']}."
    )
    remark = remark_file(app.config, Path(app.srcdir))
    if remark.exists():
        facts += f" {remark.read_text(encoding='utf-8').strip()}"
    return f"Profile “{app.config.paper_profile}”, not the paper’s full-scale result", facts


def remark_file(config: Config, root: Path) -> Path:
    """What whoever made the runs says of them that no record can: one sentence, shown with the facts."""
    return root / config.paper_results / config.paper_profile / "remark.txt"


def load_records(app: Sphinx, config: Config) -> None:
    """Read the profile's records once, and make everything that is set before pages are read."""
    root, results = Path(app.srcdir), Path(app.srcdir) / config.paper_results
    try:
        app.paper_runs = load_runs(results, config.paper_profile)
    except UserError as error:
        raise ExtensionError(str(error)) from None
    app.paper_numbers = numbers(app.paper_runs)
    if config.paper_profile != "paper":
        config.html_theme_options["announcement"] = escape(": ".join(profile_note(app)))
    # A changed configuration value makes Sphinx read every page again.
    sources = [*book_sources(root, app.paper_runs), remark_file(config, root)]
    config.paper_sources = source_digest(filter(Path.is_file, sources), root)
    others = (f"{config.paper_results}/{folder.name}" for folder in results.iterdir() if folder.is_dir())
    shown = f"{config.paper_results}/{config.paper_profile}"
    config.exclude_patterns = [*config.exclude_patterns, *(other for other in others if other != shown)]


def book_sources(root: Path, runs: list[Run]) -> list[Path]:
    """Every file that the book is made from, the library's and this extension's code included."""
    patterns = ("_toc.yml", "references.bib", "book/**/*", "figures/*", "notebooks/*.ipynb")
    files = [file for pattern in patterns for file in root.glob(pattern)]
    files += [run.path / name for run in runs for name in ("record.json", "epochs.csv", "train.ipynb")]
    files += Path(xnnlib.__file__).parent.rglob("*.py")
    return [file for file in files if "__pycache__" not in file.parts]


def list_runs(app: Sphinx, config: Config) -> None:
    """Put the training notebooks in the place of the globs of `_toc.yml`, in the order A, B, C."""
    root = Path(app.srcdir)
    pages = [(run.path / "train").relative_to(root).as_posix() for run in app.paper_runs]
    site_map = config.external_site_map
    for tree in [tree for document in site_map.values() for tree in document.subtrees]:
        if any(isinstance(item, GlobItem) for item in tree.items):
            tree.items = [item for item in tree.items if not isinstance(item, GlobItem)]
            tree.items += [FileItem(page) for page in pages]
    for page in pages:
        site_map[page] = Document(page)


def title_run(app: Sphinx, docname: str, source: list[str]) -> None:
    """Name a training notebook's page after its run: all of them begin with the same heading."""
    run = next((run for run in app.paper_runs if run.path / "train" == Path(app.srcdir) / docname), None)
    if run is None:
        return
    notebook = json.loads(source[0])
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    body = "".join(first["source"]).partition("\n")[2]
    title = f"# Block {BLOCK_TITLES[run.record['block']]}, seed {run.record['seed']}"
    first["source"] = f"{title}\n{body}"
    source[0] = json.dumps(notebook)


def check_tables(app: Sphinx, docname: str, source: list[str]) -> None:
    """Warn of a notebook whose tables are not those of the records of today."""
    for which in NOTEBOOK_TABLES.get(docname, ()):
        outputs = [output for cell in json.loads(source[0])["cells"] for output in cell.get("outputs", [])]
        shown = ["".join(output.get("data", {}).get("text/plain", "")) for output in outputs]
        if str(TABLES[which](app.paper_runs)) not in shown:
            message = f"table {which} is not the one of the records; execute the notebook again: make figures"
            logger.warning(message, location=docname, type="paper", subtype="notebook")


def setup(app: Sphinx) -> dict:
    app.add_config_value("paper_profile", "paper", "env", str)
    app.add_config_value("paper_results", "results", "env", str)
    app.add_config_value("paper_sources", "", "env", str)
    app.setup_extension("paper_guard")
    app.setup_extension("paper_figures")
    app.add_node(BoundNumber, html=(visit_number, depart_number))
    app.add_role("num", NumberRole())
    app.add_directive("paper-table", PaperTable)
    app.add_directive("paper-profile", PaperProfile)
    # sphinx_external_toc reads _toc.yml at priority 900.
    app.connect("config-inited", load_records, priority=800)
    app.connect("config-inited", list_runs, priority=950)
    app.connect("source-read", title_run)
    app.connect("source-read", check_tables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
