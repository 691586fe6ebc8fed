"""The role `` {num}`key` ``: a number of `xnnlib.report.numbers` in the text, linked to where it came from.

The extension keeps which page uses which number, and fails the build on an unknown key and on a
headline number that no page quotes.
"""

import re
from difflib import get_close_matches
from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxRole
from sphinx.util.logging import getLogger

from xnnlib.spec import BLOCKS

logger = getLogger(__name__)

# The page that lists every number, with the identifier `number_id(key)` on each.
PROVENANCE = "book/provenance"
# What a reader must find in the text: if a run makes one of them, some page quotes it.
HEADLINE = tuple(key.format(block) for block in BLOCKS for key in ("{}.top1", "macs.{}", "coefficients.{}"))
# A number by its key in a sentence that is no page's own: a claim, the alternative text of a figure.
PLACEHOLDER = re.compile(r"\{([\w.-]+)\}")


class BoundNumber(nodes.inline):
    """A number made by xnnlib.report; attribute `key` names it, `source` says from what it was made."""


def report(message: str, location: object, subtype: str) -> None:
    """A problem that fails the build (see paper_guard)."""
    logger.warning(message, location=location, type="paper", subtype=subtype)


def note_use(env: BuildEnvironment, what: str, name: str) -> None:
    """Remember that the page being read uses a number or a claim."""
    getattr(env, what).setdefault(env.docname, set()).add(name)


def number_id(key: str) -> str:
    """The identifier of a number's row on the provenance page."""
    return "number-" + re.sub(r"[^a-z0-9]+", "-", key)


def bound(env: BuildEnvironment, key: str, location: object) -> nodes.Node:
    """The number's node; an unknown key is a problem, and shows the key."""
    known = env.app.paper_numbers
    if key not in known:
        nearest = ", ".join(get_close_matches(key, known, n=3, cutoff=0.4)) or ", ".join(sorted(known))
        report(f"unknown number {key!r}; the nearest keys are: {nearest}", location, "number")
        return nodes.literal("", key)
    note_use(env, "paper_numbers_used", key)
    number = known[key]
    # A number is not broken at the end of a line, but the name of a device may be.
    text = number.text.replace(" ", "\N{NO-BREAK SPACE}") if len(number.text) < 20 else number.text
    return BoundNumber("", text, key=key, source=number.source)


def bound_text(env: BuildEnvironment, text: str, location: object) -> list[nodes.Node]:
    """The nodes of a text in which `{key}` stands for a number."""
    parts = PLACEHOLDER.split(text)
    found = [bound(env, part, location) if odd % 2 else nodes.Text(part) for odd, part in enumerate(parts)]
    return [node for node in found if node.astext()]


class NumberRole(SphinxRole):
    """`` {num}`key` ``: the number's text; an unknown key is a problem that fails the build."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [bound(self.env, self.text, self.get_location())], []


def bind_alternative_texts(app: Sphinx, doctree: nodes.document) -> None:
    """Put numbers into the alternative texts of the paper's figures; one without a text is a problem."""
    for image in doctree.findall(nodes.image):
        if not image["uri"].startswith("figures/") or app.env.docname.startswith("notebooks/"):
            continue
        parts = bound_text(app.env, image.get("alt", ""), image)
        image["alt"] = "".join(part.astext() for part in parts)
        if not image["alt"]:
            report(f"{image['uri']} has no alternative text; describe it under :alt:", image, "figure")


def visit_number(translator, node: BoundNumber) -> None:
    page = translator.builder.current_docname
    place = f"{translator.builder.get_relative_uri(page, PROVENANCE)}#{number_id(node['key'])}"
    title = escape(f"{node['key']}: {node['source']}", quote=True)
    translator.body.append(f'<a class="paper-number" href="{place}" title="{title}">')


def depart_number(translator, node: BoundNumber) -> None:
    translator.body.append("</a>")


def check_headline(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of a headline number that is there and that no page quotes."""
    if PROVENANCE not in env.all_docs:  # not the whole paper
        return
    used = set().union(*env.paper_numbers_used.values())
    for key in HEADLINE:
        if key in app.paper_numbers and key not in used:
            report(f"no page quotes the headline number {key!r}; write {{num}}`{key}`", "book", "number")


_USES = ("paper_numbers_used", "paper_claims_made")


def prepare(app: Sphinx) -> None:
    for what in _USES:
        if not hasattr(app.env, what):
            setattr(app.env, what, {})


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    for what in _USES:
        getattr(env, what).pop(docname, None)


def merge(app: Sphinx, env: BuildEnvironment, docnames: set[str], other: BuildEnvironment) -> None:
    for what in _USES:
        theirs = getattr(other, what)
        getattr(env, what).update({name: theirs[name] for name in docnames & theirs.keys()})


def setup(app: Sphinx) -> None:
    app.add_node(BoundNumber, html=(visit_number, depart_number))
    app.add_role("num", NumberRole())
    app.connect("builder-inited", prepare)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    # After Sphinx's own collector, which finds the files of each image.
    app.connect("doctree-read", bind_alternative_texts, priority=560)
    app.connect("env-check-consistency", check_headline)
