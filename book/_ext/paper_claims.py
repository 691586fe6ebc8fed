"""The comparing sentences of the text, each held to the numbers that it is about.

A claim is a sentence with a predicate: a number by key, as it is printed, and a margin that it keeps.
A claim over measured values is made for the profiles that it names; under any other the text says its
`otherwise`, which compares nothing. `book/claims.yaml` holds them; the role `` {claim}`name` `` puts one
into the text. A claim that does not hold, or that no page makes, fails the build.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from docutils import nodes
from paper_guard import refuse
from paper_numbers import PROVENANCE, bound_text, note_use, report
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxRole

from xnnlib.errors import UserError
from xnnlib.report.numbers import Number

CLAIMS = "book/claims.yaml"


@dataclass(frozen=True)
class Claim:
    """One sentence, in which `{key}` stands for a number, and what must be true for it to be said.

    `number` is a key; its value, with the 95 % interval at its worse end, is at least `at_least` or at
    most `at_most`; or its interval over seeds, which one seed does not give, has `interval_has` in it.
    `profiles` is empty where the claim does not depend on what was trained.
    """

    sentence: str
    number: str
    at_least: float | None = None
    at_most: float | None = None
    interval_has: float | None = None
    profiles: tuple[str, ...] = ()
    otherwise: str = ""

    def made_for(self, profile: str) -> bool:
        """Whether the sentence is said under this profile."""
        return not self.profiles or profile in self.profiles

    def said(self, profile: str) -> str:
        """The sentence, or what is said instead of it."""
        return self.sentence if self.made_for(profile) else self.otherwise

    def problem(self, numbers: Mapping[str, Number], profile: str) -> str:
        """Why the claim does not hold, in one line; empty if it does, or is not made."""
        if not self.made_for(profile):
            return ""
        if self.number not in numbers:
            return f"it is about the number {self.number!r}, which these runs do not have"
        number = numbers[self.number]
        if self.at_least is not None and number.value - number.half_width < self.at_least:
            return f"{self.number} is {number.text}, not at least {self.at_least:g}"
        if self.at_most is not None and number.value + number.half_width > self.at_most:
            return f"{self.number} is {number.text}, not at most {self.at_most:g}"
        if self.interval_has is not None and abs(number.value - self.interval_has) >= number.half_width:
            return f"{self.number} is {number.text}, not an interval with {self.interval_has:g} in it"
        return ""


def load_claims(path: Path) -> dict[str, Claim]:
    """The claims of a YAML file, a mapping from name to fields, by name.

    Raises UserError on an unknown or missing field, a claim without a margin, and one for some profiles
    that does not say what stands there otherwise.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(entries, dict):
        raise UserError(f"{path.name} is no mapping from a claim's name to its fields.")
    claims = {}
    for name, fields in entries.items():
        try:
            fields["profiles"] = tuple(fields.get("profiles", ()))
            claim = Claim(**fields)
        except (TypeError, AttributeError) as error:
            raise UserError(f"{path.name}: claim {name!r} cannot be read: {error}.") from None
        if (claim.at_least, claim.at_most, claim.interval_has) == (None, None, None):
            raise UserError(
                f"{path.name}: claim {name!r} has no margin; give it at_least, at_most or interval_has."
            )
        if claim.profiles and not claim.otherwise:
            raise UserError(f"{path.name}: claim {name!r} is for some profiles; say what stands otherwise.")
        claims[name] = claim
    return claims


class ClaimRole(SphinxRole):
    """`` {claim}`name` ``: the claim's sentence, with its numbers bound."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        app = self.env.app
        claim = app.paper_claims.get(self.text)
        if claim is None:
            report(f"unknown claim {self.text!r}; {CLAIMS} lists the claims", self.get_location(), "claim")
            return [nodes.literal("", self.text)], []
        note_use(self.env, "paper_claims_made", self.text)
        profile = self.config.paper_profile
        problem = claim.problem(app.paper_numbers, profile)
        if problem:
            message = f"the claim {claim.sentence!r} no longer holds: {problem}; correct {CLAIMS}"
            report(message, self.get_location(), "claim")
        return bound_text(self.env, claim.said(profile), self.get_location()), []


def read_claims(app: Sphinx, config: Config) -> None:
    try:
        app.paper_claims = load_claims(Path(app.srcdir, CLAIMS))
    except (OSError, UserError) as error:
        refuse(str(error))


def check_made(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of claims that no page makes: they would hold without anybody reading them."""
    if PROVENANCE not in env.all_docs:  # not the whole paper
        return
    made = set().union(*env.paper_claims_made.values())
    for name in app.paper_claims.keys() - made:
        report(f"no page makes the claim {name!r}; write {{claim}}`{name}` or remove it", CLAIMS, "claim")


def setup(app: Sphinx) -> None:
    app.add_role("claim", ClaimRole())
    app.connect("config-inited", read_claims, priority=800)
    app.connect("env-check-consistency", check_made)
