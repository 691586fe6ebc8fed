import json
from dataclasses import replace

import pytest
from tiny_run import CPU

from xnnlib import routing_study
from xnnlib.records import load_trained, load_weights, save_weights
from xnnlib.settings import Settings
from xnnlib.spec import RECIPES, NetworkSpec
from xnnlib.training import evaluate, fit

TINY = {"block": "se_cond", "num_classes": 3, "batch_size": 4, "crop": 16, "epochs": 1, "width": 0.25}
FLOAT32 = replace(RECIPES["paper"].scaled(1, 4, 16), precision="float32")
ASKED = Settings(**TINY, routing="torch_init")


@pytest.fixture(scope="module")
def watched(dataset):
    return routing_study.first_epoch(ASKED, dataset, CPU)


def test_the_watched_epoch_is_the_one_that_a_run_trains(watched, dataset, tmp_path):
    run = fit(ASKED.network, dataset, ASKED.routine, tmp_path / "run", device=CPU)
    (loss,) = run.epochs["train_loss"]
    assert sum(watched["loss"]) / len(watched["loss"]) == pytest.approx(loss, abs=1e-4)


def test_each_step_has_a_scale_for_each_block(watched):
    assert {len(values) for values in watched.values()} == {len(watched["loss"])}
    assert all(len(scales) == 16 and min(scales) >= 1 for scales in watched["scale"])
    assert min(watched["routing"]) > 0


def test_a_frozen_routing_does_not_differ_between_images(dataset):
    frozen = routing_study.first_epoch(Settings(**TINY, routing="frozen"), dataset, CPU)
    assert set(frozen["routing"]) == {0.0}


def test_outliers_are_the_images_of_which_the_network_is_sure_and_wrong(dataset, tmp_path):
    run = fit(NetworkSpec("se", 3, width=0.25), dataset, FLOAT32, tmp_path / "run", device=CPU)
    before = routing_study.outliers(run, dataset, CPU)
    assert before["outliers"] == 0 and before["scale"] >= 1
    weights = load_weights(run.path)
    save_weights(run.path, weights | {"stages.12.2.weight": 1e5 * weights["stages.12.2.weight"]})
    _, top1 = evaluate(load_trained(run, CPU), dataset.val, FLOAT32, CPU)
    wrong = round(len(dataset.val) * (100 - top1) / 100)
    sure = routing_study.outliers(run, dataset, CPU)
    assert sure["outliers"] == wrong > 0 and sure["scale"] == before["scale"]


def test_the_conditioning_of_a_run_is_kept_with_its_weights(dataset, tmp_path):
    spec = NetworkSpec("se_cond", 3, width=0.25, routing="torch_init")
    run = fit(spec, dataset, FLOAT32, tmp_path / "run", device=CPU)
    found = routing_study.conditioning(run, dataset, CPU)
    assert set(found["sd"]) == {"expand", "depthwise", "project"} and min(found["sd"].values()) > 0
    assert set(found["without"]) == {"routing_mean", "routing_other"}
    study, path = {"runs": {}, "first_epoch": {}}, tmp_path / "study.json"
    routing_study.add(study, "runs", "a", found, CPU, path)
    assert json.loads(path.read_text()) == study and study["runs"]["a"]["commit"]
