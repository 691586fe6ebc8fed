"""When a claim holds: margins, and intervals over seeds."""

import pytest
from paper_claims import Claim, load_claims

from xnnlib.errors import UserError
from xnnlib.report.numbers import Number

NUMBERS = {
    "one seed": Number("+1.2", "a run"),
    "wide": Number("+1.2 ± 2.0", "two runs"),
    "narrow": Number("\N{MINUS SIGN}1.2 ± 0.5", "two runs"),
}


@pytest.mark.parametrize(
    "number, margin, holds",
    [
        ("one seed", {"at_least": 1.2}, True),
        ("one seed", {"at_least": 1.3}, False),
        ("wide", {"at_least": 0}, False),
        ("wide", {"at_most": 3.2}, True),
        ("wide", {"at_most": 3.1}, False),
        ("narrow", {"at_most": 0}, True),
        ("wide", {"interval_has": 0}, True),
        ("wide", {"interval_has": 4}, False),
        ("narrow", {"interval_has": 0}, False),
        ("one seed", {"interval_has": 1.2}, False),
    ],
)
def test_a_claim_is_held_to_the_worse_end_of_the_interval_or_to_what_is_in_it(number, margin, holds):
    problem = Claim("It is so.", number, **margin).problem(NUMBERS, "small")
    assert bool(problem) != holds
    if problem:
        assert NUMBERS[number].text in problem


def test_a_claim_for_other_profiles_is_not_made():
    claim = Claim("It is so.", "nothing", at_least=1, profiles=("paper",), otherwise="It is.")
    assert claim.problem(NUMBERS, "small") == "" and claim.said("small") == "It is."
    assert claim.problem(NUMBERS, "paper") and claim.said("paper") == "It is so."


@pytest.mark.parametrize("text", ["", "- sentence: B is ahead.\n"])
def test_a_file_without_claims_by_name_is_one_line(tmp_path, text):
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(UserError, match="claims.yaml is no mapping from a claim's name"):
        load_claims(tmp_path / "claims.yaml")
