"""Other papers' networks beside A, B and C: what the table and Figure 9 make of their records."""

import pytest
from report_runs import change_record, write_run
from test_report_experiments import profile
from test_report_speed import entry, example

from xnnlib import complexity
from xnnlib.baselines import find
from xnnlib.model import untrained
from xnnlib.report.baselines import baseline_table, figure_9
from xnnlib.report.experiments import Experiment, experiment_numbers, load_experiments
from xnnlib.report.speed import Benchmark
from xnnlib.report.summary import is_baseline
from xnnlib.spec import BLOCKS


@pytest.fixture
def experiments(tmp_path):
    """Two seeds of each block, one of MobileNetV2, and an experiment that is no baseline."""
    for block in BLOCKS:
        for seed in (0, 1):
            write_run(tmp_path, block, seed, 2.0 * seed)
    write_run(tmp_path, "se", profile="narrow", network={"width": 0.5})
    other = write_run(tmp_path, "standard", shift=-3.0, profile="others/mobilenet_v2")
    network = {"model": "mobilenet_v2", "library": "torchvision 1", "num_classes": 10}
    change_record(other.path, network=network)
    names = ("small", "narrow", "others/mobilenet_v2")
    return load_experiments(tmp_path / "results", {name: profile(name, blocks=BLOCKS) for name in names})


@pytest.fixture
def benchmarks():
    """Images/s of block A and of MobileNetV2; of the others none."""
    rates = {("standard", "project"): 40.0, ("mobilenet_v2", "torchvision"): 20.0}
    entries = [entry(name, variant, [rate]) for (name, variant), rate in rates.items()]
    return [Benchmark.model_validate(example() | {"entries": entries})]


@pytest.fixture(scope="module")
def costs():
    """MACs of MobileNetV2 for an image, and its coefficients: all but biases and batch norm, in millions."""
    spec = find("mobilenet_v2", 10)
    held = sum(weight.numel() for weight in untrained(spec).parameters() if weight.ndim > 1)
    return complexity.total(complexity.count(spec))[0] / 1e6, held / 1e6


def test_baselines_stand_below_the_blocks_of_their_base(experiments, benchmarks, costs):
    a, b, c, other = baseline_table(experiments, benchmarks).rows
    assert [row[0][0] for row in (a, b, c)] == ["A", "B", "C"]
    assert (a[3], b[3], a[4]) == ("40.0", "", "40.2, 42.2")
    assert other == ("MobileNetV2", f"{costs[0]:.1f}", f"{costs[1]:.2f}", "20.0", "37.2")


def test_a_block_from_the_baselines_kind_of_filters_is_shown_from_these(experiments, benchmarks, tmp_path):
    runs = [write_run(tmp_path, "se", shift=5.0, profile="fan-out", network={"depthwise_fan_out": "layer"})]
    alike = Experiment("fan-out", "se", runs, experiments[0].base)
    rows = baseline_table([*experiments, alike], benchmarks).rows
    assert [row[4] for row in rows] == ["40.2, 42.2", "48.4", "38.6, 40.6", "37.2"]
    own = [alike, *(one for one in experiments if not is_baseline(one.runs[0]))]
    assert baseline_table(own, benchmarks).rows == ()


def test_baselines_of_another_budget_are_left_out(experiments, benchmarks):
    (other,) = (one for one in experiments if is_baseline(one.runs[0]))
    later = other._replace(base=[experiments[0].runs[0]])
    assert baseline_table([*experiments, later], benchmarks) == baseline_table(experiments, benchmarks)


def test_a_baseline_is_compared_with_block_a(experiments):
    gain = experiment_numbers(experiments)["others-mobilenet_v2.standard.top1_gain"]
    assert gain.value == pytest.approx(37.2 - 41.2)
    other, *own = gain.sources
    assert other == "results/others/mobilenet_v2/standard-seed0"
    assert own == ["results/small/standard-seed0", "results/small/standard-seed1"]


def test_figure_9_sets_all_networks_against_their_costs(experiments, benchmarks, costs):
    assert len(figure_9(experiments, []).axes) == 2  # without a benchmark there is no speed
    macs, coefficients, speed = figure_9(experiments, benchmarks).axes
    for axes, cost in zip((macs, coefficients, speed), (*costs, 20.0), strict=True):
        (mark,) = (line for line in axes.lines if line.get_label() == "mobilenet_v2 mean")
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == pytest.approx((cost, 37.2))
    marks = {line.get_label(): line.get_marker() for line in macs.lines if line.get_label().endswith("mean")}
    assert len(marks) == len(set(marks.values())) == 4
    # Of B and C no speed was measured.
    assert {line.get_label().split()[0] for line in speed.lines} == {"standard", "mobilenet_v2"}
