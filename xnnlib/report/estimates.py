"""Means, differences and their 95 % confidence intervals, and how they become text."""

from collections.abc import Mapping, Sequence
from math import copysign, sqrt
from statistics import mean, stdev
from typing import NamedTuple

from scipy import stats

MINUS = "\N{MINUS SIGN}"


class Estimate(NamedTuple):
    """A value and its 95 % confidence interval (low, high), None where one measurement gives none."""

    value: float
    interval: tuple[float, float] | None = None


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of independent runs, with Student's t interval."""
    if len(values) == 1:
        return Estimate(values[0])
    half_width = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Estimate(mean(values), (mean(values) - half_width, mean(values) + half_width))


def difference(values: Sequence[float], baseline: Sequence[float]) -> Estimate:
    """The difference of two means, `values` less `baseline`, the samples taken as independent.

    The interval is Welch's ("The generalization of 'Student's' problem", 1947). A single value cannot say how
    much it varies: it is taken to vary as much as the other sample (Student's t with the pooled variance).
    """
    gain = mean(values) - mean(baseline)
    if len(values) == len(baseline) == 1:
        return Estimate(gain)
    if len(set(values)) == len(set(baseline)) == 1:
        return Estimate(gain, (gain, gain))  # where nothing varies, the degrees of freedom are 0 / 0
    pooled = 1 in (len(values), len(baseline))
    interval = stats.ttest_ind(values, baseline, equal_var=pooled).confidence_interval()
    return Estimate(gain, (float(interval.low), float(interval.high)))


def seed_difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Estimate:
    """The difference of two blocks' values by seed, paired: equal seeds see equal batches.

    The mean, over the seeds that both have, of the difference with its Student's t interval. With fewer than
    two such seeds it is the unpaired `difference`.
    """
    shared = sorted(values.keys() & baseline.keys())
    if len(shared) < 2:
        return difference(list(values.values()), list(baseline.values()))
    return estimate([values[seed] - baseline[seed] for seed in shared])


def discordant_difference(gained: float, lost: float, images: int) -> Estimate:
    """The difference of two networks' top-1 in points, from the images that one of them alone has right.

    `gained` are right with the first alone, `lost` with the second. The 95 % interval is Wald's for paired
    proportions, from McNemar's discordant counts. It is about these two networks and the choice of images,
    not about seeds.
    """
    share = (gained - lost) / images
    half_width = float(stats.norm.ppf(0.975)) * sqrt(((gained + lost) / images - share**2) / images)
    return Estimate(100 * share, (100 * (share - half_width), 100 * (share + half_width)))


def format_estimate(value: Estimate, digits: int, signed: bool = False) -> str:
    """`51.2`, `+1.2` when signed, and `51.2 ± 0.8` where there is an interval."""
    # Rounded first, so that two ways to the same mean cannot end in different digits; halves go away from 0.
    exact = round(value.value, 9)
    exact += copysign(1e-9, exact)
    shown = f"{exact:{'+' if signed else ''}z,.{digits}f}".replace("-", MINUS)
    if value.interval is None:
        return shown
    low, high = value.interval
    return f"{shown} ± {(high - low) / 2:,.{digits}f}"


def format_setting(value: object) -> str:
    """A setting as people write it: `1,280`, `0.05`, `5e-5` below one in ten thousand, at most 3 digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 999.5:
        return f"{value:,.0f}"
    if value and abs(value) < 1e-4:
        digits, exponent = f"{value:.2e}".split("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:.3g}"


def size(*lengths: object) -> str:
    """A shape as the text and the tables write it: `3×56×56`, channels × rows × columns."""
    return "×".join(str(length) for length in lengths)
