from dataclasses import replace

import benchmark
import pytest
import torch
from torch import nn

from xnnlib import complexity
from xnnlib.model import CondConv2d, Network
from xnnlib.report.speed import load_benchmarks
from xnnlib.report.summary import BASELINE_TITLES
from xnnlib.spec import BLOCKS, RECIPES, NetworkSpec

CPU = torch.device("cpu")
CROP = 14


def recipe(precision="float32"):
    return replace(RECIPES["paper"].scaled(1, 4, CROP), precision=precision)


def batches():
    generator = torch.Generator().manual_seed(0)
    while True:
        images = torch.randn(4, 3, CROP, CROP, generator=generator)
        yield images.contiguous(memory_format=torch.channels_last), torch.arange(4)


def test_timm_blocks_make_the_paper_s_network():
    for block in BLOCKS:
        macs = complexity.total(complexity.count(NetworkSpec(block)))[0]
        assert benchmark.forward_macs(Network(block), 56) == macs
        if block != "se_cond":  # in which timm routes once a block
            assert benchmark.forward_macs(benchmark.with_timm_blocks(Network(block)), 56) == macs
    conditional = benchmark.with_timm_blocks(Network("se_cond"))
    experts = [layer.num_experts for layer in conditional.modules() if "CondConv2d" in str(type(layer))]
    assert experts == 48 * [4] and not any(isinstance(layer, CondConv2d) for layer in conditional.modules())


def test_folded_network_is_ordinary_and_computes_what_an_untrained_one_does():
    network = Network("se_cond").eval()
    images = torch.randn(3, 3, CROP, CROP)
    folded = benchmark.folded(network)
    torch.testing.assert_close(folded(images), network(images), rtol=1e-3, atol=1e-5)
    assert benchmark.forward_macs(folded, CROP) == benchmark.forward_macs(Network("se"), CROP)


def test_plain_and_project_step_descend_alike():
    trained = []
    for make in (benchmark.plain_step, lambda *a: benchmark.project_step(*a, CPU)):
        torch.manual_seed(0)
        network = Network("standard")
        step = make(network, batches(), recipe())
        step()
        step()
        trained.append(network.state_dict())
    for name, weights in trained[0].items():
        torch.testing.assert_close(trained[1][name], weights, rtol=1e-3, atol=1e-4, msg=name)


def test_peak_memory_is_weights_and_the_most_that_is_allocated_at_once():
    network = nn.Linear(10, 10)

    def step():
        for _ in range(3):
            torch.zeros(100_000)

    assert benchmark.peak_bytes(network, step, CPU) == 110 * 4 + 400_000


def test_rounds_are_whole_and_alternate_their_order():
    measured = []
    jobs = [benchmark.Job(lambda: None, 1, [], None) for _ in range(3)]
    for index, job in enumerate(jobs):
        object.__setattr__(job, "measure", lambda seconds, index=index: measured.append(index))
    rounds = benchmark.take_rounds(jobs, 0.0, minutes=1.0)
    assert [next(rounds), next(rounds)] == [1, 2] and measured == [0, 1, 2, 2, 1, 0]
    assert list(benchmark.take_rounds(jobs, 0.0, minutes=0.0)) == [1]


def test_job_gives_seconds_or_work_a_second(monkeypatch):
    class Timer:
        def __init__(self, statement, globals, num_threads):
            self.threads = num_threads

        def blocked_autorange(self, min_run_time):
            return type("Measurement", (), {"median": 0.5 / self.threads})

    monkeypatch.setattr(benchmark, "Timer", Timer)
    seconds, rates = [], []
    benchmark.Job(int, 1, seconds).measure(0.0)
    benchmark.Job(int, 2, rates, work=32).measure(0.0)
    assert seconds == [0.5] and rates == [128.0]


@pytest.mark.slow
def test_command_writes_one_file_that_the_report_reads(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(benchmark.RECIPES, "paper", RECIPES["paper"].scaled(1, 2, CROP))
    monkeypatch.setitem(benchmark.MATMUL_SIZE, "cpu", 64)
    arguments = ["--minutes", "0", "--seconds", "0", "--batch-size", "2", "--output", str(tmp_path)]
    assert benchmark.main(arguments) == 0
    assert "EfficientNet-B0" in capsys.readouterr().out
    (found,) = load_benchmarks(tmp_path)
    assert {(entry.network, entry.variant) for entry in found.entries} == {
        *((block, variant) for block in BLOCKS for variant in ("project", "timm", "plain")),
        ("se_cond", "folded"),
        *((name, "torchvision") for name in BASELINE_TITLES),
    }
    assert {entry.variant for entry in found.entries if entry.latency} == {"project", "folded"}


def test_bad_batch_size_is_one_line(tmp_path, capsys):
    assert benchmark.main(["--batch-size", "-1", "--output", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: batch_size is -1") and not list(tmp_path.iterdir())
