"""Links that open the records in a browser, on Binder and on Colab, at the release that the book is of.

`repository` in `_config.yml` says where the project is published and as which release. Where it is not,
the directive `{paper-launch}` adds nothing.
"""

import re

from docutils import nodes
from paper_guard import refuse
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

# It reads the records alone, in a minute; binder/ is what Binder installs for it.
NOTEBOOK = "notebooks/explore.ipynb"
SERVICES = {
    "Binder": "https://mybinder.org/v2/gh/{project}/{release}?urlpath=lab/tree/{notebook}",
    "Colab": "https://colab.research.google.com/github/{project}/blob/{release}/{notebook}",
}


class PaperLaunch(SphinxDirective):
    """`{paper-launch}`: one line of buttons, or nothing."""

    def run(self) -> list[nodes.Node]:
        project = self.env.app.paper_project
        if not project:
            return []
        line = nodes.paragraph("", "Look into the records in a browser: ", classes=["web-only"])
        for service, pattern in SERVICES.items():
            release = self.config.html_theme_options["repository_branch"]
            place = pattern.format(project=project, release=release, notebook=NOTEBOOK)
            line += nodes.reference("", service, refuri=place, classes=["launch-button"])
        return [line]


def read_address(app: Sphinx, config: Config) -> None:
    """OWNER/NAME of the project, or "" where it is not published."""
    address = config.html_theme_options["repository_url"]
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", address)
    if address and not found:
        message = (
            f"_config.yml: repository.url is {address!r}; it must be https://github.com/OWNER/NAME or empty"
        )
        refuse(message)
    app.paper_project = found[1] if found else ""


def setup(app: Sphinx) -> None:
    app.add_directive("paper-launch", PaperLaunch)
    app.connect("config-inited", read_address, priority=800)
