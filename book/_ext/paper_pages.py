"""What the theme and Jupyter Book leave to be mended in the web pages, so that they open without complaint.

Jupyter Book always adds Thebe, which runs code on a remote machine; nothing of the paper does, and its
script, added twice, is an error on every page. A theme mode and names for the sidebar's toggles are missing.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config


def set_mode(app: Sphinx, config: Config) -> None:
    config.html_context.setdefault("default_mode", "auto")


def _is_thebe(file: object) -> bool:
    return "thebe" in f"{file} {getattr(file, 'attributes', '')}".lower()


def drop_thebe_files(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, ()) if not _is_thebe(file)]


def drop_thebe_settings(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for node in list(doctree.findall(nodes.raw)):
        if "x-thebe-config" in node.astext():
            node.parent.remove(node)


def setup(app: Sphinx) -> None:
    app.add_js_file("accessible.js", loading_method="defer")
    app.connect("config-inited", set_mode)
    app.connect("doctree-resolved", drop_thebe_settings, priority=900)
    app.connect("html-page-context", drop_thebe_files, priority=900)
