import pytest
from report_benchmarks import CPU, H100, example, write

from xnnlib.errors import UserError
from xnnlib.report.speed import DASH, Spread, load_benchmarks, speed_numbers, speed_table


def loaded(root, *contents):
    for number, content in enumerate(contents or (example(),)):
        write(root, content, f"device-{number}")
    return load_benchmarks(root / "benchmarks" / "results")


def test_spread_is_median_and_quartiles():
    assert Spread.of([4.0, 1.0, 3.0, 2.0]) == (2.5, 1.75, 3.25)
    assert Spread.of([7.0]) == (7.0, 7.0, 7.0)


def test_ratio_is_taken_round_by_round(tmp_path):
    # B over A is 0.8, 0.8 and 0.7 in the rounds; the ratio of the medians would be 0.7.
    numbers = speed_numbers(loaded(tmp_path))
    ratio = numbers["speed.cpu.se.over_standard"]
    assert (ratio.text, ratio.value, ratio.interval) == ("0.800", 0.8, (0.75, 0.8))
    assert numbers["speed.cpu.se.over_standard.quartiles"].text == f"0.750{DASH}0.800"
    assert numbers["speed.cpu.standard.over_plain"].text == "4.00"


def test_numbers_are_those_of_one_thread_and_say_where_they_are_from(tmp_path):
    number = speed_numbers(loaded(tmp_path))["speed.cpu.standard.images_per_second"]
    assert number.text == "90.0"
    assert number.sources == ("benchmarks/results, a processor, bfloat16, rounds: 3, commit ffffffffff",)


def test_numbers_of_the_newest_file_of_each_kind_of_device(tmp_path):
    other = example(CPU | {"name": "another"}, "2026-03-01T00:00:00Z")
    numbers = speed_numbers(loaded(tmp_path, other, example(), example(H100)))
    assert numbers["speed.cpu.device"].text == "another"
    assert numbers["speed.cuda.device"].text == H100["name"]


def test_nothing_measured_gives_no_rows_and_no_numbers(tmp_path):
    benchmarks = load_benchmarks(tmp_path / "benchmarks" / "results")
    assert speed_table(benchmarks).rows == () and speed_numbers(benchmarks) == {}


def test_table_has_training_share_of_the_bound_latency_and_memory(tmp_path):
    heading, a, _, folded, plain = speed_table(loaded(tmp_path)).rows
    assert heading == "a processor, bfloat16, rounds: 3"
    speeds = (f"90.0 (70.0{DASH}95.0)", f"135 (105{DASH}142)")
    # Three forward passes of 1e6 MACs at 90 images/s, of 3e9 MACs/s.
    latencies = (f"10.0 (10.0{DASH}10.0)", f"200 (200{DASH}250)")
    assert a == ("A", "this project", *speeds, "9.00", *latencies, "81")
    assert folded[:5] == ("C", "routing fixed, folded", DASH, DASH, DASH) and folded[5:7] == latencies
    assert plain[:2] == ("A", "timm's layers, plain step") and plain[5:] == (DASH, DASH, DASH)


def test_gpu_has_one_speed(tmp_path):
    content = example(H100)
    content["matmul"] = {"16": [3e9]}
    content["entries"] = [content["entries"][0] | {"training": {"16": [2500.0]}, "latency": {}}]
    cells = speed_table(loaded(tmp_path, content)).rows[1]
    assert cells[2:4] == (DASH, f"2,500 (2,500{DASH}2,500)")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"commit": None}, "commit: "),
        ({"entries": [{"network": "standard"}]}, "entries.0.variant: "),
        ({"matmul": {"1": [0.0]}}, "matmul.1.0: "),
        ({"matmul": {"1": [3e9], "2": [6e9]}}, "rounds"),
    ],
)
def test_damaged_file_is_one_line(tmp_path, change, problem):
    path = write(tmp_path, example() | change)
    with pytest.raises(UserError, match=problem) as caught:
        load_benchmarks(path.parent)
    assert str(caught.value).startswith(f"{path} is damaged (") and "\n" not in str(caught.value)


def test_truncated_file_is_one_line(tmp_path):
    path = write(tmp_path, example())
    path.write_text(path.read_text()[:100])
    with pytest.raises(UserError, match="is damaged") as caught:
        load_benchmarks(path.parent)
    assert "\n" not in str(caught.value)
