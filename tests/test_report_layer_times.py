"""The tables of the layers, from made-up results."""

import json
from functools import partial

import pytest
from report_benchmarks import example, example_layers, write

from xnnlib.errors import UserError
from xnnlib.report.layer_times import conditional_table, depthwise_table
from xnnlib.report.throughput import DASH, NOT_RUN, load_benchmarks


def loaded(root, layers):
    path = write(root, example())
    if layers:
        path.with_name("layers.json").write_text(json.dumps(layers), encoding="utf-8")
    return load_benchmarks(root / "benchmarks" / "results")


def test_each_layer_is_a_row_and_each_way_a_column(tmp_path):
    benchmarks = loaded(tmp_path, example_layers())
    assert depthwise_table(benchmarks, False).rows == (("96", "56", "2", "2.5 + 84.5 + 4.8"),)
    assert depthwise_table(benchmarks, True).rows == (("96", "56", "2", "3.5 + 84.5 + 4.8", "9.0"),)
    assert conditional_table(benchmarks).rows == (("96", "24", "56", "8.2", "7.7", "12.2"),)
    source = "benchmarks/results/a-processor/layers.json, commit eeeeeeeeee, a processor, 2 threads"
    assert benchmarks[0].layers_source == source


def test_a_layer_has_a_dash_where_only_another_was_measured(tmp_path):
    layers = example_layers()
    other = layers["depthwise"][0]["ways"][0] | {"precision": "float32"}
    layers["depthwise"].append(layers["depthwise"][0] | {"stride": 1, "ways": [other]})
    table = depthwise_table(loaded(tmp_path, layers), per_image=False)
    assert table.columns[3:] == ("float32, channels last", "bfloat16, channels last")
    assert [row[3:] for row in table.rows] == [(DASH, "2.5 + 84.5 + 4.8"), ("2.5 + 84.5 + 4.8", DASH)]


def test_triton_s_kernels_have_a_row_below_pytorch_s(tmp_path):
    layers = example_layers()
    (layer,) = layers["depthwise_per_image"]
    layer["ways"].append(layer["ways"][0] | {"kernels": "triton", "forward": 0.04})
    table = depthwise_table(loaded(tmp_path, layers), per_image=True)
    assert table.columns[3:] == ("bfloat16, channels last", "copies")
    assert table.rows == (
        ("96", "56", "2", "3.5 + 84.5 + 4.8", "9.0"),
        ("Triton", "", "", "0.040 + 84.5 + 4.8", ""),
    )


@pytest.mark.parametrize("table", [partial(depthwise_table, per_image=True), conditional_table])
def test_a_device_whose_layers_were_not_measured_is_left_out(table, tmp_path):
    assert table(loaded(tmp_path, None)) == NOT_RUN


@pytest.mark.parametrize(
    "place, said",
    [
        (["commit"], "commit is missing"),
        (["depthwise", 0, "ways", 0, "forward"], "depthwise[0].ways[0].forward is missing"),
        (
            ["depthwise_per_image", 0, "ways", 0, "kernels"],
            "depthwise_per_image[0].ways[0].kernels is missing",
        ),
        (["conditional", 0, "milliseconds", "mixed"], "conditional[0].milliseconds.mixed is missing"),
    ],
)
def test_a_missing_field_is_one_line_that_names_it(tmp_path, place, said):
    layers = example_layers()
    *folder, name = place
    inside = layers
    for step in folder:
        inside = inside[step]
    del inside[name]
    with pytest.raises(UserError, match="layers.json is damaged") as caught:
        loaded(tmp_path, layers)
    assert said in str(caught.value)
