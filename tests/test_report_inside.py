"""What networks do inside: a hand-made analysis, its table, numbers and figure."""

import copy
import hashlib
import json

import pytest
from small_archives import refused

from xnnlib.report.estimates import MINUS
from xnnlib.report.inside import figure_7, inside_numbers, inside_table, load_analysis, routing_table
from xnnlib.report.style import applied


def module(block, place, part, level, sd, **more):
    name = f"stages.{place}.{part}" + ("" if part == "gate" else ".0.routing")
    numbers = {"mean": 0.5, "sd": sd, "low": 0.01, "high": 0.03, "between": 0.25}
    return {"block": block, "name": name, "part": part, "level": level} | numbers | more


def changed(top1, gained, lost):
    return {"top1": top1, "gained": gained, "lost": lost}


ANALYSIS = {
    "weights": {},
    "images": 5000,
    "mean_over": 5000,
    "top1": {"standard": 70.0, "se": 72.0, "se_cond": 73.0, "folded": 60.0},
    "initial_similarity": {"standard": 0.984},
    "without": {
        "se": {"gates_mean": changed(50.0, 100, 1200), "gates_other": changed(40.0, 100, 1700)},
        "se_cond": {
            "routing_mean": changed(60.0, 50, 700),
            "largest_routing_mean": changed(71.0, 50, 150),
            "routing_other": changed(61.0, 100, 700),
        },
    },
    "pairs": {
        "se-standard": changed(72.0, 400, 300),
        "folded-se": changed(60.0, 100, 700),
        "folded-se_cond": changed(60.0, 50, 700),
    },
    "modules": [
        module("se", "1.0", "gate", 1, 0.1),
        module("se_cond", "1.0", "expand", 1, 0.02, similarity=0.5),
        module("se_cond", "1.0", "gate", 1, 0.1),
        module("se_cond", "10.1", "expand", 5, 0.06, similarity=0.3),
        module("se_cond", "10.1", "project", 5, 0.2, similarity=0.1),
    ],
}


def load(root, content):
    (root / "paper").mkdir()
    (root / "paper" / "analysis.json").write_text(content)
    return load_analysis(root, "paper")


def test_table_shows_each_block_as_trained_and_without_its_conditioning():
    # McNemar's half width of -1100 of 5000 with 1300 discordant: 1.96 * sqrt((0.26 - 0.22^2) / 5000).
    assert inside_table(ANALYSIS).rows == (
        ("A", "as trained", "70.00", ""),
        ("B", "as trained", "72.00", ""),
        ("", "mean gates", "50.00", f"{MINUS}22.00 ± 1.28"),
        ("", "another image's gates", "40.00", f"{MINUS}32.00 ± 1.41"),
        ("C", "as trained", "73.00", ""),
        ("", "mean routing", "60.00", f"{MINUS}13.00 ± 1.01"),
        ("", "mean routing, in one convolution", "71.00", f"{MINUS}2.00 ± 0.55"),
        ("", "another image's routing", "61.00", f"{MINUS}12.00 ± 1.06"),
        ("", "mean routing, experts folded", "60.00", f"{MINUS}13.00 ± 1.01"),
    )


def test_routing_table_has_a_row_for_each_level_and_convolution():
    assert routing_table(ANALYSIS).rows == (
        ("1", "first 1×1", "0.020", "4.0", "25.0", "0.50"),
        ("5", "first 1×1", "0.060", "4.0", "25.0", "0.30"),
        ("5", "last 1×1", "0.200", "4.0", "25.0", "0.10"),
    )


def test_numbers_are_of_the_file(tmp_path):
    numbers = inside_numbers(load(tmp_path, json.dumps(ANALYSIS)))
    assert {name: number.text for name, number in numbers.items() if "±" not in number.text} == {
        "inside.se.gates_mean.top1": "50.00",
        "inside.se.gates_other.top1": "40.00",
        "inside.se_cond.routing_mean.top1": "60.00",
        "inside.se_cond.largest_routing_mean.top1": "71.00",
        "inside.se_cond.routing_other.top1": "61.00",
        "inside.se_cond.folded.top1": "60.00",
        "inside.standard.initial_similarity": "0.98",
        "inside.routing.sd_expand": "0.040",
        "inside.routing.sd_project": "0.200",
        "inside.routing.sd_largest": "0.200",
        "inside.routing.largest": "last 1×1 of block 2 of 2",
        "inside.routing.saturated": "4.0",
        "inside.routing.between": "25.0",
        "inside.routing.similarity_expand": "0.40",
        "inside.routing.similarity_project": "0.10",
    }
    gain = numbers["inside.pair.se.standard"]
    assert gain.value == 2.0 and gain.low < 2.0 < gain.high
    assert numbers["inside.pair.folded.se"].value == -12.0
    assert numbers["inside.se_cond.folded.change"].value == -13.0
    assert numbers["inside.se_cond.routing_mean.change"].sources == ("results/paper/analysis.json",)


def test_figure_draws_the_deviation_by_block_over_depth():
    figure = figure_7(ANALYSIS)
    routing, gates = figure.axes
    drawn = {line.get_label(): line.get_xydata().tolist() for axes in (routing, gates) for line in axes.lines}
    assert drawn["first 1×1"] == [[1, 0.02], [2, 0.06]] and drawn["last 1×1"] == [[2, 0.2]]
    assert drawn["B"] == drawn["C"] == [[1, 0.1]]
    assert [label.get_text() for label in gates.get_xticklabels()] == ["1", "5"]
    with applied():
        figure.draw_without_rendering()
    assert all(axes.yaxis.label.get_window_extent().x0 > 0 for axes in (routing, gates))  # not cut off
    other = copy.deepcopy(ANALYSIS)
    other["modules"][0]["sd"] = 0.2
    assert figure_7(other).data_digest != figure_7(ANALYSIS).data_digest


def test_profile_that_was_not_analysed_has_none(tmp_path):
    assert load_analysis(tmp_path, "paper") is None


@pytest.mark.parametrize("content", ["{", json.dumps(ANALYSIS | {"images": 0})])
def test_damaged_analysis_is_one_line(tmp_path, content):
    with refused(r"analysis.json is damaged \(.*run notebooks/analysis.ipynb again\.$"):
        load(tmp_path, content)


def test_analysis_of_other_weights_is_one_line(tmp_path):
    weights = tmp_path / "paper" / "se-seed0" / "weights.safetensors"
    digest = hashlib.sha256(b"then").hexdigest()
    content = json.dumps(ANALYSIS | {"weights": {"se-seed0": digest}})
    assert load(tmp_path, content)["images"] == ANALYSIS["images"]  # weights that are not shipped say nothing
    weights.parent.mkdir()
    weights.write_bytes(b"now")
    with refused(r"analysis.json is about other weights than .*se-seed0"):
        load_analysis(tmp_path, "paper")
    weights.write_bytes(b"then")
    assert load_analysis(tmp_path, "paper")["source"] == "results/paper/analysis.json"
