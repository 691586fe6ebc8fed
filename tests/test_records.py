import json

import pytest
import torch
from machine_places import ROOT
from report_runs import changed, example
from safetensors.torch import load_file, save_file
from tiny_run import CPU, SPEC

from xnnlib import records
from xnnlib.errors import UserError
from xnnlib.model import Network
from xnnlib.records import Run, load_run, load_runs, load_trained, load_weights


def make_run(folder, block="standard", seed=0, **changes):
    record, rows = example(block, seed, profile=folder.parent.name)
    records.save_record(folder, record | changes)
    records.save_epochs(folder, rows)


def refusal(folder) -> str:
    """The one line with which a run folder is refused."""
    with pytest.raises(UserError) as raised:
        load_run(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_run_reads_back_as_it_was_written(tmp_path):
    record, rows = example()
    rows[1]["val_loss"] = 3e32  # vast but finite
    records.save_record(tmp_path, record)
    records.save_epochs(tmp_path, rows)
    run = load_run(tmp_path)
    assert run.record.items() >= {name: record[name] for name in record if name != "network"}.items()
    assert run.epochs == {name: [row[name] for row in rows] for name in records.EPOCH_COLUMNS}
    header = (tmp_path / "epochs.csv").read_text().splitlines()[0]
    assert header == "epoch,learning_rate,train_loss,train_top1,val_loss,val_top1,seconds"


def test_runs_come_by_block_then_by_seed(tmp_path):
    order = [("standard", 2), ("standard", 10), ("se", 0), ("se_cond", 0)]
    for block, seed in reversed(order):
        make_run(tmp_path / "paper" / f"{block}-seed{seed}", block, seed)
    assert [(run.record["block"], run.record["seed"]) for run in load_runs(tmp_path, "paper")] == order


def test_profile_without_records_says_how_to_make_them(tmp_path):
    with pytest.raises(UserError, match="make reproduce PROFILE=paper"):
        load_runs(tmp_path, "paper")


def test_incomplete_run_is_refused(tmp_path):
    make_run(tmp_path / "paper" / "se-seed0", complete=False)
    with pytest.raises(UserError, match="se-seed0 is not complete"):
        load_runs(tmp_path, "paper")


@pytest.mark.parametrize(
    "path, value, words",
    [
        ("recipe.batch_norm", "per_process", "recipe: parameter 'batch_norm' is unknown"),
        ("recipe.momentum", ..., "recipe.momentum is missing"),
        ("network.experts", ..., "network.experts is missing"),
        ("network.filter_size", 4, "network: filter_size is 4; it must be odd"),
        ("block", "sse", "block 'sse' is unknown; choose one of standard, se, se_cond"),
        ("seed", -1, "seed is -1; it must be at least 0"),
        ("dataset.fingerprint", ..., "dataset.fingerprint is missing"),
        ("device.threads", ..., "device.threads is missing"),
        ("versions.torch", ..., "versions.torch is missing"),
        ("versions.numpy", 2, "versions.numpy is 2; it must be text"),
        ("profile", "two\nlines", "profile is 'two\\nlines'; it must be one line"),
        ("parameters", [1], "parameters is [1]; it must be a mapping"),
        ("complete", "yes", "complete is 'yes'; it must be true or false"),
        ("last", ..., "last is missing"),
        ("best.epoch", 4, "the last epoch is 3 and the best one is 4 of 3"),
        ("train_seconds", float("inf"), "train_seconds is inf; it must be a finite number"),
    ],
)
def test_damaged_field_is_named(tmp_path, path, value, words):
    make_run(tmp_path)
    (tmp_path / "record.json").write_text(json.dumps(changed(example()[0], path.split("."), value)))
    line = refusal(tmp_path)
    assert f"is damaged ({words}" in line
    assert line.endswith("; restore the file, or train in another run_dir.")


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("1.7000000000000002", "nan", "row 3: val_loss is 'nan'; it must be a finite number"),
        ("1.7000000000000002", "", "row 3: val_loss is ''; it must be a number"),
        ("1.7000000000000002", "-1,1", "epochs.csv has other columns"),
        ("seconds", "minutes", "epochs.csv has other columns"),
        ("\n3,", "\n4,", "epochs.csv does not count its epochs 1, 2, 3"),
        ("\n3,0.1,1.5,41.5,1.7000000000000002,40.2,30.0", "", "epochs.csv has 2 epochs, the record 3"),
    ],
)
def test_damaged_epochs_are_named(tmp_path, old, new, words):
    make_run(tmp_path)
    text = (tmp_path / "epochs.csv").read_text()
    assert text.count(old) == 1
    (tmp_path / "epochs.csv").write_text(text.replace(old, new))
    assert words in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe", b"1" * 5000])
