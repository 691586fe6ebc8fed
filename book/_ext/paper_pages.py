"""Beside the web pages: the PDF, the references and the records, which the first page links."""

import json
import shutil
import zipfile
from pathlib import Path

from paper_guard import refuse
from paper_typst import PAGES, PaperBuilder
from sphinx.application import Sphinx

from xnnlib.errors import UserError
from xnnlib.records import WEIGHTS
from xnnlib.verify import CHECKSUMS, read_checksums

BUILDERS = ("html", "linkcheck")


def drop_latex(app: Sphinx, docname: str, source: list[str]) -> None:
    """Show source code as HTML alone: its LaTeX would count as an equation and load MathJax."""
    if Path(app.env.doc2path(docname)).suffix != ".ipynb":
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output["data"].pop("text/latex", None)
    source[0] = json.dumps(notebook)


def check_builder(app: Sphinx) -> None:
    """Refuse, before a page is read, a builder whose pages would have dead links, and name what there is."""
    if app.builder.name not in BUILDERS:
        refuse(
            f"the book has no form {app.builder.name!r}; `jupyter-book build .` makes the web pages and, "
            "beside them, the paper as PDF: _build/html/paper.pdf"
        )


def make_downloads(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.name != "html" or app.paper_problems.problems:  # a refused book needs none
        return
    if not all(page in app.env.all_docs for page in PAGES):
        return
    outdir, root = Path(app.outdir), Path(app.srcdir)
    shutil.copyfile(PaperBuilder(app, app.env).make(), outdir / "paper.pdf")
    shutil.copyfile(root / "references.bib", outdir / "references.bib")
    results = root / app.config.paper_results
    # A run's, its profile's, and the one above, which holds what is said of nested profiles together.
    folders = {folder for run in app.paper.notebooks for folder in (run.path, *run.path.parents[:2])}
    # Weights that no list of checksums names are this machine's alone.
    listed = (folder for folder in folders if (folder / CHECKSUMS).exists())
    try:
        shipped = {folder / name for folder in listed for name in read_checksums(folder)}
    except UserError as error:
        refuse(str(error))
    files = (file for folder in folders for file in folder.iterdir())
    found = [file for file in files if file.name != WEIGHTS or file in shipped]
    with zipfile.ZipFile(outdir / "records.zip", "w") as archive:
        for file in sorted(file for file in found if file.is_file() and not file.name.startswith(".")):
            # Without a time of its own, so that the same records give the same bytes.
            entry = zipfile.ZipInfo(f"records/{file.relative_to(results).as_posix()}")
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", check_builder)
    app.connect("source-read", drop_latex, priority=600)
    app.connect("build-finished", make_downloads)
