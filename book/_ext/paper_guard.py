"""A book with any problem in it is not built: a plain `jupyter-book build .` fails, cold or warm.

Sphinx only warns about a missing figure, citation or reference, shows a crashed notebook as it is, and
on a second build does not repeat what it said about pages that have not changed. Here every warning
is remembered and the build ends with a list of them all, as the last lines that it prints; and every build
reads all pages, so that none keeps a reference to something that another has lost. Stale notebooks and
figures are such problems too.
"""

import json
import logging
import sys
from pathlib import Path
from typing import NoReturn

from docutils import nodes
from paper_material import TABLES, drawn_digest, tables_of
from sphinx.application import ENV_PICKLE_FILENAME, Sphinx
from sphinx.config import Config
from sphinx.util.logging import get_node_location, getLogger, is_suppressed_warning

from xnnlib.errors import UserError
from xnnlib.report.style import saved_digest

logger = getLogger(__name__)


def report(message: str, location: object, subtype: str) -> None:
    """A problem that fails the build."""
    logger.warning(message, location=location, type="paper", subtype=subtype)


def refuse(message: str) -> NoReturn:
    """End the build with the message and status 1: under an exception Jupyter Book would put a traceback."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)


class ProblemLog(logging.Handler):
    """Keeps each warning that is not suppressed, once, as `page:line: message`."""

    def __init__(self, app: Sphinx):
        super().__init__(logging.WARNING)
        self.app = app
        self.problems: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        kind, subtype = getattr(record, "type", ""), getattr(record, "subtype", "")
        if is_suppressed_warning(kind, subtype, self.app.config.suppress_warnings):
            return
        location = getattr(record, "location", None)
        if isinstance(location, nodes.Node):
            location = get_node_location(location)
        place = f"{str(location).removeprefix(f'{self.app.srcdir}/')}: " if location else ""
        self.problems[place + record.getMessage().strip()] = None


def forget_last_build(app: Sphinx, config: Config) -> None:
    """Sphinx finds no pages of an earlier build, and reads all."""
    Path(app.doctreedir, ENV_PICKLE_FILENAME).unlink(missing_ok=True)


def check_notebook(app: Sphinx, docname: str, source: list[str]) -> None:
    """Report a notebook that crashed, that was not executed, or whose tables are not those of the records."""
    if not app.env.doc2path(docname).endswith(".ipynb"):
        return
    cells = [cell for cell in json.loads(source[0])["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    for error in (output for output in outputs if output["output_type"] == "error"):
        report(f"the notebook crashed: {error['ename']}: {error['evalue']}", docname, "notebook")
    if cells and not outputs:
        report("the notebook has no outputs; execute it with papermill first", docname, "notebook")
    shown = ["".join(output.get("data", {}).get("text/plain", "")) for output in outputs]
    for which in tables_of(docname):
        if str(TABLES[which](app.paper)) not in shown:
            message = f"table {which} is not the one of the records; execute the notebook again: make figures"
            report(message, docname, "notebook")


def check_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Report each file of a figure that is not there, or whose data is no longer what would be drawn."""
    for image in doctree.findall(nodes.image):
        uri = Path(app.srcdir, image["uri"])
        if uri.parent != Path(app.srcdir, "figures"):
            continue
        try:
            drawn = drawn_digest(app.paper, uri.stem)
        except UserError as error:
            report(str(error), image, "figure")
            continue
        for file in (uri.with_suffix(".svg"), uri.with_suffix(".pdf")):  # for the page and for the PDF
            if problem := _figure_problem(file, drawn):
                report(problem, image, "figure")


def _figure_problem(file: Path, drawn: str | None) -> str:
    """What is wrong with a figure's file; empty if it shows what would be drawn now."""
    if drawn is None:
        return f"figures/{file.name} is not a figure that the paper draws"
    if not file.is_file():
        return f"figures/{file.name} is missing; draw it again: make figures"
    try:
        fresh = saved_digest(file) == drawn
    except UserError as error:
        return str(error)
    return "" if fresh else f"figures/{file.name} is older than its data; draw it again: make figures"


def fail_on_problems(app: Sphinx, exception: Exception | None) -> None:
    """Refuse a book with problems, and list them, one a line."""
    problems = app.paper_problems.problems
    if exception is None and problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        refuse(f"the book has {len(problems)} problem(s):{listed}")


def setup(app: Sphinx) -> None:
    app.paper_problems = ProblemLog(app)
    logging.getLogger("sphinx").addHandler(app.paper_problems)
    app.connect("config-inited", forget_last_build)
    app.connect("source-read", check_notebook)
    # After Sphinx's own collector, which finds the files of each image.
    app.connect("doctree-read", check_figures, priority=600)
    # After everything else that may still warn.
    app.connect("build-finished", fail_on_problems, priority=999)
