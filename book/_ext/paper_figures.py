"""A figure that is missing, or does not show the data of today, fails the build.

Each saved figure carries the digest of the data that it shows; the digest of what would be drawn now
must be the same.
"""

from pathlib import Path

from docutils import nodes
from paper_numbers import report
from sphinx.application import Sphinx

from xnnlib.errors import UserError
from xnnlib.records import Run
from xnnlib.spec import NetworkSpec

SUFFIXES = (".svg", ".pdf")  # for the page and for the PDF


def check_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Warn of each file of a figure that is not there, or whose data is no longer what would be drawn."""
    for image in doctree.findall(nodes.image):
        uri = Path(app.srcdir, image["uri"])
        if uri.parent != Path(app.srcdir, "figures"):
            continue
        for file in (uri.with_suffix(suffix) for suffix in SUFFIXES):
            problem = f"figures/{file.name} is missing; draw it again with: make figures"
            if file.is_file():
                problem = outdated(file, app.paper_runs, app.paper_beside)
            if problem:
                report(problem, image, "figure")


def outdated(file: Path, runs: list[Run], beside: list[Run]) -> str:
    """What is wrong with a figure's file; empty if it shows what would be drawn now."""
    # matplotlib and seaborn take seconds to import: only a page with a figure needs them.
    from xnnlib.report import costs, curves, diagrams, samples, style

    spec = NetworkSpec()
    figures = {
        "figure-1-structure": lambda: diagrams.figure_1(spec),
        "figure-2-blocks": lambda: diagrams.figure_2(spec),
        "figure-3-squeeze-excite": lambda: diagrams.figure_3(spec),
        "figure-4-conditional-convolution": lambda: diagrams.figure_4(spec),
        "figure-5-training": lambda: curves.figure_5(runs),
        "many-passes": lambda: curves.figure_5(beside),
        "figure-6-costs": lambda: costs.figure_6(spec.num_classes),
        "shapes-contact-sheet": samples.shapes_sheet,
    }
    if file.stem not in figures:
        return f"figures/{file.name} is not a figure that the paper draws; choose one of {', '.join(figures)}"
    try:
        saved = style.saved_digest(file)
    except UserError as error:
        return str(error)
    if saved != figures[file.stem]().data_digest:
        return f"figures/{file.name} is older than its data; draw it again with: make figures"
    return ""


def setup(app: Sphinx) -> None:
    # After Sphinx's own collector, which finds the files of each image.
    app.connect("doctree-read", check_figures, priority=600)
