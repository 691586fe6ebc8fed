"""The numbers of the prose: formats, intervals, differences, sources and the error of a wrong key."""

from math import gamma, pi, sqrt
from statistics import variance

import pytest
from report_runs import write_run
from scipy.stats import linregress

from xnnlib import complexity
from xnnlib.errors import UserError
from xnnlib.report.numbers import beside_numbers, numbers
from xnnlib.report.summary import Estimate, difference, estimate, millions, plain, text
from xnnlib.spec import BLOCKS, NetworkSpec


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return numbers([write_run(root, block) for block in BLOCKS])


def test_measured_values(one_seed):
    expected = {
        "standard.top1": "40.2",
        "standard.top1_best": "41.0",
        "standard.best_epoch": "2",
        "standard.train_minutes": "1.5",
        "standard.images_per_second": "167",
        "standard.loss": "1.70",
        "standard.overfit_gap": "+1.3",
        "standard.sampling_error": "4.3",  # 1.96 * sqrt(0.402 * 0.598 / 500)
        "se.top1_gain": "+3.2",
        "se_cond.top1_gain": "\N{MINUS SIGN}1.6",
        "se_cond.top1_gain_over_se": "\N{MINUS SIGN}4.8",
        "se_cond.minutes_extra": "+1.5",
        "se_cond.time_ratio": "2.00",
        "se_cond.time_ratio_over_se": "1.50",
        "chance": "10",
        "num_classes": "10",
        "train_images": "5,000",
        "dataset": "Tiny ImageNet",
        "device": "a processor, 2 threads",
        "seeds": "1",
        "recipe.peak_learning_rate": "0.2",
        "recipe.final_learning_rate": "0.0002",
        "reference.top1": "72.68",
    }
    assert {key: one_seed[key].text for key in expected} == expected


def test_sources_name_run_folders_and_no_machine_path(one_seed):
    assert one_seed["se.top1"].source == "results/small/se-seed0"
    assert one_seed["se.top1_gain"].source == "results/small/se-seed0, results/small/standard-seed0"
    assert not any("/tmp" in number.source for number in one_seed.values())
    assert "UT-Dallas-CS-6301" in one_seed["reference.top1"].source


def test_the_runs_beside_have_the_measured_numbers_under_their_profile(one_seed, tmp_path):
    beside = beside_numbers([write_run(tmp_path, block, profile="tenth") for block in BLOCKS])
    assert beside["tenth.se.top1"] == (one_seed["se.top1"].text, "results/tenth/se-seed0")
    assert beside["tenth.epochs"].text == "3"
    assert {"tenth.macs.se", "tenth.reference.top1"}.isdisjoint(beside)


def test_intervals_over_seeds(tmp_path):
    shifts = (0.0, 2.0)  # standard deviation sqrt(2), standard error 1
    runs = [write_run(tmp_path, b, seed, s) for b in ("standard", "se") for seed, s in enumerate(shifts)]
    found = numbers(runs)
    assert found["standard.top1"].text == "41.2 ± 12.7"
    assert found["se.top1_gain"].text == "+3.2 ± 6.1"  # 4.303 * sqrt(1 + 1)
    assert found["se.minutes_extra"].text == "+0.5 ± 0.0"  # the seeds took equally long
    assert found["seeds"].text == "2"


def test_a_block_that_did_not_run_has_no_numbers(tmp_path):
    found = numbers([write_run(tmp_path, "standard")])
    assert "standard.top1" in found
    assert not [key for key in found if key.startswith("se.top1") or key.startswith("se_cond.top1")]


def test_an_unknown_key_is_named_with_its_neighbours(one_seed):
    with pytest.raises(UserError, match=r"'se\.topp1' is unknown.*se\.top1") as error:
        one_seed["se.topp1"]
    assert "\n" not in str(error.value)


def test_no_runs_are_an_error():
    with pytest.raises(UserError, match="train a profile first"):
        numbers([])


