"""The study of block C's routing: a hand-made one, its table, numbers and figure."""

import hashlib
import json

import pytest
from machine_places import ROOT
from report_runs import write_run

from xnnlib.errors import UserError
from xnnlib.profiles import load_profiles
from xnnlib.report.estimates import MINUS
from xnnlib.report.experiments import Experiment, load_experiments
from xnnlib.report.routing import LOOKS, STUDY, TITLES, figure_8, load_study, study_numbers, study_table
from xnnlib.spec import NetworkSpec


def looked_into(lost):
    sd = {"expand": 0.1, "depthwise": 0.02, "project": 0.003}
    without = {"routing_mean": {"gained": 10, "lost": lost}, "routing_other": {"gained": 0, "lost": 200}}
    outliers = {"outliers": lost // 20, "median_loss": 1.25, "scale": 1234.5}
    return {"weights": "", "images": 1000, "sd": sd, "without": without} | outliers


def steps(loss):
    scale = [[1.0, 40.0]] * 12
    routing = [9.0, 0.0] + [0.125] * 6 + [9.0] * 4
    return {"loss": [loss] * 12, "routing": routing, "scale": scale, "device": {"type": "cpu"}}


STUDIED = {
    "runs": {f"routing/from-4/se_cond-seed{seed}": looked_into(lost) for seed, lost in ((0, 60), (1, 160))},
    "first_epoch": {kind: steps(loss) for kind, loss in zip(LOOKS, (2.5, 2.6, 3.0, 3.1), strict=True)},
}


def trained(root, name, seeds=(0,), shift=0.0, block="se_cond", **sizes):
    """An experiment of one way to route; each seed is a point above the one before it."""
    runs = [write_run(root, block, seed, seed + shift, profile=name, network=sizes) for seed in seeds]
    return Experiment(name, block, runs, [])


LATE = {"routing": "zero_init", "conditional_from": 4}


@pytest.fixture
def experiments(tmp_path):
    return [
        trained(tmp_path, "routing/none", block="se"),
        trained(tmp_path, "routing/from-4", (0, 1), **LATE),
        trained(tmp_path, "small-width", block="se"),
    ]


def test_table_has_a_row_for_each_way_to_route(experiments):
    # 10 gained less 110 lost of 1,000 images: 10 points, and 1.96 * sqrt((0.12 - 0.01) / 1000) about it.
    none, late = study_table(experiments, STUDIED).rows
    assert none == ("none, one expert (block B)", "43.4", "", "", "", "", "")
    assert late[:5] == ("unscaled, from zero, only from level 4 on", "38.6, 39.6", "0.100", "0.020", "0.003")
    assert late[5:] == (f"{MINUS}10.0 ± 2.1", f"{MINUS}20.0 ± 2.5")


def test_runs_that_were_not_looked_into_or_overflow_have_their_accuracy_alone(experiments):
    overflown = {name: found | {"scale": None} for name, found in STUDIED["runs"].items()}
    for runs in ({}, overflown):
        _, late = study_table(experiments, {"runs": runs, "first_epoch": {}}).rows
        assert late[1:] == ("38.6, 39.6", "", "", "", "", "")
        told = study_numbers(experiments[1:], {"runs": runs, "first_epoch": {}})["study.overflown"].text
        title = "unscaled, from zero, only from level 4 on"
        assert told == ("; ".join(f"{title}, seed {seed}" for seed in (0, 1)) if runs else "none")


def test_numbers_are_of_the_runs_and_of_the_first_epoch(experiments):
    numbers = study_numbers(experiments, STUDIED)
    change = numbers["routing-from-4.routing_mean"]
    assert change.value == -10 and change.low < -10 < change.high
    assert change.sources == ("results/routing/from-4/se_cond-seed0", "results/routing/from-4/se_cond-seed1")
    worst = {"worst_loss": "1.7", "outliers": "3", "median_loss": "1.2", "scale": "1,234"}  # seed 0's
    assert {name: numbers[f"routing-from-4.{name}"].text for name in worst} == worst
    assert numbers["routing-from-4.first_loss"].value == experiments[1].runs[0].epochs["val_loss"][0]
    assert numbers["routing-from-4.routing_mean_seeds"].text == f"{MINUS}5.0 and {MINUS}15.0"
    assert numbers["study.chance_loss"].value == pytest.approx(2.302585)
    assert (numbers["study.epochs"].value, numbers["study.seeds"].value) == (3, 1)
    assert study_numbers(experiments[1:], STUDIED)["study.seeds"].value == 2
    assert numbers["routing-from-4.over_none"].text == f"{MINUS}4.8"  # of the seed that both have
    assert "routing-from-4.over_frozen" not in numbers  # which was not run
    assert numbers["first-epoch.zero_init.routing"].text == "0.125"
    assert numbers["first-epoch.zero_init.first_block"].text == "1.0"
    assert numbers["first-epoch.zero_init.last_block"].text == "40"


def test_chosen_way_is_the_most_accurate_that_needs_its_routing(tmp_path):
    """The equalised one gains as much as it loses, and the one from level 4 loses more than its interval."""
    experiments = [
        trained(tmp_path, "routing/equalised", shift=2.0),
        trained(tmp_path, "routing/from-4", shift=1.0, **LATE),
        trained(tmp_path, "routing/zero_init", routing="zero_init"),
        trained(tmp_path, "routing/frozen", shift=3.0, routing="frozen"),
    ]
    lost = {"equalised": 10, "from-4": 60, "zero_init": 60, "frozen": 10}
    study = {"runs": {f"routing/{name}/se_cond-seed0": looked_into(own) for name, own in lost.items()}}
    numbers = study_numbers(experiments, study | {"first_epoch": {}})
    assert numbers["study.chosen"].text == "unscaled, from zero, only from level 4 on"
    assert numbers["study.best_over_frozen"].value == pytest.approx(-1)  # the equalised one's


def test_block_c_is_what_the_study_chose():
    experiments = load_experiments(ROOT / "results", load_profiles(ROOT))
    chosen = study_numbers(experiments, load_study(ROOT / "results"))["study.chosen"]
    assert chosen.text == TITLES[NetworkSpec("se_cond").routing]


def test_figure_draws_the_loss_and_the_last_block_of_each_step():
    loss, scale = figure_8(STUDIED).axes
    assert [line.get_label() for line in loss.lines][0] == "frozen at one half"
    assert loss.lines[1].get_xydata().tolist() == [[step, 2.6] for step in range(1, 13)]
    assert scale.lines[1].get_xydata().tolist() == [[step, 40.0] for step in range(1, 13)]


def test_study_that_was_not_made_is_empty_and_draws_nothing(tmp_path):
    study = load_study(tmp_path)
    assert study == {"runs": {}, "first_epoch": {}}
    with pytest.raises(UserError, match="study.json lacks frozen, equalised, zero_init, torch_init; run"):
        figure_8(study)


def test_damaged_study_or_one_of_other_weights_is_one_line(tmp_path):
    file = tmp_path / STUDY
    file.parent.mkdir()
    file.write_text('{"runs": {}}')
    with pytest.raises(UserError, match=r"study.json is damaged \(first_epoch is missing\)[^\n]*again\.$"):
        load_study(tmp_path)
    weights = tmp_path / "routing/frozen/se_cond-seed0/weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"then")
    found = looked_into(0) | {"weights": hashlib.sha256(b"then").hexdigest()}
    content = {"runs": {"routing/frozen/se_cond-seed0": found}, "first_epoch": STUDIED["first_epoch"]}
    file.write_text(json.dumps(content))
    assert load_study(tmp_path) == content
    weights.write_bytes(b"now")
    with pytest.raises(UserError, match=r"study.json is about other weights than [^\n]*frozen"):
        load_study(tmp_path)
