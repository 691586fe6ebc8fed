"""The model of several GPUs against its formula worked out by hand."""

import pytest
from report_runs import write_run

from xnnlib.report import scaling
from xnnlib.report.scaling import LINKS, Single, images_per_second, scaling_numbers, scaling_table, single_gpu

ETHERNET = LINKS[1]
ONE = Single(10_000.0, 500, "", True)  # a step of 50 ms


@pytest.fixture
def simple(monkeypatch):
    monkeypatch.setattr(scaling, "gradient_bytes", lambda: 12_500_000)  # a millisecond of Ethernet
    monkeypatch.setattr(scaling, "batch_norm_layers", lambda: 10)


def test_one_gpu_is_as_measured(simple):
    assert images_per_second(ONE, 1, ETHERNET, "synchronised") == pytest.approx(10_000)


def test_four_gpus_by_hand(simple):
    # 50 / 4 ms of work, 2 * 3/4 * 1 ms of gradients, 2 * 2 delays of 0.02 ms for each of 1 or 21 collectives.
    assert images_per_second(ONE, 4, ETHERNET, "per_process") == pytest.approx(500 / 14.08e-3)
    assert images_per_second(ONE, 4, ETHERNET, "synchronised") == pytest.approx(500 / 15.68e-3)


def test_it_stops_where_each_gpu_does_less_than_half(simple):
    # 16 GPUs: 3.125 + 1.875 + 0.16 ms, 61 %; 32 GPUs: 1.5625 + 1.9375 + 0.2 ms, 42 %.
    assert scaling.useful_gpus(ONE, ETHERNET, "per_process") == 16


def test_a_run_on_one_gpu_takes_the_place_of_the_assumption(tmp_path):
    on_cpu = [write_run(tmp_path, "standard")]
    assert not single_gpu(on_cpu).measured
    assert scaling_numbers(on_cpu)["scaling.origin"].text == "assumed, not measured"
    on_gpu = [write_run(tmp_path / "gpu", "standard", device="cuda")]
    assert single_gpu(on_gpu) == Single(166.7, 256, "results/small/standard-seed0", True)
    assert scaling_table(on_gpu).rows[0][1] == "167 (100%)"


def test_sizes_are_those_of_the_network():
    network = scaling.untrained(scaling.NetworkSpec())
    floats = sum(
        weights.numel()
        for name, weights in network.state_dict().items()
        if "running" not in name and "num_batches" not in name
    )
    assert scaling.gradient_bytes() == 4 * floats
