"""What the web page offers for download: the paper as a PDF, its references, the records and weights.

They are made after the pages, from the same document trees and records, into the folder of the pages.
The directive `{paper-downloads}` lists them.
"""

import shutil
from pathlib import Path

from docutils import nodes
from paper_typst import PAGES, PaperBuilder
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from xnnlib.bundles import write_bundle

DOWNLOADS = {
    "paper.pdf": "The paper as PDF",
    "references.bib": "its references as BibTeX",
    "records.zip": "the records, notebooks and weights of its runs",
}


class PaperDownloads(SphinxDirective):
    """`{paper-downloads}`: one line of links."""

    def run(self) -> list[nodes.Node]:
        up = "../" * self.env.docname.count("/")
        line = nodes.paragraph("", "", classes=["web-only"])
        for position, (file, title) in enumerate(DOWNLOADS.items()):
            line += [nodes.Text(", " if position else ""), nodes.reference("", title, refuri=up + file)]
        line += nodes.Text(".")
        return [line]


def make_downloads(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.name != "html" or app.paper_problems.problems:  # a refused book needs none
        return
    if not all(page in app.env.all_docs for page in PAGES):
        return
    outdir, root = Path(app.outdir), Path(app.srcdir)
    shutil.copyfile(PaperBuilder(app, app.env).make(), outdir / "paper.pdf")
    shutil.copyfile(root / "references.bib", outdir / "references.bib")
    results = root / app.config.paper_results
    folders = {folder for run in app.paper_notebooks for folder in (run.path, run.path.parent)}
    found = [file for folder in folders for file in folder.iterdir()]
    files = [file for file in found if file.is_file() and not file.name.startswith(".")]
    write_bundle(outdir / "records.zip", {file.relative_to(results).as_posix(): file for file in files})


def setup(app: Sphinx) -> None:
    app.add_directive("paper-downloads", PaperDownloads)
    app.connect("build-finished", make_downloads)
