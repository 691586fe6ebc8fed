"""A book with any problem in it is not built: a plain `jupyter-book build .` fails, cold or warm.

Sphinx only warns about a missing figure, citation or reference, shows a crashed notebook as it is, and
on a second build does not repeat what it said about pages that have not changed. Here every warning
is remembered and the build ends with a list of them all, as the last lines that it prints. The saved
environment is dropped then, so that the next build reads every page again; and a book of which any source
has changed is read as a whole (`source_digest`), so that no page keeps a reference to something that
another page has lost.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from docutils import nodes
from sphinx.application import ENV_PICKLE_FILENAME, Sphinx
from sphinx.util.logging import get_node_location, getLogger, is_suppressed_warning

logger = getLogger(__name__)


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


def source_digest(files: Iterable[Path], root: Path) -> str:
    """SHA-256 over the names, relative to `root` where they are below it, and contents of the files."""
    digest = hashlib.sha256()
    for file in sorted(files):
        name = file.relative_to(root) if file.is_relative_to(root) else file
        digest.update(f"{name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def check_notebook(app: Sphinx, docname: str, source: list[str]) -> None:
    """Warn of a notebook that crashed when it was executed, or that was not executed at all."""
    if not app.env.doc2path(docname).endswith(".ipynb"):
        return
    cells = [cell for cell in json.loads(source[0])["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    errors = [output for output in outputs if output["output_type"] == "error"]
    for error in errors:
        message = f"the notebook crashed: {error['ename']}: {error['evalue']}"
        logger.warning(message, location=docname, type="paper", subtype="notebook")
    if cells and not outputs:
        logger.warning(
            "the notebook has no outputs; execute it with papermill first",
            location=docname,
            type="paper",
            subtype="notebook",
        )


def refuse(message: str) -> NoReturn:
    """End the build with the message and status 1: under an exception Jupyter Book would put a traceback."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)


def fail_on_problems(app: Sphinx, exception: Exception | None) -> None:
    """Refuse a book with problems, and list them, one a line."""
    problems = app.paper_problems.problems
    if exception is None and problems:
        Path(app.doctreedir, ENV_PICKLE_FILENAME).unlink(missing_ok=True)
        listed = "".join(f"\n  {problem}" for problem in problems)
        refuse(f"the book has {len(problems)} problem(s):{listed}")


def setup(app: Sphinx) -> None:
    app.paper_problems = ProblemLog(app)
    logging.getLogger("sphinx").addHandler(app.paper_problems)
    app.connect("source-read", check_notebook)
    # After everything else that may still warn.
    app.connect("build-finished", fail_on_problems, priority=999)
