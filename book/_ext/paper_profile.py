"""What must be said of every profile but `paper`: a note, a banner on every page, a watermark in the PDF."""

from docutils import nodes
from paper_numbers import bound_text
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

FACTS = (
    "{num_classes} classes of {dataset}; {train_images} training images; epochs: {epochs}; "
    "seeds for each block: {seeds}; device: {device}."
)


def notice(config: Config) -> str:
    """The first half of the note; FACTS is the other."""
    return f"Profile “{config.paper_profile}”, not the paper’s full-scale result"


class PaperProfile(SphinxDirective):
    """`{paper-profile}`: a note of what the page's numbers are from, unless it is the `paper` profile."""

    def run(self) -> list[nodes.Node]:
        if self.config.paper_profile == "paper":
            return []
        facts = nodes.paragraph("", "", *bound_text(self.env, FACTS, self.get_location()))
        return [nodes.admonition("", nodes.title("", notice(self.config)), facts, classes=["warning"])]


def setup(app: Sphinx) -> None:
    app.add_directive("paper-profile", PaperProfile)
