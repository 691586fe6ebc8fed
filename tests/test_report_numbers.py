"""The numbers of the prose: values, texts, intervals and sources."""

import pytest
from report_runs import write_run
from scipy import stats

from xnnlib import complexity
from xnnlib.errors import UserError
from xnnlib.report.numbers import numbers, run_numbers
from xnnlib.spec import BLOCKS, NetworkSpec

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return numbers([write_run(root, block) for block in BLOCKS])


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory):
    """A's seeds differ by 2 points, B's by 3."""
    root = tmp_path_factory.mktemp("runs")
    shifts = {"standard": (0.0, 2.0), "se": (0.0, 3.0)}
    return numbers(
        [write_run(root, b, seed, shift) for b, each in shifts.items() for seed, shift in enumerate(each)]
    )


def test_measured_values(one_seed):
    expected = {
        "standard.top1": "40.2",
        "standard.top1_best": "41.0",
        "standard.loss": "1.70",
        "standard.overfit_gap": "+1.3",
        "standard.sampling_error": "4.3",  # 1.96 * sqrt(0.402 * 0.598 / 500)
        "se.top1_gain": "+3.2",
        "se_cond.top1_gain": f"{MINUS}1.6",
        "se_cond.top1_gain_over_se": f"{MINUS}4.8",
        "chance": "10",
        "num_classes": "10",
        "train_images": "5,000",
        "dataset": "Tiny ImageNet",
        "device": "a processor, 2 threads",
        "seeds": "1",
        "recipe.weight_decay": "5e-5",
        "reference.top1": "72.68",
        "reference.train_images": "127,000",
        "published.condconv.parameters": "24.0",
        "network.last_channels": "1280",
    }
    assert {key: one_seed[key].text for key in expected} == expected


def test_values_are_exact_where_texts_are_rounded(one_seed):
    assert one_seed["standard.sampling_error"].value == pytest.approx(1.96 * (40.2 * 59.8 / 500) ** 0.5)
    assert one_seed["se.top1_gain"].value == pytest.approx(3.2)
    assert one_seed["train_hours"].value == pytest.approx((90 + 120 + 180) / 3600)
    ratio = one_seed["macs.se_cond"].value / one_seed["macs.standard"].value
    assert one_seed["se_cond.macs_ratio"].value == ratio


def test_one_seed_has_no_interval(one_seed):
    gain = one_seed["se.top1_gain"]
    assert gain.interval is None and gain.low == gain.high == gain.value


def test_gains_are_paired_by_seed_with_welchs_interval_beside(two_seeds):
    assert two_seeds["standard.top1"].text == "41.2 ± 12.7"  # 12.706 * sqrt(2) / sqrt(2)
    paired, welch = two_seeds["se.top1_gain"], two_seeds["se.top1_gain_welch"]
    assert paired.text == "+3.7 ± 6.4"  # the differences 3.2 and 4.2: 12.706 * 0.5
    assert (paired.low, paired.high) == pytest.approx((3.7 - 6.353, 3.7 + 6.353), abs=1e-3)
    assert welch.value == pytest.approx(3.7)
    degrees = (1 + 2.25) ** 2 / (1 + 2.25**2)  # the squared standard errors are 1 and 2.25
    assert welch.high - welch.value == pytest.approx(stats.t.ppf(0.975, degrees) * 3.25**0.5)
    assert two_seeds["seeds"].text == "2"


def test_sources_name_run_folders_and_no_machine_path(one_seed):
    assert one_seed["se.top1"].sources == ("results/small/se-seed0",)
    assert one_seed["se.top1_gain"].sources == ("results/small/se-seed0", "results/small/standard-seed0")
    assert not any("/tmp" in source for number in one_seed.values() for source in number.sources)
    assert "UT-Dallas-CS-6301" in one_seed["reference.top1"].sources[0]


def test_runs_of_another_profile_have_its_name_before_their_keys(one_seed, tmp_path):
    found = run_numbers([write_run(tmp_path, block, profile="short") for block in BLOCKS], prefix="short")
    assert found["short.se.top1"].text == one_seed["se.top1"].text
    assert found["short.se.top1"].sources == ("results/short/se-seed0",)
    assert {"short.macs.se", "short.reference.top1"}.isdisjoint(found)


def test_what_blocks_do_differently_names_them(tmp_path):
    runs = [write_run(tmp_path, "standard"), write_run(tmp_path, "se", device="cuda")]
    found = run_numbers(runs)
    assert found["device"].text == found["device"].value == "a processor, 2 threads (A), a processor (B)"


def test_a_block_that_did_not_run_has_no_numbers(tmp_path):
    found = numbers([write_run(tmp_path, "standard")])
    assert "standard.top1" in found
    assert not [key for key in found if key.startswith(("se.top1", "se_cond.top1"))]


def test_no_runs_are_an_error():
    with pytest.raises(UserError, match="train a profile first"):
        numbers([])


def test_counts_and_shares(one_seed):
    macs, coefficients = complexity.total(complexity.count(NetworkSpec("standard")))
    assert (one_seed["macs.standard"].value, one_seed["macs.standard"].text) == (macs, f"{macs / 1e6:.1f} M")
    assert one_seed["coefficients.standard"].text == f"{coefficients / 1e6:.2f} M"
    assert one_seed["macs.standard.exact"].text == f"{macs:,}"
    parts = ["stem", *(f"level_{i}" for i in range(1, 6)), "last", "classifier"]
    for measure in ("macs", "coefficients"):
        assert sum(one_seed[f"{measure}.{part}_share"].value for part in parts) == pytest.approx(100)
    # The 1x1 convolution from 320 to 1280 channels on 7 x 7 pixels, by hand.
    assert one_seed["macs.last_share"].value == pytest.approx(100 * 49 * 320 * 1280 / macs)
