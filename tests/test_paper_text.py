"""Claims: when one holds, and that every one of the paper's stops the build once its number changes."""

from types import SimpleNamespace

import pytest
from book_config import SHOWN_PROFILE
from machine_places import ROOT
from paper_material import load_material
from paper_text import CLAIMS, Claim, bound, load_claims

from xnnlib.errors import UserError
from xnnlib.report.numbers import Number

PAPER = load_claims(ROOT)

NUMBERS = {
    "one seed": Number(1.2, None, "+1.2", ("a run",)),
    "wide": Number(1.2, (-0.8, 3.2), "+1.2 ± 2.0", ("two runs",)),
    "narrow": Number(-1.2, (-1.7, -0.7), "\N{MINUS SIGN}1.2 ± 0.5", ("two runs",)),
}


@pytest.mark.parametrize("key, text", [("gains", "+1.2 and +1.4"), ("gains:size", "1.2 and 1.4")])
def test_size_is_a_number_without_its_signs(key, text):
    numbers = {"gains": Number.each([1.2, 1.4], 1, [], signed=True)}
    builder = SimpleNamespace(get_relative_uri=lambda page, other: other)
    app = SimpleNamespace(paper=SimpleNamespace(numbers=numbers), paper_quoted=set(), builder=builder)
    node = bound(SimpleNamespace(app=app, docname="page"), key, "page")
    assert node.astext().replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    "number, margin, holds",
    [
        ("one seed", {"at_least": 1.2}, True),
        ("one seed", {"at_least": 1.3}, False),
        ("wide", {"at_least": 0}, False),
        ("wide", {"at_most": 3.2}, True),
        ("wide", {"at_most": 3.1}, False),
        ("wide", {"interval_contains": 0}, True),
        ("wide", {"interval_contains": 4}, False),
        ("narrow", {"interval_contains": 0}, False),
        ("one seed", {"interval_contains": 1.2}, False),
    ],
)
def test_claim_is_held_to_the_worse_end_of_the_interval(number, margin, holds):
    problem = Claim(sentence="It is so.", number=number, **margin).problem(NUMBERS)
    assert bool(problem) != holds
    assert holds or NUMBERS[number].text in problem


def test_claim_without_its_number_does_not_hold():
    claim = Claim(sentence="It is so.", number="nothing", at_least=1)
    assert "which these runs do not have" in claim.problem(NUMBERS)


@pytest.fixture(scope="module")
def numbers() -> dict[str, Number]:
    return load_material(ROOT, "results", SHOWN_PROFILE).numbers


def broken(claim: Claim, number: Number) -> Number:
    """The number far outside the claim's margin."""
    if claim.at_least is not None:
        return Number.of(claim.at_least - 1000, number.sources)
    margin = claim.at_most if claim.at_most is not None else claim.interval_contains
    return Number.of(margin + 1000, number.sources)


@pytest.mark.parametrize("name", PAPER)
def test_claim_holds_and_fails_when_its_number_changes(name, numbers):
    claim = PAPER[name]
    number = numbers.get(claim.number, Number.of(0, ("another profile",)))
    if claim.made_for(SHOWN_PROFILE):
        assert claim.problem(numbers) == ""
    changed = numbers | {claim.number: broken(claim, number)}
    assert changed[claim.number].text in claim.problem(changed)


@pytest.mark.parametrize(
    "text, message",
    [
        ("- sentence: B is ahead.\n", "it is not a mapping"),
        ("a: {sentence: B is ahead., number: gain}\n", "a: it has no margin"),
        ("a: [", "line 1: .*correct the YAML"),
        ("a: {number: gain}\na: {number: gain}\n", "line 2: 'a' is a duplicate"),
        ("a: B is ahead.\n", "a: is 'B is ahead.'; it must be a mapping"),
        ("a: {sentence: B is ahead., at_least: 1}\n", "a: number is missing"),
        ("a: {sentence: B., number: gain, at_least: 1, other: A.}\n", "a: parameter 'other' is unknown"),
    ],
)
def test_malformed_claims_are_one_line(tmp_path, text, message):
    (tmp_path / "book").mkdir()
    (tmp_path / CLAIMS).write_text(text)
    with pytest.raises(UserError, match=f"^{CLAIMS}.* {message}"):
        load_claims(tmp_path)
