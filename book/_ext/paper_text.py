"""What binds the text to the records: the roles `num` and `claim`, and the refusal of numbers typed by hand.

`` {num}`se.top1` `` is a number of `xnnlib.report.numbers` by its key, linked to where it came from.
`` {claim}`name` `` is a sentence of `book/claims.yaml` that must hold: its number, with the 95 % interval,
keeps a margin. A claim bound to profiles is left out under any other. Every other digit in the text of a page
below book/ belongs to a reference, to code, to a table of cited facts, or to one of the exceptions of
`book/typed-numbers.yaml`. What is unknown, unused or does not hold fails the build (paper_guard).
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import yaml
from docutils import nodes
from paper_guard import refuse, report
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxRole

from xnnlib.errors import UserError, explain
from xnnlib.profiles import read_yaml
from xnnlib.report.estimates import MINUS
from xnnlib.report.numbers import Number
from xnnlib.spec import BLOCKS

CLAIMS, EXCEPTIONS = "book/claims.yaml", "book/typed-numbers.yaml"
# The page that lists every number, with the identifier `number_id(key)` on each.
PROVENANCE = "book/provenance"
# What a reader must find in the text: if a run makes one of them, some page quotes it.
HEADLINE = tuple(key.format(block) for block in BLOCKS for key in ("{}.top1", "macs.{}", "coefficients.{}"))
# A number by its key in a sentence that is no page's own: a claim, the alternative text of a figure.
PLACEHOLDER = re.compile(r"\{([\w.:-]+)\}")


def number_id(key: str) -> str:
    """The identifier of a number's row on the provenance page."""
    return "number-" + re.sub(r"[^a-z0-9]+", "-", key)


def page_link(env: BuildEnvironment, text: str, page: str, anchor: str = "", **attributes) -> nodes.reference:
    """A link to a page of the book by its name, from the page that is being read."""
    place = env.app.builder.get_relative_uri(env.docname, page) + (f"#{anchor}" if anchor else "")
    return nodes.reference("", text, refuri=place, internal=True, **attributes)


def bound(env: BuildEnvironment, name: str, location: object) -> nodes.Node:
    """The number's link, of `key:size` without signs; an unknown key is a problem, and shows the key."""
    key, known = name.removesuffix(":size"), env.app.paper.numbers
    if key not in known:
        nearest = ", ".join(get_close_matches(key, known, n=3, cutoff=0.4)) or ", ".join(sorted(known))
        report(f"unknown number {key!r}; the nearest keys are: {nearest}", location, "number")
        return nodes.literal("", key)
    env.app.paper_quoted.add(key)
    number = known[key]
    shown = number.text if key == name else re.sub(f"[+{MINUS}]", "", number.text)
    # A number is not broken at the end of a line, but several may be, or the name of a device.
    parts = shown.split(" and ")
    text = " and ".join(part.replace(" ", "\N{NO-BREAK SPACE}") if len(part) < 20 else part for part in parts)
    title = f"{key}: {', '.join(number.sources)}"
    return page_link(env, text, PROVENANCE, number_id(key), reftitle=title, classes=["paper-number"])


def bound_text(env: BuildEnvironment, text: str, location: object) -> list[nodes.Node]:
    """The nodes of a text in which `{key}` stands for a number, which keeps its percent sign on its line."""
    parts = PLACEHOLDER.split(text.replace(" %", "\N{NO-BREAK SPACE}%"))
    found = [bound(env, part, location) if odd % 2 else nodes.Text(part) for odd, part in enumerate(parts)]
    return [node for node in found if node.astext()]