def test_record_that_is_no_object_is_one_line(tmp_path, content):
    make_run(tmp_path)
    (tmp_path / "record.json").write_bytes(content)
    assert "is damaged" in refusal(tmp_path)


def test_missing_or_unreadable_file_is_named(tmp_path):
    make_run(tmp_path / "run")
    (tmp_path / "file").touch()
    assert "record.json cannot be read (Not a directory)" in refusal(tmp_path / "file")
    epochs = tmp_path / "run" / "epochs.csv"
    epochs.unlink()
    assert "epochs.csv is missing" in refusal(tmp_path / "run")
    epochs.mkdir()
    assert "epochs.csv cannot be read (Is a directory)" in refusal(tmp_path / "run")


def test_older_record_is_filled_in_with_what_every_run_had_then(tmp_path):
    record, rows = example()
    record["recipe"] |= {"averaging_decay": 0.0, "batch_norm": "synchronised"}
    newer = {
        "recipe": {"weight_decay_on": "all", "label_smoothing": 0.0, "smallest_crop": 0.08},
        "network": {"filter_size": 3, "expansion": 4, "width": 1.0, "routing": "equalised"},
    }
    for part, values in newer.items():
        record[part] = {name: value for name, value in record[part].items() if name not in values}
    records.save_record(tmp_path, record)
    records.save_epochs(tmp_path, rows)
    run = load_run(tmp_path)
    for part, values in newer.items():
        assert {name: run.record[part][name] for name in values} == values
    assert (run.recipe.momentum, run.spec.reduction, run.spec.conditional_from) == (0.9, 4, 1)


def test_committed_records_are_as_their_commit_wrote_them():
    paths = sorted((ROOT / "results").rglob("record.json"))
    assert paths
    for path in paths:
        run, written = load_run(path.parent), json.loads(path.read_text())
        assert run.record["complete"]
        for part in ("recipe", "network"):
            # Nothing but the fields that came later is new, and no value is another.
            known = {name: value for name, value in run.record[part].items() if name in written[part]}
            gone = {"averaging_decay": 0.0, "batch_norm": "synchronised"}
            assert known == {name: v for name, v in written[part].items() if gone.get(name, ...) != v}


def test_weights_read_back_within_half_precision(tmp_path):
    state = {"filter": torch.randn(8, 4), "variance": torch.tensor([1e6, 1e-9])}
    records.save_weights(tmp_path, state)
    loaded = load_weights(tmp_path)
    torch.testing.assert_close(loaded["filter"].float(), state["filter"], rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(loaded["variance"], state["variance"], rtol=0, atol=0)


def test_trained_network_is_read_back_and_what_does_not_fit_is_one_line(tmp_path):
    network = Network.of(SPEC)
    records.save_weights(tmp_path, network.state_dict())
    run = Run(tmp_path, {"block": "se", "network": SPEC.sizes()}, {})
    loaded = load_trained(run, CPU)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=1e-3, atol=1e-7)
    path = tmp_path / records.WEIGHTS
    whole, state = path.read_bytes(), load_file(path)
    del state["stages.0.0.0.weight"]
    save_file(state, path)
    with pytest.raises(UserError, match="does not hold the weights of this code's network") as error:
        load_trained(run, CPU)
    assert "\n" not in str(error.value)
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match="weights.safetensors is damaged"):
        load_weights(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match="weights.safetensors is missing"):
        load_weights(tmp_path)


def test_other_run_in_the_folder_is_refused_by_what_differs(tmp_path):
    found, _ = example()
    records.require_same_run(tmp_path, found, found)
    with pytest.raises(UserError, match="holds a run with recipe epochs 30, not 9; choose another run_dir"):
        records.require_same_run(tmp_path, found, changed(found, ("recipe", "epochs"), 9))
