"""Intervals and differences against scipy, statistics worked out by hand, and a bootstrap."""

from math import gamma, pi, sqrt
from statistics import mean, variance

import numpy as np
import pytest
from scipy import stats

from xnnlib.report.estimates import (
    Estimate,
    difference,
    discordant_difference,
    estimate,
    millions,
    paired_difference,
    seed_difference,
    setting_text,
    text,
)


def half_width(found: Estimate) -> float:
    low, high = found.interval
    assert low <= found.value <= high
    return (high - low) / 2


def covered(quantile: float, degrees: float) -> float:
    """The share of Student's t between plus and minus the quantile, by the midpoint rule."""
    scale = gamma((degrees + 1) / 2) / (sqrt(degrees * pi) * gamma(degrees / 2))
    steps = 20_000
    width = quantile / steps
    middle = sum((1 + ((i + 0.5) * width) ** 2 / degrees) ** (-(degrees + 1) / 2) for i in range(steps))
    return 2 * scale * width * middle


@pytest.mark.parametrize("values", [[1.0, 3.0], [1.0, 2.0, 6.0], [1.0, 2.0, 3.0, 6.0, 9.0, 9.5]])
def test_interval_of_a_mean_covers_95_percent(values):
    found = estimate(values)
    assert found.value == pytest.approx(mean(values))
    error = sqrt(variance(values) / len(values))
    assert covered(half_width(found) / error, len(values) - 1) == pytest.approx(0.95)


@pytest.mark.parametrize(
    "values, baseline",
    [
        ([22.1, 22.7], [23.2, 24.9]),
        ([22.1, 22.7, 23.0], [23.2, 24.9, 20.0]),
        ([1.0, 1.1, 1.2, 1.3], [4.0, 9.0]),
    ],
)
def test_interval_of_an_unpaired_difference_is_welchs(values, baseline):
    first, second = variance(values) / len(values), variance(baseline) / len(baseline)
    degrees = (first + second) ** 2 / (first**2 / (len(values) - 1) + second**2 / (len(baseline) - 1))
    found = difference(values, baseline)
    assert found.value == pytest.approx(mean(values) - mean(baseline))
    assert covered(half_width(found) / sqrt(first + second), degrees) == pytest.approx(0.95)


@pytest.mark.parametrize("many", [[1.0, 3.0], [22.1, 22.7, 23.0, 25.0]])
def test_one_run_is_taken_to_vary_as_much_as_those_it_is_compared_with(many):
    # The slope of a line through both samples, at 0 and at 1, is their difference; its error is pooled.
    line = stats.linregress([0.0] * len(many) + [1.0], [*many, 30.0])
    for values, baseline, sign in (([30.0], many, 1), (many, [30.0], -1)):
        found = difference(values, baseline)
        assert found.value == pytest.approx(sign * line.slope)
        assert covered(half_width(found) / line.stderr, len(many) - 1) == pytest.approx(0.95)


def test_equal_seeds_are_compared_in_pairs():
    a, b = {0: 20.0, 1: 22.0, 2: 27.0}, {0: 21.0, 2: 28.4, 1: 23.3, 7: 90.0}
    found = seed_difference(b, a)
    scipys = stats.ttest_rel([21.0, 23.3, 28.4], [20.0, 22.0, 27.0]).confidence_interval()
    assert found.value == pytest.approx((1.0 + 1.3 + 1.4) / 3)
    assert found.interval == pytest.approx((scipys.low, scipys.high))
    assert half_width(found) < half_width(difference(list(b.values()), list(a.values())))


@pytest.mark.parametrize("values", [{5: 1.0, 6: 3.0}, {1: 2.0}, {1: 2.0, 6: 3.0}])
def test_fewer_than_two_shared_seeds_are_not_paired(values):
    baseline = {0: 4.0, 1: 9.0, 2: 7.0}
    expected = difference(list(values.values()), list(baseline.values()))
    assert seed_difference(values, baseline) == expected


def test_one_value_has_no_interval_and_equal_ones_an_empty_one():
    assert estimate([3.0]) == (3.0, None)
    assert difference([5.0], [3.0]) == (2.0, None)
    assert estimate([3.0, 3.0]) == (3.0, (3.0, 3.0))
    assert difference([5.0, 5.0], [3.0, 3.0, 3.0]) == (2.0, (2.0, 2.0))


@pytest.fixture
def correct():
    """Which of 2000 images two networks have right, that agree on most."""
    random = np.random.default_rng(0)
    first = random.random(2000) < 0.6
    return first, np.where(random.random(2000) < 0.15, random.random(2000) < 0.75, first)


def test_paired_difference_agrees_with_a_bootstrap_over_the_images(correct):
    first, second = correct
    found = paired_difference(first, second)
    assert found.value == pytest.approx(100 * (first.mean() - second.mean()))

    def points(a, b, axis):
        return 100 * (a.mean(axis) - b.mean(axis))

    sampled = stats.bootstrap(
        (first, second),
        points,
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.interval == pytest.approx((sampled.low, sampled.high), abs=0.08)


def test_paired_difference_has_mcnemars_interval():
    first = np.array([1, 1, 1, 0, 0, 1, 1, 1], bool)
    second = np.array([1, 0, 0, 1, 0, 0, 1, 0], bool)
    found = paired_difference(first, second)
    assert found.value == 37.5  # of eight images the first alone has four right, the second one
    assert half_width(found) == pytest.approx(100 * 1.959964 * sqrt(4 + 1 - (4 - 1) ** 2 / 8) / 8)
    swapped = paired_difference(second, first)
    assert swapped.interval == pytest.approx((-found.interval[1], -found.interval[0]))
    assert found == discordant_difference(gained=4, lost=1, images=8)
    assert paired_difference(first, first) == (0.0, (0.0, 0.0))


def test_other_images_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) and \(4,\)"):
        paired_difference(np.ones(3, bool), np.ones(4, bool))


def test_formats():
    assert setting_text(0.05) == "0.05" and setting_text(5e-5) == "5e-5" and setting_text(0.0002) == "0.0002"
    assert (
        setting_text(0.7272727) == "0.727" and setting_text(5.0) == "5" and setting_text(50_000) == "50,000"
    )
    assert setting_text("step") == "step" and setting_text(True) == "True"
    assert millions(145_633_280) == "145.6 M" and millions(2_002_512) == "2.00 M"
    assert text(Estimate(0.5), 1) == "0.5"
    assert text(Estimate(-0.5, (-0.75, -0.25)), 2, signed=True) == "\N{MINUS SIGN}0.50 ± 0.25"