class NumberRole(SphinxRole):
    """`` {num}`key` ``: the number's text; an unknown key is a problem that fails the build."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [bound(self.env, self.text, self.get_location())], []


class Claim(BaseModel):
    """One sentence, in which `{key}` stands for a number, and what must be true for it to be said.

    `number` is a key; its value, with the 95 % interval at its worse end, is at least `at_least` or at
    most `at_most`; or its interval over seeds, which one seed does not give, has `interval_contains` in it.
    `profiles` is empty where the claim does not depend on what was trained.
    """

    sentence: str
    number: str
    at_least: float | None = None
    at_most: float | None = None
    interval_contains: float | None = None
    profiles: tuple[str, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="after")
    def _has_a_margin(self):
        if (self.at_least, self.at_most, self.interval_contains) == (None, None, None):
            raise UserError("it has no margin; give it at_least, at_most or interval_contains.")
        return self

    def made_for(self, profile: str) -> bool:
        """Whether the sentence is said under this profile."""
        return not self.profiles or profile in self.profiles

    def problem(self, numbers: Mapping[str, Number]) -> str:
        """Why the claim does not hold, in one line; empty if it does."""
        if self.number not in numbers:
            return f"it is about the number {self.number!r}, which these runs do not have"
        number = numbers[self.number]
        if self.at_least is not None and number.low < self.at_least:
            return f"{self.number} is {number.text}, not at least {self.at_least:g}"
        if self.at_most is not None and number.high > self.at_most:
            return f"{self.number} is {number.text}, not at most {self.at_most:g}"
        if self.interval_contains is not None and not number.low < self.interval_contains < number.high:
            return f"{self.number} is {number.text}, not an interval with {self.interval_contains:g} in it"
        return ""


def load_claims(root: Path) -> dict[str, Claim]:
    """The project's claims, by name. Raises UserError on one that is malformed or has no margin."""
    claims = {}
    for name, fields in read_yaml(root, CLAIMS).items():
        try:
            claims[name] = Claim.model_validate(fields)
        except ValidationError as error:
            raise UserError(f"{CLAIMS}: {name}: {explain(error, Claim.model_fields).lstrip()}") from None
    return claims


class ClaimRole(SphinxRole):
    """`` {claim}`name` ``: the claim's sentence, with its numbers bound; nothing under another profile."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        app = self.env.app
        claim = app.paper_claims.get(self.text)
        if claim is None:
            report(f"unknown claim {self.text!r}; {CLAIMS} lists the claims", self.get_location(), "claim")
            return [nodes.literal("", self.text)], []
        app.paper_quoted.add(self.text)
        if not claim.made_for(app.paper.profile):
            return [], []
        if problem := claim.problem(app.paper.numbers):
            message = f"the claim {claim.sentence!r} no longer holds: {problem}; correct {CLAIMS}"
            report(message, self.get_location(), "claim")
        return bound_text(self.env, claim.sentence, self.get_location()), []


_NUMBER = re.compile(r"[\w.,:/+\N{MINUS SIGN}-]*\d[\w.,:/%-]*")
# Their digits are not prose: what is bound, code, addresses, references that Sphinx numbers itself.
_SKIPPED = (nodes.literal, nodes.literal_block, nodes.raw, nodes.comment)
_SKIPPED += (addnodes.pending_xref, nodes.math, nodes.math_block)
_GENERATED_TABLES = {"paper-table", "provenance"}


def typed_numbers(doctree: nodes.document, exceptions: list[re.Pattern]) -> list[tuple[nodes.Node, str]]:
    """Each number in the text that no exception covers, with the node that holds it."""

    def numbers_in(text: str) -> list[str]:
        for exception in exceptions:
            text = exception.sub(" ", text)
        return [number.rstrip(".,:") for number in _NUMBER.findall(text)]

    found = []
    for node in doctree.findall(nodes.TextElement):
        if _is_no_prose(node):
            continue
        texts = [child.astext() for child in node.children if isinstance(child, nodes.Text)]
        if isinstance(node, nodes.reference) and "".join(texts) in node.get("refuri", ""):
            continue
        found += [(node, number) for text in texts for number in numbers_in(text)]
    for image in doctree.findall(nodes.image):
        # The text as it is written, with the keys of its numbers in braces.
        found += [(image, number) for number in numbers_in(PLACEHOLDER.sub(" ", image.get("alt", "")))]
    return found


def _is_no_prose(node: nodes.Node | None) -> bool:
    while node is not None:
        if isinstance(node, _SKIPPED) or "paper-number" in node["classes"]:
            return True
        if isinstance(node, nodes.tgroup) and _GENERATED_TABLES & set(node.parent["classes"]):
            return True
        # In a table of cited facts each row names the paper that its numbers are from.
        if isinstance(node, nodes.row) and "cited" in node.parent.parent.parent["classes"]:
            return any(xref["refdomain"] == "cite" for xref in node.findall(addnodes.pending_xref))
        node = node.parent
    return False


def check_prose(app: Sphinx, doctree: nodes.document) -> None:
    """Report typed numbers, and drop the paragraphs of which a claim that is not made has left nothing."""
    if not app.env.docname.startswith("book/"):
        return
    for node, number in typed_numbers(doctree, app.paper_exceptions):
        # A mean may have been typed without its interval.
        forms = {key: (known.text, known.text.split(" ")[0]) for key, known in app.paper.numbers.items()}
        keys = [key for key, texts in forms.items() if number.removesuffix("%") in texts]
        cure = f"bind it: {{num}}`{keys[0]}`" if keys else f"bind it, or add an exception to {EXCEPTIONS}"
        report(f"the number {number!r} is typed by hand; {cure}", node, "prose")
    for paragraph in list(doctree.findall(nodes.paragraph)):
        if all(isinstance(child, nodes.Text) and not child.strip() for child in paragraph.children):
            paragraph.parent.remove(paragraph)


def bind_alternative_texts(app: Sphinx, doctree: nodes.document) -> None:
    """Put numbers into the alternative texts of the paper's figures; one without a text is a problem."""
    for image in doctree.findall(nodes.image):
        if not image["uri"].startswith("figures/") or app.env.docname.startswith("notebooks/"):
            continue
        parts = bound_text(app.env, image.get("alt", ""), image)
        image["alt"] = "".join(part.astext() for part in parts)
        if not image["alt"]:
            report(f"{image['uri']} has no alternative text; describe it under :alt:", image, "figure")


