import json
from pathlib import Path

import pytest
import torch
from report_runs import example

from xnnlib import records
from xnnlib.errors import UserError


def make_run(folder, block="standard", seed=0, complete=True):
    record, rows = example(block, seed, profile=folder.parent.name)
    records.save_record(folder, record | {"complete": complete})
    records.save_epochs(folder, rows)


def test_a_run_reads_back_as_it_was_written(tmp_path):
    make_run(tmp_path / "quick" / "run")
    run = records.load_run(tmp_path / "quick" / "run")
    assert run.record["block"] == "standard"
    assert run.epochs["epoch"] == [1, 2, 3]
    assert run.epochs["val_top1"] == [20.0, 41.0, 40.2]
    header = (tmp_path / "quick" / "run" / "epochs.csv").read_text().splitlines()[0]
    assert header == "epoch,learning_rate,train_loss,train_top1,val_loss,val_top1,seconds"


def test_runs_come_by_block_in_the_paper_s_order_then_by_seed(tmp_path):
    for block, seed in (("se_cond", 0), ("standard", 10), ("se", 0), ("standard", 2)):
        make_run(tmp_path / "paper" / f"{block}-seed{seed}", block, seed)
    runs = records.load_runs(tmp_path, "paper")
    assert [(run.record["block"], run.record["seed"]) for run in runs] == [
        ("standard", 2), ("standard", 10), ("se", 0), ("se_cond", 0),
    ]  # fmt: skip


def test_a_profile_without_records_says_how_to_make_them(tmp_path):
    with pytest.raises(UserError, match="make reproduce PROFILE=paper"):
        records.load_runs(tmp_path, "paper")


def test_an_incomplete_run_is_refused(tmp_path):
    make_run(tmp_path / "paper" / "se-seed0", complete=False)
    with pytest.raises(UserError, match="se-seed0 is not complete"):
        records.load_runs(tmp_path, "paper")


@pytest.mark.parametrize(
    "name, content", [("record.json", "{"), ("record.json", "[]"), ("epochs.csv", "epoch\n1\n")]
)
def test_a_damaged_file_is_one_line(tmp_path, name, content):
    make_run(tmp_path / "quick" / "run")
    (tmp_path / "quick" / "run" / name).write_text(content)
    with pytest.raises(UserError, match="run is damaged"):
        records.load_run(tmp_path / "quick" / "run")


def changed(path, value):
    """The record of `example` with the field at `path` set, or left out where the value is None."""
    record, _ = example()
    *above, name = path.split(".")
    place = record
    for part in above:
        place = place[part]
    if value is None:
        del place[name]
    else:
        place[name] = value
    return record


@pytest.mark.parametrize(
    "path, value, words",
    [
        ("recipe", [], r"recipe is \[\], not a JSON object"),
        ("recipe.epochs", "10", "recipe.epochs is '10', not a whole number of at least 1"),
        ("recipe.batch_size", True, "recipe.batch_size is True, not a whole"),
        ("recipe.peak_learning_rate", float("nan"), "recipe.peak_learning_rate is nan, not a finite number"),
        ("recipe.precision", "float8", "precision 'float8' is unknown"),
        ("recipe.speed", 1, "recipe has the unknown field 'speed'"),
        ("network.table", [1], "network has the unknown field 'table'"),
        ("network.width", -1.0, "network.width is -1.0, not a finite number"),
        ("network.filter_size", 4, "filter_size is 4; it must be odd"),
        ("block", "sse", "block is 'sse', not one of standard, se, se_cond"),
        ("block", ["se"], r"block is \['se'\], not one of"),
        ("seed", -1, "seed is -1, not a whole number of at least 0"),
        ("seed", 10**30, "seed is 1000.*, not a whole number"),
        ("dataset.val_images", 0, "dataset.val_images is 0, not a whole number of at least 1"),
        ("dataset.fingerprint", None, "dataset.fingerprint is missing"),
        ("device", "cpu", "device is 'cpu', not a JSON object"),
        ("device.threads", None, "device.threads is missing"),
        ("versions.torch", 2, "versions.torch is 2, not a line of text"),
        ("profile", "two\nlines", "profile is .*, not a line of text"),
        ("complete", "yes", "complete is 'yes', not true or false"),
        ("last", None, "last is missing"),
        ("last.top1", 140.0, "last.top1 is 140.0, not a number from 0 to 100"),
        ("best.epoch", 4, "the last epoch is 3 and the best one is 4 of 3"),
        ("train_seconds", float("inf"), "train_seconds is inf, not a finite number above 0"),
        ("images_per_second", 0, "images_per_second is 0, not a finite number above 0"),
        ("epochs", 4, "the last epoch is 3"),
    ],
)
def test_a_damaged_field_is_named(tmp_path, path, value, words):
    make_run(tmp_path)
    (tmp_path / "record.json").write_text(json.dumps(changed(path, value)))
    with pytest.raises(UserError, match=f"is damaged \\(.*{words}.*; delete the folder and train") as raised:
        records.load_run(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("1.9", "nan", "row 3: val_loss is nan, not a finite number"),
        ("1.9", "1e999", "row 3: val_loss is inf, not a finite number"),
        ("1.9", "much", "could not convert string to float: 'much'"),
        ("1.9", "-1.9", "row 3: val_loss is -1.9, not a finite number"),
        ("1.9", "", "could not convert string to float: ''"),
        ("1.9", "1.9,1", "epochs.csv has other columns"),
        ("seconds", "minutes", "epochs.csv has other columns"),
        ("\n3,", "\n4,", "does not count its epochs 1, 2, 3"),
        ("\n3,0.1,1.5,41.5,1.7000000000000002,40.2,30.0", "", "epochs.csv has 2 epochs, the record 3"),
    ],
)
def test_damaged_epochs_are_named(tmp_path, old, new, words):
    make_run(tmp_path)
    path = tmp_path / "epochs.csv"
    text = path.read_text().replace("1.7000000000000002", "1.9") if old == "1.9" else path.read_text()
    assert text.count(old) >= 1
    start, _, end = text.rpartition(old)
    path.write_text(start + new + end)
    with pytest.raises(UserError, match=f"is damaged \\(.*{words}.*; delete the folder") as raised:
        records.load_run(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"1" * 5000, b"null", b""])
