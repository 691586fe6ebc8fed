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
    whole = all(page in app.env.all_docs for page in PAGES)
    if exception or app.builder.name != "html" or not whole:
        return
    outdir, root = Path(app.outdir), Path(app.srcdir)
    shutil.copyfile(PaperBuilder(app, app.env).make(), outdir / "paper.pdf")
    shutil.copyfile(root / "references.bib", outdir / "references.bib")
    shown = root / app.config.paper_results / app.config.paper_profile
    files = [file for file in shown.rglob("*") if file.is_file() and not file.name.startswith(".")]
    names = {f"{shown.name}/{file.relative_to(shown).as_posix()}": file for file in files}
    write_bundle(outdir / "records.zip", names)


def setup(app: Sphinx) -> None:
    app.add_directive("paper-downloads", PaperDownloads)
    app.connect("build-finished", make_downloads)
