"""What was varied: each run beside its base, what differs read from the records."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from report_runs import change_record, write_run

from xnnlib import complexity
from xnnlib.errors import Diverged
from xnnlib.report.experiments import Experiment, experiment_numbers, experiment_table, load_experiments
from xnnlib.spec import NetworkSpec, recipe_for


def profile(name, base="small", blocks=("standard", "se"), seeds=(0, 1)):
    """An entry of the list of runs."""
    names = [f"{block}-seed{seed}" for block in blocks for seed in seeds]
    return SimpleNamespace(name=name, base=base, run_names=lambda: names)


@pytest.fixture
def found(tmp_path):
    """Block B with two seeds in its base, narrower with both, by another routine with one; more not run."""
    recipe = recipe_for("paper", "se")
    other = replace(recipe, weight_decay=5e-4, smallest_crop=0.25)
    for seed, shift in enumerate((0.0, 2.0)):
        write_run(tmp_path, "se", seed, shift)
        write_run(tmp_path, "se", seed, shift - 1 - seed, profile="narrow", network={"width": 0.5})
    write_run(tmp_path, "se", 0, 1.0, profile="routine", recipe=replace(other, precision="float32"))
    names = ("small", "narrow", "routine", "not-run")
    return load_experiments(tmp_path / "results", {name: profile(name) for name in names})


def test_only_what_was_run_is_an_experiment(found):
    shown = [(one.profile, one.block, len(one.runs)) for one in found]
    assert shown == [("narrow", "se", 2), ("routine", "se", 1)]


def test_run_that_diverged_is_not_left_out(tmp_path):
    run = write_run(tmp_path, "se", profile="narrow")
    step = {"epoch": 1, "step": 2, "steps_per_epoch": 3, "learning_rate": 0.1, "checkpoint": None}
    change_record(run.path, complete=False, diverged=step)
    with pytest.raises(Diverged, match="narrow/se-seed0 diverged"):
        load_experiments(tmp_path / "results", {"narrow": profile("narrow")})


def test_changes_are_read_from_the_records(found):
    narrow, routine = found
    assert narrow.changes() == {"width": 0.5}
    assert narrow.change_text() == "width ×0.5"
    assert set(routine.change_text().split("; ")) == {"weight decay 0.0005", "smallest random crop 0.25"}
    network = narrow.base_runs[0].record["network"] | {"gate": "none", "depthwise_fan_out": "layer"}
    other = replace(narrow.runs[0], record=narrow.runs[0].record | {"network": network})
    assert narrow._replace(runs=[other]).change_text() == "without gates; smaller initial filters"


def test_other_images_are_a_change(found):
    narrow, _ = found
    data = narrow.runs[0].record["dataset"] | {"train_images": 2500}
    other = replace(narrow.runs[0], record=narrow.base_runs[0].record | {"dataset": data})
    assert narrow._replace(runs=[other]).change_text() == "train images 2,500"


def test_gain_of_seeds_that_the_base_lacks_is_not_paired(found):
    narrow, _ = found
    others = [replace(run, record=run.record | {"seed": run.record["seed"] + 2}) for run in narrow.runs]
    (row,) = experiment_table([narrow._replace(runs=others)]).rows
    assert row[6] == "" and row[7].startswith("\N{MINUS SIGN}1.5")


def test_each_is_compared_with_its_base(found):
    narrow, routine = experiment_table(found).rows
    macs, coefficients = complexity.total(complexity.count(NetworkSpec("se", 10, width=0.5)))
    assert narrow[:5] == ("B", "width ×0.5", f"{macs / 1e6:.1f}", f"{coefficients / 1e6:.2f}", "2")
    assert narrow[6] == "\N{MINUS SIGN}1.5 ± 6.4"  # the differences -1 and -2: 12.706 * 0.5
    assert routine[5] == "44.4"
    # One run beside 43.4 and 45.4: 12.706 * sqrt(2) * sqrt(1 + 1 / 2), paired or not.
    assert routine[6:] == ("", "+0.0 ± 22.0", "float32")


def test_numbers_say_what_was_gained_and_from_which_runs(found):
    numbers = experiment_numbers(found)
    gain = numbers["narrow.se.top1_gain"]
    assert gain.value == pytest.approx(-1.5) and gain.interval[0] < gain.value < gain.interval[1]
    assert [source.split("/")[1] for source in gain.sources] == ["narrow"] * 2 + ["small"] * 2
    assert numbers["narrow.se.top1"].sources == ("results/narrow/se-seed0", "results/narrow/se-seed1")
    assert numbers["narrow.se.seeds"].value == 2 and numbers["routine.se.precision"].text == "float32"


def test_blocks_of_one_profile_are_compared_by_seed(tmp_path):
    runs = {
        block: [write_run(tmp_path, block, seed, profile="x/y") for seed in (0, 1)]
        for block in ("standard", "se")
    }
    found = experiment_numbers([Experiment("x/y", block, own, []) for block, own in runs.items()])
    assert found["x-y.se.top1_gain_seeds_over_standard"].text == "+3.2 and +3.2"
    assert not [key for key in found if "standard.top1_gain" in key]


def test_an_experiment_on_an_experiment_is_compared_with_that_one(tmp_path):
    for seed in (0, 1):
        for block in ("standard", "se"):
            write_run(tmp_path, block, seed)
            write_run(tmp_path, block, seed, 1.0, profile="narrow", network={"width": 0.5})
        write_run(tmp_path, "standard", seed, 3.0, profile="both", network={"width": 0.5, "expansion": 2})
    names = {"small": "small", "narrow": "small", "both": "narrow"}
    profiles = {name: profile(name, base) for name, base in names.items()}
    found = load_experiments(tmp_path / "results", profiles)
    changes = [row[1] for row in experiment_table(found).rows]
    assert changes == ["width ×0.5", "width ×0.5", "width ×0.5; Nₑ/Nᵢ 2"]
    numbers = experiment_numbers(found)
    assert numbers["both.standard.top1_gain"].value == pytest.approx(2)
    # Over block B, which it was not trained with: the 3.2 that B is ahead less those two.
    assert numbers["both.standard.top1_gain_over_se"].value == pytest.approx(2 - 3.2)
    assert "narrow.standard.top1_gain_over_se" not in numbers  # that profile has a B of its own


def test_a_block_that_its_base_lacks_stands_without_a_gain(tmp_path):
    write_run(tmp_path, "standard")
    write_run(tmp_path, "se", profile="alone")
    (one,) = load_experiments(tmp_path / "results", {name: profile(name) for name in ("small", "alone")})
    assert experiment_table([one]).rows[0][6:8] == ("", "")
    assert not [key for key in experiment_numbers([one]) if "gain" in key]


def test_a_base_that_is_no_profile_has_no_runs(tmp_path):
    run = write_run(tmp_path, "se", profile="study/one")
    (one,) = load_experiments(tmp_path / "results", {"study/one": profile("study/one", base="study")})
    assert ([own.path for own in one.runs], one.base) == ([run.path], [])
