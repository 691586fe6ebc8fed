"""How measured values become text: means, intervals, digits and units, decided once."""

from math import sqrt
from statistics import mean, stdev
from typing import NamedTuple

from scipy import stats

from xnnlib.records import Run
from xnnlib.spec import BLOCKS

MINUS = "\N{MINUS SIGN}"


class Estimate(NamedTuple):
    """A mean and the half width of its 95 % confidence interval; None where one value gives none."""

    mean: float
    half_width: float | None


def estimate(values: list[float]) -> Estimate:
    """The mean of independent runs with its 95 % confidence interval (Student's t)."""
    count = len(values)
    if count == 1:
        return Estimate(values[0], None)
    return Estimate(mean(values), float(stats.t.ppf(0.975, count - 1)) * stdev(values) / sqrt(count))


def difference(values: list[float], baseline: list[float]) -> Estimate:
    """The difference of two means, `values` less `baseline`, with its 95 % confidence interval.

    The samples are taken as independent with unequal variances (Welch, "The generalization of
    'Student's' problem", 1947). A single value cannot say how much it varies: it is taken to vary as much as
    the other sample (Student's t with a pooled variance). None where both have one value.
    """
    gain = mean(values) - mean(baseline)
    fewer, more = sorted((values, baseline), key=len)
    if len(more) == 1:
        return Estimate(gain, None)
    if len(fewer) == 1:
        return Estimate(gain, estimate(more).half_width * sqrt(len(more) + 1))
    if len(set(values)) == len(set(baseline)) == 1:
        return Estimate(gain, 0.0)  # where nothing varies, Welch's degrees of freedom are 0 / 0
    interval = stats.ttest_ind(values, baseline, equal_var=False).confidence_interval()
    return Estimate(gain, float(interval.high - interval.low) / 2)


def text(value: Estimate, digits: int, signed: bool = False) -> str:
    """`51.2`, `+1.2` when signed, and `51.2 ± 0.8` where there is an interval."""
    number = f"{value.mean:{'+' if signed else ''},.{digits}f}".replace("-", MINUS)
    return number if value.half_width is None else f"{number} ± {value.half_width:,.{digits}f}"


def plain(value: float) -> str:
    """A setting as people write it: `0.05`, `5e-5` below one in ten thousand, at most 3 digits."""
    if value and abs(value) < 1e-4:
        digits, exponent = f"{value:.2e}".split("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def size(*lengths: int) -> str:
    """A shape as the text and the tables write it: `3×56×56`."""
    return "×".join(str(length) for length in lengths)


def millions(count: int) -> str:
    """A count of MACs or coefficients in prose: `145.6 M`."""
    return f"{count / 1e6:,.1f} M" if count >= 1e7 else f"{count / 1e6:,.2f} M"


def by_block(runs: list[Run]) -> dict[str, list[Run]]:
    """The runs of each block that has any, in the order of BLOCKS, then of the seed."""
    groups = {block: [run for run in runs if run.record["block"] == block] for block in BLOCKS}
    return {
        block: sorted(group, key=lambda run: run.record["seed"]) for block, group in groups.items() if group
    }


def last_values(group: list[Run], column: str) -> list[float]:
    """A column of epochs.csv after the last epoch, for each run."""
    return [run.epochs[column][-1] for run in group]


def overfit_gap(group: list[Run]) -> Estimate:
    """How many points of top-1 training lies above validation after the last epoch, over the seeds."""
    sides = zip(last_values(group, "train_top1"), last_values(group, "val_top1"), strict=True)
    return estimate([training - validation for training, validation in sides])


def best_epochs(group: list[Run]) -> str:
    """The best epoch of each of a block's runs, `7` or `7, 8, 8`."""
    return ", ".join(str(run.record["best"]["epoch"]) for run in group)


def top1_digits(runs: list[Run]) -> int:
    """Digits that a top-1 accuracy in percent can carry: one image in a thousand is 0.1."""
    return 1 if min(run.record["dataset"]["val_images"] for run in runs) <= 1000 else 2


def rate_digits(values: list[float]) -> int:
    """Digits of images per second: three significant ones, more or less."""
    return 1 if min(values) < 100 else 0
