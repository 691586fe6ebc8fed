"""Intervals and differences against tables of Student's t and formulas worked out here."""

from math import sqrt
from statistics import mean, variance

import pytest
from scipy import stats

from xnnlib.report.estimates import (
    Estimate,
    difference,
    discordant_difference,
    estimate,
    format_estimate,
    format_setting,
    seed_difference,
)


def half_width(found: Estimate) -> float:
    low, high = found.interval
    assert low <= found.value <= high
    return (high - low) / 2


# The 97.5 % quantiles of Student's t that textbooks print, for 1, 2 and 5 degrees of freedom.
@pytest.mark.parametrize(
    "values, quantile",
    [([1.0, 3.0], 12.706), ([1.0, 2.0, 6.0], 4.303), ([1.0, 2.0, 3.0, 6.0, 9.0, 9.5], 2.571)],
)
def test_interval_of_a_mean_is_students(values, quantile):
    found = estimate(values)
    assert found.value == pytest.approx(mean(values))
    assert half_width(found) == pytest.approx(quantile * sqrt(variance(values) / len(values)), rel=1e-3)


def test_interval_of_an_unpaired_difference_is_welchs():
    values, baseline = [1.0, 1.1, 1.2, 1.3], [4.0, 9.0]
    first, second = variance(values) / len(values), variance(baseline) / len(baseline)
    degrees = (first + second) ** 2 / (first**2 / (len(values) - 1) + second**2 / (len(baseline) - 1))
    found = difference(values, baseline)
    assert found.value == pytest.approx(mean(values) - mean(baseline))
    assert half_width(found) == pytest.approx(stats.t.ppf(0.975, degrees) * sqrt(first + second))


def test_one_run_is_taken_to_vary_as_much_as_those_it_is_compared_with():
    many = [22.1, 22.7, 23.0, 25.0]
    # The slope of a line through both samples, at 0 and at 1, is their difference; its error is pooled.
    line = stats.linregress([0.0] * len(many) + [1.0], [*many, 30.0])
    for values, baseline, sign in (([30.0], many, 1), (many, [30.0], -1)):
        found = difference(values, baseline)
        assert found.value == pytest.approx(sign * line.slope)
        assert half_width(found) == pytest.approx(3.182 * line.stderr, rel=1e-3)  # 3 degrees of freedom


def test_equal_seeds_are_compared_in_pairs():
    a, b = {0: 20.0, 1: 22.0, 2: 27.0}, {0: 21.0, 2: 28.4, 1: 23.3, 7: 90.0}
    found = seed_difference(b, a)
    scipys = stats.ttest_rel([21.0, 23.3, 28.4], [20.0, 22.0, 27.0]).confidence_interval()
    assert found.value == pytest.approx((1.0 + 1.3 + 1.4) / 3)
    assert found.interval == pytest.approx((scipys.low, scipys.high))


@pytest.mark.parametrize("values", [{5: 1.0, 6: 3.0}, {1: 2.0}, {1: 2.0, 6: 3.0}])
def test_fewer_than_two_shared_seeds_are_not_paired(values):
    baseline = {0: 4.0, 1: 9.0, 2: 7.0}
    assert seed_difference(values, baseline) == difference(list(values.values()), list(baseline.values()))


def test_one_value_has_no_interval_and_equal_ones_an_empty_one():
    assert estimate([3.0]) == (3.0, None)
    assert difference([5.0], [3.0]) == (2.0, None)
    assert estimate([3.0, 3.0]) == (3.0, (3.0, 3.0))
    assert difference([5.0, 5.0], [3.0, 3.0, 3.0]) == (2.0, (2.0, 2.0))


def test_difference_by_image_has_mcnemars_interval():
    found = discordant_difference(gained=4, lost=1, images=8)
    assert found.value == 37.5
    assert half_width(found) == pytest.approx(100 * 1.959964 * sqrt(4 + 1 - (4 - 1) ** 2 / 8) / 8)
    assert discordant_difference(0, 0, 8) == (0.0, (0.0, 0.0))


def test_setting_is_shown_as_people_write_it():
    shown = {0.05: "0.05", 5e-5: "5e-5", 0.0002: "0.0002", 0.7273: "0.727", 50_000: "50,000", 999.7: "1,000"}
    assert {value: format_setting(value) for value in shown} == shown
    assert format_setting(True) == "True"


def test_estimates_are_shown_with_their_digits():
    assert format_estimate(Estimate(0.5), 1) == "0.5"
    assert format_estimate(Estimate(-0.04), 1) == "0.0"
    assert [format_estimate(Estimate(half), 1) for half in (0.85, 13.35, 0.25)] == ["0.9", "13.4", "0.3"]
    assert format_estimate(Estimate(-0.04), 1, signed=True) == "+0.0"
    assert format_estimate(Estimate(-0.5, (-0.75, -0.25)), 2, signed=True) == "\N{MINUS SIGN}0.50 ± 0.25"
