import csv
import json
import shutil

import pytest
import torch

from xnnlib import epochs, records, runtime, training
from xnnlib.data import load_dataset
from xnnlib.errors import UserError
from xnnlib.spec import BLOCKS, RECIPES, NetworkSpec

CPU = torch.device("cpu")
RECIPE = RECIPES["paper"].scaled(epochs=2, batch_size=8, crop=16)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return load_dataset("shapes", num_classes=3, train_images=24, val_images=9, size=18, cache_dir=cache)


def spec(block):
    return NetworkSpec(block, num_classes=3)


def without_times(run_dir):
    record = json.loads((run_dir / "record.json").read_text())
    for name in ("started", "train_seconds", "images_per_second"):
        del record[name]
    rows = list(csv.DictReader((run_dir / "epochs.csv").open()))
    for row in rows:
        del row["seconds"]
    return record, rows, (run_dir / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("block", BLOCKS)
def test_the_same_seed_gives_the_same_record_twice(dataset, block, tmp_path):
    for name in ("first", "second"):
        training.fit(spec(block), dataset, RECIPE, tmp_path / name, device=CPU)
    assert without_times(tmp_path / "first") == without_times(tmp_path / "second")
    training.fit(spec(block), dataset, RECIPE, tmp_path / "third", seed=1, device=CPU)
    assert without_times(tmp_path / "first")[1] != without_times(tmp_path / "third")[1]


def test_a_complete_run_is_not_trained_again(dataset, tmp_path, monkeypatch):
    first = training.fit(spec("standard"), dataset, RECIPE, tmp_path / "run", device=CPU)
    monkeypatch.setattr(training, "Trainer", None)
    assert training.fit(spec("standard"), dataset, RECIPE, tmp_path / "run", device=CPU) == first
    with pytest.raises(UserError, match="holds a run with seed 0, not 5"):
        training.fit(spec("standard"), dataset, RECIPE, tmp_path / "run", seed=5, device=CPU)


def test_a_run_folder_holds_the_whole_story(dataset, tmp_path):
    run = training.fit(spec("se_cond"), dataset, RECIPE, tmp_path / "run", profile="quick", device=CPU)
    assert sorted(path.name for path in run.path.iterdir()) == [
        ".lock",
        "epochs.csv",
        "record.json",
        "weights.safetensors",
    ]
    record = run.record
    assert record["profile"] == "quick" and record["block"] == "se_cond" and record["complete"] is True
    assert record["dataset"] == {
        "name": "shapes",
        "num_classes": 3,
        "train_images": 24,
        "val_images": 9,
        "fingerprint": dataset.fingerprint,
    }
    assert record["last"]["top1"] == run.epochs["val_top1"][-1]
    assert record["best"]["top1"] == max(run.epochs["val_top1"])
    assert run.epochs["epoch"] == [1, 2]
    assert record["device"]["type"] == "cpu" and record["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize("there, ran", [(True, "bfloat16"), (False, "float32")])
def test_the_record_names_the_precision_that_the_device_has(there, ran, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "has_bfloat16", lambda device: there)
    run = training.fit(spec("standard"), dataset, RECIPE, tmp_path / "run", device=CPU)
    assert run.record["recipe"]["precision"] == ran


def test_the_saved_weights_give_the_recorded_accuracy(dataset, tmp_path):
    run = training.fit(spec("se_cond"), dataset, RECIPE, tmp_path / "run", device=CPU)
    loss, top1 = epochs.evaluate(training.load_trained(run, CPU), dataset.val, RECIPE, CPU)
    assert loss == pytest.approx(run.record["last"]["loss"], rel=1e-2)
    assert round(top1, 4) == run.record["last"]["top1"]


def test_weights_that_do_not_fit_are_one_line(dataset, tmp_path):
    run = training.fit(spec("se"), dataset, RECIPE, tmp_path / "run", device=CPU)
    weights = run.path / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(UserError, match="weights.safetensors is damaged"):
        training.load_trained(run, CPU)
    other = training.fit(spec("standard"), dataset, RECIPE, tmp_path / "other", device=CPU)
    weights.write_bytes((other.path / "weights.safetensors").read_bytes())
    with pytest.raises(UserError, match="does not hold the weights of this code's network") as error:
        training.load_trained(run, CPU)
    assert "\n" not in str(error.value)


def test_the_command_line_trains_and_explains(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XNNLIB_CACHE", str(tmp_path / "cache"))
    tiny = ["--num-classes", "2", "--train-images", "8", "--val-images", "4", "--crop", "16"]
    tiny += ["--epochs", "1", "--batch-size", "4", "--run-dir", str(tmp_path / "run")]
    assert training.main([*tiny]) == 0
    assert "after epoch 1" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "run")
    assert training.main([*tiny, "--block", "squeeze"]) == 2
    assert capsys.readouterr().err == (
        "error: block 'squeeze' is unknown; choose one of standard, se, se_cond.\n"
    )
    assert not (tmp_path / "run").exists()


def test_records_read_by_the_library_are_the_files_of_the_run(dataset, tmp_path):
    run = training.fit(
        spec("standard"),
        dataset,
        RECIPE,
        tmp_path / "p" / "standard-seed0",
        profile="p",
        device=CPU,
    )
    assert records.load_runs(tmp_path, "p") == [run]