def test_a_record_that_is_no_object_is_one_line(tmp_path, content):
    make_run(tmp_path)
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        records.load_run(tmp_path)


def test_a_run_folder_that_cannot_be_read_is_named(tmp_path):
    make_run(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="record.json cannot be read .Not a directory"):
        records.load_run(tmp_path / "file")
    (tmp_path / "run" / "epochs.csv").unlink()
    (tmp_path / "run" / "epochs.csv").mkdir()
    with pytest.raises(UserError, match="epochs.csv cannot be read .Is a directory"):
        records.load_run(tmp_path / "run")


def test_a_run_that_stopped_needs_no_result(tmp_path):
    record, rows = example()
    for name in ("epochs", "last", "best", "train_seconds", "images_per_second"):
        del record[name]
    records.save_record(tmp_path, record | {"complete": False})
    records.save_epochs(tmp_path, rows[:1])
    assert records.load_run(tmp_path).epochs["epoch"] == [1]


def test_records_of_older_settings_are_filled_in(tmp_path):
    record, rows = example()
    del record["recipe"]["averaging_decay"]
    records.save_record(tmp_path, record | {"network": {"num_classes": 10}})
    records.save_epochs(tmp_path, rows)
    run = records.load_run(tmp_path)
    assert run.record["recipe"]["averaging_decay"] == 0.0
    assert run.record["network"]["width"] == 1.0 and run.record["network"]["num_classes"] == 10


def test_committed_records_are_whole():
    results = Path(__file__).parents[1] / "results"
    for path in results.glob("*/*/record.json"):
        assert records.load_run(path.parent).record["complete"]


def test_a_missing_file_is_named(tmp_path):
    make_run(tmp_path / "run")
    (tmp_path / "run" / "epochs.csv").unlink()
    with pytest.raises(UserError, match="epochs.csv is missing"):
        records.load_run(tmp_path / "run")


def test_weights_read_back_within_half_precision(tmp_path):
    state = {"filter": torch.randn(8, 4), "variance": torch.tensor([1e6, 1e-9])}
    records.save_weights(tmp_path, state)
    loaded = records.load_weights(tmp_path)
    torch.testing.assert_close(loaded["filter"].float(), state["filter"], rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(loaded["variance"], state["variance"], rtol=0, atol=0)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"seed": 1}, "holds a run with seed 0, not 1"),
        ({"recipe": {"epochs": 9}}, "holds a run with recipe epochs 8, not 9"),
    ],
)
def test_another_run_in_the_folder_is_refused_by_what_differs(tmp_path, change, words):
    found = {"profile": "p", "block": "se", "seed": 0, "recipe": {"epochs": 8}, "network": {}, "dataset": {}}
    records.require_same_run(tmp_path, found, found)
    with pytest.raises(UserError, match=words):
        records.require_same_run(tmp_path, found, found | change)


def test_a_loss_that_is_vast_but_finite_can_be_read(tmp_path):
    record, rows = example()
    rows[1]["val_loss"] = 3e32
    records.save_record(tmp_path, record)
    records.save_epochs(tmp_path, rows)
    assert records.load_run(tmp_path).epochs["val_loss"][1] == 3e32
