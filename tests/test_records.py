import pytest
import torch

from xnnlib import records
from xnnlib.errors import UserError

ROW = dict(zip(records.EPOCH_COLUMNS, (1, 0.002, 2.1, 20.5, 2.0, 25.25, 3.5), strict=True))


def make_run(folder, block="standard", seed=0, complete=True):
    record = {"profile": folder.parent.name, "block": block, "seed": seed, "complete": complete}
    records.save_record(folder, record)
    records.save_epochs(folder, [ROW, ROW | {"epoch": 2}])


def test_a_run_reads_back_as_it_was_written(tmp_path):
    make_run(tmp_path / "quick" / "run")
    run = records.load_run(tmp_path / "quick" / "run")
    assert run.record["block"] == "standard"
    assert run.epochs["epoch"] == [1, 2]
    assert run.epochs["val_top1"] == [25.25, 25.25]
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
