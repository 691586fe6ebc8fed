"""The numbers of the prose: values, texts, intervals and sources."""

from dataclasses import replace

import pytest
from report_runs import write_run
from scipy import stats

from xnnlib import complexity
from xnnlib.errors import UserError
from xnnlib.report.numbers import gain_table, numbers, run_numbers
from xnnlib.spec import BLOCKS, NetworkSpec

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return numbers([write_run(root, block) for block in BLOCKS])


def runs_of(root, shifts):
    """A run for each block and seed, its top-1 so many points higher."""
    pairs = [(block, seed) for block, own in shifts.items() for seed in range(len(own))]
    return [write_run(root, block, seed, shifts[block][seed]) for block, seed in pairs]


def test_networks_of_other_papers_are_refused(tmp_path):
    run = write_run(tmp_path, "standard")
    network = {"model": "mobilenet_v2", "library": "torchvision 0.1", "num_classes": 10}
    run = replace(run, record=run.record | {"network": network})
    with pytest.raises(UserError, match="results/small/standard-seed0 is of another paper's network"):
        numbers([run])


def test_measured_values(one_seed):
    expected = {
        "standard.top1": "40.2",
        "standard.loss": "1.70",
        "standard.sampling_error": "4.3",  # 1.96 * sqrt(0.402 * 0.598 / 500)
        "se.top1_gain": "+3.2",
        "se_cond.top1_gain": f"{MINUS}1.6",
        "se_cond.top1_gain_over_se": f"{MINUS}4.8",
        "chance": "10",
        "train_images": "5,000",
        "dataset": "Tiny ImageNet",
        "device": "a processor, 2 threads",
        "seeds": "1",
        "reference.top1": "72.68",
        "reference.train_images": "127,000",
        "network.last_channels": "1280",
    }
    assert {key: one_seed[key].text for key in expected} == expected
    gain = one_seed["se.top1_gain"]
    assert gain.interval is None and gain.low == gain.high == gain.value


def test_values_are_exact_where_texts_are_rounded(one_seed):
    assert one_seed["standard.sampling_error"].value == pytest.approx(1.96 * (40.2 * 59.8 / 500) ** 0.5)
    assert one_seed["se.top1_gain"].value == pytest.approx(3.2)
    assert one_seed["train_hours"].value == pytest.approx((90 + 120 + 180) / 3600)


def test_gains_are_paired_by_seed_with_welchs_interval_beside(tmp_path):
    shifts = {"standard": (0.0, 2.0), "se": (0.0, 3.0)}
    found = numbers(runs_of(tmp_path, shifts))
    assert found["standard.top1"].text == "41.2 ± 12.7"  # 12.706 * sqrt(2) / sqrt(2)
    for key, text in {"standard.top1_seeds": "40.2 and 42.2", "se.top1_gain_seeds": "+3.2 and +4.2"}.items():
        assert found[key].text == text
        assert (found[key].low, found[key].high) == pytest.approx(tuple(map(float, text.split(" and "))))
    paired, welch = found["se.top1_gain"], found["se.top1_gain_welch"]
    assert paired.text == "+3.7 ± 6.4"  # the differences 3.2 and 4.2: 12.706 * 0.5
    assert (paired.low, paired.high) == pytest.approx((3.7 - 6.353, 3.7 + 6.353), abs=1e-3)
    degrees = (1 + 2.25) ** 2 / (1 + 2.25**2)  # the squared standard errors are 1 and 2.25
    assert welch.high - welch.value == pytest.approx(stats.t.ppf(0.975, degrees) * 3.25**0.5)


def test_seeds_have_a_spread(tmp_path):
    shifts = {"standard": (0.0, 2.0, 1.0), "se": (3.0, 0.0, 1.0)}
    runs = runs_of(tmp_path, shifts)
    found = numbers(runs)
    assert (found["standard.top1_spread"].text, found["se.top1_spread"].text) == ("2.0", "3.0")
    lasts = [run.epochs["train_top1"][-1] for run in runs if run.record["block"] == "se"]
    assert found["se.train_spread"].value == pytest.approx(max(lasts) - min(lasts))


def test_one_seed_has_no_spread(one_seed):
    assert not [key for key in one_seed if "spread" in key]


def test_sources_name_run_folders_and_no_machine_path(one_seed):
    assert one_seed["se.top1_gain"].sources == ("results/small/se-seed0", "results/small/standard-seed0")
    assert not any("/tmp" in source for number in one_seed.values() for source in number.sources)
    assert "UT-Dallas-CS-6301" in one_seed["reference.top1"].sources[0]


def test_runs_of_another_profile_have_its_name_before_their_keys(one_seed, tmp_path):
    found = run_numbers([write_run(tmp_path, block, profile="short") for block in BLOCKS], prefix="short")
    assert found["short.se.top1"].text == one_seed["se.top1"].text
    assert found["short.se.top1"].sources == ("results/short/se-seed0",)
    assert {"short.macs.se", "short.reference.top1"}.isdisjoint(found)


def test_blocks_that_differ_or_did_not_run(tmp_path):
    found = run_numbers([write_run(tmp_path, "standard"), write_run(tmp_path, "se", device="cuda")])
    assert found["device"].text == found["device"].value == "a processor, 2 threads (A), a processor (B)"
    assert not [key for key in found if key.startswith("se_cond.")]


def test_run_that_resumed_elsewhere_names_both_places(tmp_path):
    run = write_run(tmp_path, "se")
    other = {"type": "cpu", "name": "another", "threads": 1}
    continued = [run.record | {"epoch": 2, "step": 3, "device": other}]
    found = run_numbers([replace(run, record=run.record | {"continued": continued})])
    assert found["device"].text == "a processor, 2 threads and another, 1 thread"
    assert found["versions.torch"].text == "2.13.0"


def test_gain_table_has_a_row_for_each_pair(tmp_path):
    runs = runs_of(tmp_path, {"standard": (0.0, 2.0), "se": (0.0, 3.0), "se_cond": (0.0,)})
    table, found = gain_table(runs), numbers(runs)
    assert [row[0] for row in table.rows] == ["B over A", "C over A", "C over B"]
    assert table.rows[0][1:] == (found["se.top1_gain"].text, found["se.top1_gain_welch"].text)


def test_counts_and_shares(one_seed):
    macs, coefficients = complexity.total(complexity.count(NetworkSpec("standard")))
    assert (one_seed["macs.standard"].value, one_seed["macs.standard"].text) == (macs, f"{macs / 1e6:.1f} M")
    assert one_seed["coefficients.standard"].text == f"{coefficients / 1e6:.2f} M"
    ratio = one_seed["macs.se_cond"].value / macs
    assert one_seed["se_cond.macs_ratio"].value == ratio
    assert one_seed["se_cond.macs_extra_percent"].value == pytest.approx(100 * (ratio - 1))
    # Level 5 by hand, its coefficients used on 7 x 7 pixels, those of the first convolution on 14 x 14.
    rows = ((80, 160), *[(160, 160)] * 4, (160, 320))
    held = sum(4 * ni * (ni + 9 + no) for ni, no in rows)
    assert one_seed["coefficients.level_5_share"].value == pytest.approx(100 * held / coefficients)
    done = 49 * held + (14 * 14 - 49) * 4 * 80 * 80
    assert one_seed["macs.level_5_share"].value == pytest.approx(100 * done / macs)
