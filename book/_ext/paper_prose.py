"""A number that somebody typed into the prose fails the build.

Every digit in the text of a page below book/ belongs to a bound number or claim, to a reference, to code, or
to one of the exceptions of `book/typed-numbers.yaml`: names and words of the field that hold digits.
"""

import re
from pathlib import Path

import yaml
from docutils import nodes
from paper_guard import refuse
from paper_numbers import PLACEHOLDER, BoundNumber, report
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config

EXCEPTIONS = "book/typed-numbers.yaml"
_NUMBER = re.compile(r"[\w.,:/+\N{MINUS SIGN}-]*\d[\w.,:/%-]*")
# Their digits are not prose: what is bound, code, addresses, references that Sphinx numbers itself.
_SKIPPED = (BoundNumber, nodes.literal, nodes.literal_block, nodes.raw, nodes.comment)
_SKIPPED += (addnodes.pending_xref, nodes.math, nodes.math_block)
_GENERATED_TABLES = {"paper-table", "provenance"}


def typed_numbers(doctree: nodes.document, exceptions: list[re.Pattern]) -> list[tuple[nodes.Node, str]]:
    """Each number in the text that no exception covers, with the node that holds it."""
    found = []
    for node in doctree.findall(lambda node: isinstance(node, nodes.TextElement)):
        if _is_no_prose(node):
            continue
        texts = [child.astext() for child in node.children if isinstance(child, nodes.Text)]
        if isinstance(node, nodes.reference) and "".join(texts) in node.get("refuri", ""):
            continue
        for text in texts:
            for exception in exceptions:
                text = exception.sub(" ", text)
            found += [(node, number.rstrip(".,:")) for number in _NUMBER.findall(text)]
    for image in doctree.findall(nodes.image):
        # The text as it is written, with the keys of its numbers in braces.
        text = PLACEHOLDER.sub(" ", image.get("alt", ""))
        for exception in exceptions:
            text = exception.sub(" ", text)
        found += [(image, number.rstrip(".,:")) for number in _NUMBER.findall(text)]
    return found


def _is_no_prose(node: nodes.Node | None) -> bool:
    while node is not None:
        if isinstance(node, _SKIPPED):
            return True
        if isinstance(node, nodes.tgroup) and _GENERATED_TABLES & set(node.parent["classes"]):
            return True
        node = node.parent
    return False


def check_prose(app: Sphinx, doctree: nodes.document) -> None:
    if not app.env.docname.startswith("book/"):
        return
    for node, number in typed_numbers(doctree, app.paper_exceptions):
        # A mean may have been typed without its interval.
        forms = {key: (known.text, known.text.split(" ")[0]) for key, known in app.paper_numbers.items()}
        keys = [key for key, texts in forms.items() if number.removesuffix("%") in texts]
        cure = f"bind it: {{num}}`{keys[0]}`" if keys else f"bind it, or add an exception to {EXCEPTIONS}"
        report(f"the number {number!r} is typed by hand; {cure}", node, "prose")


def read_exceptions(app: Sphinx, config: Config) -> None:
    try:
        entries = yaml.safe_load(Path(app.srcdir, EXCEPTIONS).read_text(encoding="utf-8"))
        app.paper_exceptions = [re.compile(entry["pattern"]) for entry in entries if entry["why"]]
    except (OSError, KeyError, TypeError, re.error, yaml.YAMLError) as error:
        refuse(f"{EXCEPTIONS} cannot be read: {error!r}")


def setup(app: Sphinx) -> None:
    app.connect("config-inited", read_exceptions, priority=800)
    # Before numbers are put into the alternative texts.
    app.connect("doctree-read", check_prose, priority=550)
