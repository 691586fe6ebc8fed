"""The benchmark's tables, numbers and goals, from made-up results."""

import pytest
from report_benchmarks import CPU, H100, example, measured, write
from report_runs import write_run

from xnnlib.errors import UserError
from xnnlib.report import throughput
from xnnlib.report.speed import gain_table, goal_table, speed_numbers
from xnnlib.report.throughput import NOT_RUN, load_benchmarks, speed_table

TABLES = (throughput.speed_table, throughput.roofline_table, throughput.kernel_table, throughput.growth_table)


def loaded(root):
    return load_benchmarks(root / "benchmarks" / "results")


def states(benchmarks, runs=()):
    return [(row[2], row[-1]) for row in goal_table(benchmarks, list(runs)).rows]


def lose(results, *place):
    """Take one field out of the results."""
    *folder, name = place
    for step in folder:
        results = results[step]
    del results[name]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (["commit"], "commit is missing"),
        (["device", "threads"], "device.threads is missing"),
        (["rows", 3, "step_milliseconds"], "rows[3].step_milliseconds is missing"),
        (["rows", -1, "scope"], ".scope is missing"),
        (["roofline", "se", "share"], "roofline.se.share is missing"),
        (["pairs", 1, "plain"], "pairs[1].plain is missing"),
        (["growth", 1, "batch_size"], "growth[1].batch_size is missing"),
        (["kernels", "se", 0, "name"], "kernels.se[0].name is missing"),
    ],
)
def test_a_missing_field_is_one_line_that_names_it(tmp_path, place, said):
    results = example()
    lose(results, *place)
    path = write(tmp_path, results)
    with pytest.raises(UserError) as caught:
        loaded(tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{path} is damaged (") and said in line and line.endswith("run: make benchmark")
    assert "\n" not in line


@pytest.mark.parametrize("text", ["", "{", "[]", '{"device": NaN}', "\xff"])
def test_a_file_that_is_no_result_is_one_line(tmp_path, text):
    path = write(tmp_path, {})
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="throughput.json is damaged"):
        loaded(tmp_path)


def test_without_results_the_tables_say_so_and_the_goals_wait(tmp_path):
    assert loaded(tmp_path) == []
    assert all(table([]) == NOT_RUN for table in TABLES)
    assert [state for _, state in states([])] == ["waits for a GPU"] * 7 + ["not measured"] * 3
    numbers = speed_numbers([])
    assert gain_table([]) == NOT_RUN
    shown = {name: number.text for name, number in numbers.items()}
    assert shown["speed.cpu.devices"] == "no processor so far" and shown["speed.cpu.rounds"] == "not measured"
    assert shown["speed.cuda.devices"] == "no GPU so far"
    assert shown["speed.cuda.batch_size"] == "waits for a GPU"


def test_the_rows_are_those_of_the_file_in_its_order(tmp_path):
    write(tmp_path, example())
    rows = speed_table(loaded(tmp_path)).rows
    assert [row[0] for row in rows[:-4]] == [*"AAAA", *"BBBB", *"CCCC"]
    cells = ("A", "plain", "model", "float32", "24.0", "21.6\N{EN DASH}26.4", "1,333.3", "1,203", "0")
    assert rows[1] == cells
    assert [row[2] for row in rows[-4:]] == ["end to end", "end to end", "model", "model"]


def test_a_row_that_failed_says_why(tmp_path):
    write(tmp_path, example())
    row = speed_table(loaded(tmp_path)).rows[-1]
    assert row[:2] == ("MNASNet 1.0", "compiled (failed: InductorError: no compiler in 3 places)")
    assert set(row[3:]) == {"\N{EN DASH}"}


def test_shares_sizes_and_kernels_are_as_measured(tmp_path):
    write(tmp_path, example())
    _, roofline, kernels, growth = (table(loaded(tmp_path)).rows for table in TABLES)
    assert roofline[0] == ("A", "123.5", "27.1", "220", "44%")
    assert kernels[1:3] == (("", "aten::mul", "12.5%"), ("B: + squeeze-and-excite", *kernels[0][1:]))
    assert growth[-1] == ("32", "50,000", "90.0", "1,300")


def test_several_devices_are_named_above_their_rows(tmp_path):
    write(tmp_path, example())
    write(tmp_path, example(H100, 256), "nvidia-h100")
    for table in (*TABLES, gain_table):
        shown = table(loaded(tmp_path))
        headings = [row for row in shown.rows if isinstance(row, str)]
        assert headings == ["a processor, 2 threads", H100["name"]]
        assert shown.rows[0] == headings[0] and shown.rows[-1] not in headings


def gains(root):
    return [row[1:] for row in gain_table(loaded(root)).rows]


def test_gains_are_ratios_of_the_rounds_and_of_the_rows(tmp_path):
    write(tmp_path, example())
    dash, rounds = "\N{EN DASH}", "4.00 (3.80\N{EN DASH}4.30)"
    assert gains(tmp_path) == [
        ("96.0", "80.0", "60.0"),
        (rounds, rounds, rounds),
        ("76.8", dash, dash),
        ("6.40", dash, dash),
        ("0.80", "0.80", "0.80"),
    ]


def test_a_gain_is_the_median_of_the_rounds_or_the_ratio_of_the_rows(tmp_path):
    results = example()
    results["pairs"] = [pair | {"plain": 2.0} for pair in results["pairs"] if pair["network"] == "se"]
    results["pairs"].append({"network": "se", "round": 3, "error": "no compiler"})
    write(tmp_path, results)
    assert gains(tmp_path)[1] == ("4.00", "2.00 (1.90\N{EN DASH}2.15)", "4.00")
    assert states(loaded(tmp_path))[-2] == ("2.00", "not met")


def test_numbers_name_every_device_of_a_type_and_its_file(tmp_path):
    write(tmp_path, example())
    write(tmp_path, example(CPU | {"name": "another"}, 64), "another")
    numbers = speed_numbers(loaded(tmp_path))
    assert numbers["speed.cpu.devices"].text == "a processor, 2 threads; another, 2 threads"
    assert numbers["speed.cpu.batch_size"].text == "32; 64"
    assert numbers["speed.cpu.rounds"].text == "3"
    source = "benchmarks/results/{}/throughput.json, commit ffffffffff, {}, 2 threads"
    sources = [source.format("a-processor", "a processor"), source.format("another", "another")]
    assert numbers["speed.cpu.repeats"].source == "; ".join(sources)


def test_goals_are_met_or_not_by_the_measured_figure(tmp_path):
    results = example(H100, 256)
    write(tmp_path, results, "nvidia-h100")
    memory = [("1,203", "met")] * 3
    measured_so_far = [("25,000", "met"), ("1.14", "met"), ("1.47", "not met"), *memory]
    assert states(loaded(tmp_path))[:6] == measured_so_far
    results["rows"][0] = measured("standard", "xnnlib", 23_999.0, 256)
    write(tmp_path, results, "nvidia-h100")
    assert states(loaded(tmp_path))[0] == ("23,999", "not met")
    write(tmp_path, example())
    assert states(loaded(tmp_path))[-3:] == [("4.00", "met")] * 3


def test_a_goal_for_a_processor_is_held_to_every_one_that_was_measured(tmp_path):
    write(tmp_path, example(started="2026-02-02T00:00:00Z"))
    slower = example(CPU | {"name": "another processor"})
    for pair in slower["pairs"]:
        pair["xnnlib"] /= 2
    write(tmp_path, slower, "another-processor")
    rows = goal_table(loaded(tmp_path), []).rows[-6:]
    assert [row[2:] for row in rows] == [
        *[("4.00", "a processor, 2 threads", "met")] * 3,
        *[("2.00", "another processor, 2 threads", "not met")] * 3,
    ]


@pytest.mark.parametrize("device, batch_size", [(H100 | {"name": "NVIDIA H200"}, 256), (H100, 512)])
def test_another_gpu_or_batch_does_not_settle_a_goal(tmp_path, device, batch_size):
    write(tmp_path, example(device, batch_size), "gpu")
    assert states(loaded(tmp_path))[0] == ("\N{EN DASH}", "waits for a GPU")
    assert gains(tmp_path)[0] == ("25,000", "22,000", "15,000")


def test_the_whole_training_is_taken_from_its_record(tmp_path):
    run = write_run(tmp_path, "standard", device="cuda")
    run.record["device"]["name"] = H100["name"]
    assert states([], [run])[6] == ("\N{EN DASH}", "waits for a GPU")
    run.record["epochs"], run.record["dataset"]["train_images"] = 55, 50_000
    assert states([], [run])[6] == ("1.50", "met")
    run.record["train_seconds"] = 200.0
    assert states([], [run])[6] == ("3.33", "not met")
