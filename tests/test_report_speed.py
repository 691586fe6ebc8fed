import json

import pytest

from xnnlib.errors import UserError
from xnnlib.report.speed import (
    DASH,
    latencies,
    load_benchmarks,
    median_and_quartiles,
    speed_numbers,
    speed_table,
)

CPU = {"type": "cpu", "name": "a processor", "threads": 2}
H100 = {"type": "cuda", "name": "NVIDIA H100 80GB HBM3"}


def entry(network, variant, rates, **fields):
    """One network's images/s in training by one thread; two are 1.5 times as fast."""
    training = {"1": rates, "2": [1.5 * rate for rate in rates]}
    shared = {"network": network, "variant": variant, "precision": "bfloat16", "macs": 1_000_000}
    return shared | {"training": training} | fields


def example(device=CPU, started="2026-01-01T00:00:00Z"):
    """What benchmarks/benchmark.py writes after three rounds: A, B slower, C folded, A in the plain step."""
    latency = {"1": [0.01, 0.01, 0.01], "32": [0.2, 0.2, 0.3]}
    return {
        "device": device,
        "versions": {"torch": "2.13.0"},
        "commit": "f" * 40,
        "started": started,
        "load_average": 0.1,
        "batch_size": 32,
        "matmul": {"1": [3e9, 3e9, 3e9], "2": [6e9, 6e9, 6e9]},
        "entries": [
            entry("standard", "project", [100.0, 50.0, 90.0], latency=latency, peak_bytes=81_000_000),
            entry("se", "project", [80.0, 40.0, 63.0]),
            entry("se_cond", "folded", [], training={}, latency=latency),
            entry("standard", "plain", [25.0, 12.5, 22.5], precision="float32"),
        ],
    }


def write(root, content, name="a-processor"):
    """Write the device's file in the project at `root`."""
    path = root / "benchmarks" / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def loaded(root, *contents):
    for number, content in enumerate(contents or (example(),)):
        write(root, content, f"device-{number}")
    return load_benchmarks(root / "benchmarks" / "results")


def test_spread_is_median_and_quartiles():
    assert median_and_quartiles([4.0, 1.0, 3.0, 2.0]) == (2.5, (1.75, 3.25))
    assert median_and_quartiles([7.0]) == (7.0, (7.0, 7.0))


def test_numbers_are_those_of_one_thread_and_say_where_they_are_from(tmp_path):
    numbers = speed_numbers(loaded(tmp_path))
    number = numbers["speed.cpu.standard.images_per_second"]
    assert (number.text, number.interval) == ("90.0", (70.0, 95.0))
    assert number.sources == ("benchmarks/results, a processor, bfloat16, rounds: 3, commit ffffffffff",)
    # B over A is 0.8, 0.8 and 0.7 in the rounds; the ratio of the medians would be 0.7.
    ratio = numbers["speed.cpu.se.over_standard"]
    assert (ratio.text, ratio.value, ratio.interval) == ("0.800", 0.8, (0.75, 0.8))
    assert numbers["speed.cpu.standard.milliseconds_1"].value == 10.0
    assert latencies(loaded(tmp_path))["standard"] == 10.0
    assert numbers["speed.cpu.se_cond.folded.milliseconds_32"].interval == (200.0, 250.0)


def test_numbers_are_of_the_newest_file_of_each_kind_of_device(tmp_path):
    other = example(CPU | {"name": "another"}, "2026-03-01T00:00:00Z")
    del other["entries"][1:]
    numbers = speed_numbers(loaded(tmp_path, other, example(), example(H100)))
    assert numbers["speed.cpu.device"].text == "another"
    assert "speed.cpu.se.images_per_second" not in numbers  # which the other processor alone has
    assert numbers["speed.cuda.device"].text == H100["name"]


def test_nothing_measured_gives_no_rows_and_no_numbers(tmp_path):
    benchmarks = load_benchmarks(tmp_path / "benchmarks" / "results")
    assert latencies(benchmarks) == {}
    assert speed_table(benchmarks).rows == () and speed_numbers(benchmarks) == {}


def test_table_has_training_share_of_the_bound_latency_and_memory(tmp_path):
    heading, a, _, folded, plain = speed_table(loaded(tmp_path)).rows
    assert heading == "a processor, bfloat16, rounds: 3"
    speeds = (f"90.0 (70.0{DASH}95.0)", f"135 (105{DASH}142)")
    # Three forward passes of 1e6 MACs at 90 images/s, of 3e9 MACs/s.
    latencies = (f"10.0 (10.0{DASH}10.0)", f"200 (200{DASH}250)")
    assert a == ("A", "this project", *speeds, "9.00", *latencies, "81")
    assert folded[:5] == ("C", "folded", DASH, DASH, DASH) and folded[5:7] == latencies
    assert plain[:2] == ("A", "timm, plain") and plain[5:] == (DASH, DASH, DASH)


def test_gpu_has_one_speed(tmp_path):
    content = example(H100) | {"matmul": {"16": [3e9]}}
    content["entries"] = [content["entries"][0] | {"training": {"16": [2500.0]}, "latency": {}}]
    cells = speed_table(loaded(tmp_path, content)).rows[1]
    assert cells[2:4] == (DASH, f"2,500 (2,500{DASH}2,500)")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"commit": None}, "commit is None; it must be text"),
        ({"entries": [{"network": "standard"}]}, "entries.0.variant is missing"),
        ({"matmul": {"1": [0.0]}}, "matmul.1.0 is 0.0; it must be above 0"),
        (None, "it must be"),  # cut short
    ],
)
def test_damaged_file_is_one_line(tmp_path, change, problem):
    path = write(tmp_path, example() | (change or {}))
    if change is None:
        path.write_text(path.read_text()[:100])
    with pytest.raises(UserError, match=problem) as caught:
        load_benchmarks(path.parent)
    assert str(caught.value).startswith(f"{path} is damaged (") and "\n" not in str(caught.value)