def test_counts_and_shares(one_seed):
    macs, coefficients = complexity.total(complexity.count(NetworkSpec("standard")))
    assert one_seed["macs.standard"].text == f"{macs / 1e6:.1f} M"
    assert one_seed["coefficients.standard"].text == f"{coefficients / 1e6:.2f} M"
    assert one_seed["macs.standard.exact"].text == f"{macs:,}"
    parts = ["stem", *(f"level_{i}" for i in range(1, 6)), "last", "classifier"]
    for measure in ("macs", "coefficients"):
        shares = [float(one_seed[f"{measure}.{part}_share"].text) for part in parts]
        assert sum(shares) == pytest.approx(100, abs=0.4)
    # The 1x1 convolution from 320 to 1280 channels on 7 x 7 pixels, by hand.
    assert float(one_seed["macs.last_share"].text) == round(100 * 49 * 320 * 1280 / macs, 1)


def test_formats():
    assert plain(0.05) == "0.05" and plain(5e-5) == "5e-5" and plain(0.0002) == "0.0002"
    assert plain(0.7272727) == "0.727" and plain(5.0) == "5"
    assert millions(145_633_280) == "145.6 M" and millions(2_002_512) == "2.00 M"
    assert text(Estimate(0.5, None), 1) == "0.5"
    assert text(Estimate(-0.5, 0.25), 2, signed=True) == "\N{MINUS SIGN}0.50 ± 0.25"


def covered(quantile, degrees):
    """The share of Student's t between plus and minus the quantile, by the midpoint rule."""
    scale = gamma((degrees + 1) / 2) / (sqrt(degrees * pi) * gamma(degrees / 2))
    steps = 20_000
    width = quantile / steps
    middle = sum((1 + ((i + 0.5) * width) ** 2 / degrees) ** (-(degrees + 1) / 2) for i in range(steps))
    return 2 * scale * width * middle


@pytest.mark.parametrize("values", [[1.0, 3.0], [1.0, 2.0, 6.0], [1.0, 2.0, 3.0, 6.0, 9.0, 9.5]])
def test_the_interval_of_a_mean_covers_95_percent(values):
    mean, half_width = estimate(values)
    assert mean == pytest.approx(sum(values) / len(values))
    assert covered(half_width / sqrt(variance(values) / len(values)), len(values) - 1) == pytest.approx(0.95)


@pytest.mark.parametrize(
    "values, baseline",
    [
        ([22.1, 22.7], [23.2, 24.9]),
        ([22.1, 22.7, 23.0], [23.2, 24.9, 20.0]),
        ([1.0, 1.1, 1.2, 1.3], [4.0, 9.0]),
    ],
)
def test_the_interval_of_a_difference_is_welchs(values, baseline):
    first, second = variance(values) / len(values), variance(baseline) / len(baseline)
    degrees = (first + second) ** 2 / (first**2 / (len(values) - 1) + second**2 / (len(baseline) - 1))
    gain, half_width = difference(values, baseline)
    assert gain == pytest.approx(sum(values) / len(values) - sum(baseline) / len(baseline))
    assert covered(half_width / sqrt(first + second), degrees) == pytest.approx(0.95)


@pytest.mark.parametrize("many", [[1.0, 3.0], [22.1, 22.7, 23.0, 25.0]])
def test_one_run_is_taken_to_vary_as_much_as_those_it_is_compared_with(many):
    # The slope of a line through both samples, at 0 and at 1, is their difference; its error is pooled.
    line = linregress([0.0] * len(many) + [1.0], [*many, 30.0])
    for values, baseline, sign in (([30.0], many, 1), (many, [30.0], -1)):
        gain, half_width = difference(values, baseline)
        assert gain == pytest.approx(sign * line.slope)
        assert covered(half_width / line.stderr, len(many) - 1) == pytest.approx(0.95)


def test_one_value_has_no_interval_and_equal_ones_an_empty_one():
    assert estimate([3.0]) == (3.0, None)
    assert difference([5.0], [3.0]) == (2.0, None)
    assert estimate([3.0, 3.0]) == (3.0, 0.0)
    assert difference([5.0, 5.0], [3.0, 3.0, 3.0]) == (2.0, 0.0)