def read_files(app: Sphinx, config: Config) -> None:
    try:
        app.paper_claims = load_claims(Path(app.srcdir))
    except UserError as error:
        refuse(str(error))
    try:
        entries = yaml.safe_load(Path(app.srcdir, EXCEPTIONS).read_text(encoding="utf-8"))
        app.paper_exceptions = [re.compile(entry["pattern"]) for entry in entries if entry["why"]]
    except (OSError, KeyError, TypeError, re.error, yaml.YAMLError) as error:
        refuse(f"{EXCEPTIONS} cannot be read: {error!r}")


def check_use(app: Sphinx, env: BuildEnvironment) -> None:
    """Report headline numbers that no page quotes, and claims that no page makes: nobody would read them."""
    if PROVENANCE not in env.all_docs:  # not the whole paper
        return
    for key in HEADLINE:
        if key in app.paper.numbers and key not in app.paper_quoted:
            report(f"no page quotes the headline number {key!r}; write {{num}}`{key}`", "book", "number")
    if not app.paper.analysis:  # a claim may stand on a page that this profile's book leaves out
        return
    made = {name for name, claim in app.paper_claims.items() if claim.made_for(app.paper.profile)}
    for name in made - app.paper_quoted:
        report(f"no page makes the claim {name!r}; write {{claim}}`{name}` or remove it", CLAIMS, "claim")


def setup(app: Sphinx) -> None:
    app.paper_quoted = set()  # the keys of the numbers and the names of the claims that pages hold
    app.add_role("num", NumberRole())
    app.add_role("claim", ClaimRole())
    app.connect("config-inited", read_files, priority=800)
    # Typed numbers are looked for before bound ones are put into the alternative texts.
    app.connect("doctree-read", check_prose, priority=550)
    # After Sphinx's own collector, which finds the files of each image.
    app.connect("doctree-read", bind_alternative_texts, priority=560)
    app.connect("env-check-consistency", check_use)
