"""The table of the steps, from made-up results."""

import json

import pytest
from report_benchmarks import CPU, example, write

from xnnlib.errors import UserError
from xnnlib.report.steps import step_table
from xnnlib.report.throughput import DASH, NOT_RUN, load_benchmarks

ROWS = [
    {"network": "standard", "taken": [], "images_per_second": 25.0},
    {"network": "se", "taken": [], "images_per_second": 20.0},
    {"network": "se_cond", "taken": [], "error": "no room"},
    {"network": "standard", "taken": ["layers"], "images_per_second": 30.0},
    {"network": "se", "taken": ["layers"], "images_per_second": 20.0},
    {"network": "se_cond", "taken": ["layers"], "images_per_second": 18.0},
]


def loaded(root, rows):
    made = {"device": CPU, "commit": "e" * 40, "started": "2026-01-01T00:00:00Z"}
    path = write(root, example()).with_name("steps.json")
    if rows:
        path.write_text(json.dumps(made | {"rows": rows}), encoding="utf-8")
    return load_benchmarks(root / "benchmarks" / "results")


def test_each_step_is_a_row_with_its_speed_over_the_plain_one(tmp_path):
    benchmarks = loaded(tmp_path, ROWS)
    assert step_table(benchmarks).rows == (
        ("plain", "25.0 (1.00)", "20.0 (1.00)", DASH),
        ("+ the project's layers, fused update", "30.0 (1.20)", "20.0 (1.00)", "18.0"),
    )
    source = "benchmarks/results/a-processor/steps.json, commit eeeeeeeeee, a processor, 2 threads"
    assert benchmarks[0].steps_source == source


def test_a_device_whose_steps_were_not_measured_is_left_out(tmp_path):
    assert step_table(loaded(tmp_path, None)) == NOT_RUN


def test_the_only_device_of_several_whose_steps_were_measured_is_named(tmp_path):
    loaded(tmp_path, ROWS)
    write(tmp_path, example(CPU | {"name": "another processor"}), "another-processor")
    rows = step_table(load_benchmarks(tmp_path / "benchmarks" / "results")).rows
    assert [row for row in rows if isinstance(row, str)] == ["a processor, 2 threads"]


def test_a_missing_field_is_one_line_that_names_it(tmp_path):
    with pytest.raises(UserError, match=r"steps.json is damaged \(rows\[0\].taken is missing\)"):
        loaded(tmp_path, [{"network": "standard", "images_per_second": 25.0}])
