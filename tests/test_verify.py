"""Verification passes on what a run left, and fails on each kind of damage."""

import json
import shutil

import pytest

from xnnlib import verify
from xnnlib.data import load_dataset
from xnnlib.spec import NetworkSpec, recipe_for
from xnnlib.training import fit


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A profile of one tiny run with its checksums."""
    folder = tmp_path_factory.mktemp("results") / "tiny"
    recipe = recipe_for("paper", "standard").scaled(1, 10, 16)
    images = load_dataset("shapes", "", 2, 20, 40, size=recipe.resize, progress=False)
    fit(NetworkSpec("standard", 2), images, recipe, folder / "standard-seed0", profile="tiny")
    verify.write_checksums(folder)
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "results" / "tiny")


def test_what_a_run_left_is_verified(trained, capsys):
    assert verify.main([str(trained)]) == 0
    shown = capsys.readouterr().out
    assert "A: inverted residual" in shown and "ok" in shown and "All runs verified" in shown


@pytest.mark.parametrize("name", ["record.json", "epochs.csv", "weights.safetensors"])
def test_a_changed_file_fails(copy, name, capsys):
    path = copy / "standard-seed0" / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    if name == "record.json":
        content = path.read_bytes().replace(b'"seed": 0', b'"seed": 1')
    path.write_bytes(content)
    assert verify.main([str(copy)]) == 1
    shown = capsys.readouterr()
    assert f"{name}: changed" in shown.err and "FAILED" in shown.out and "NOT VERIFIED" in shown.out


def test_a_missing_and_an_additional_file_fail(copy, capsys):
    (copy / "standard-seed0" / "epochs.csv").rename(copy / "standard-seed0" / "other.csv")
    with pytest.raises(verify.UserError, match="damaged|missing|incomplete|train"):
        verify.verify(copy)
    problems = verify.check_files(copy)
    assert problems == {"standard-seed0/epochs.csv": "missing", "standard-seed0/other.csv": "no checksum"}


def test_a_device_without_bfloat16_evaluates_in_float32(copy, monkeypatch):
    edit_record(copy, lambda record: record["recipe"].update(precision="bfloat16"))
    used, plain = [], verify.evaluate
    monkeypatch.setattr(verify, "evaluate", lambda *given: used.append(given[2].precision) or plain(*given))
    for has, precision in ((False, "float32"), (True, "bfloat16")):
        monkeypatch.setattr(verify.runtime, "has_bfloat16", lambda device, has=has: has)
        assert verify.main([str(copy)]) == 0
        assert used.pop() == precision


def edit_record(copy, change):
    path = copy / "standard-seed0" / "record.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    verify.write_checksums(copy)


def test_an_accuracy_that_the_weights_do_not_reach_fails(copy, capsys):
    edit_record(copy, lambda record: record["last"].update(top1=record["last"]["top1"] - 25.0))
    assert verify.main([str(copy)]) == 1
    assert "points of top-1 off" in capsys.readouterr().out


def test_a_loss_that_the_weights_do_not_reach_fails(copy, capsys):
    edit_record(copy, lambda record: record["last"].update(loss=record["last"]["loss"] + 0.02))
    assert verify.main([str(copy)]) == 1
    assert "of the loss off, 0.01 allowed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "top1, loss, images, good",
    [
        (50.5, 1.0, 5000, True),
        (50.6, 1.0, 5000, False),
        (51.6, 1.0, 500, True),  # eight images
        (51.8, 1.0, 500, False),
        (50.0, 1.009, 5000, True),
        (50.0, 0.989, 5000, False),
        (50.0, float("nan"), 5000, False),
    ],
)
def test_the_verdict_is_by_accuracy_and_loss(top1, loss, images, good):
    assert (verify.judge({"top1": 50.0, "loss": 1.0}, loss, top1, images) == "ok") == good


def test_other_data_fails(copy, capsys):
    edit_record(copy, lambda record: record["dataset"].update(fingerprint="0" * 64))
    assert verify.main([str(copy)]) == 1
    assert "other data" in capsys.readouterr().out


def test_a_run_that_ships_no_weights_is_said_to_ship_none(copy, capsys):
    (copy / "standard-seed0" / "weights.safetensors").unlink()
    assert verify.main([str(copy)]) == 1  # the checksums have them
    assert "weights.safetensors: missing" in capsys.readouterr().err
    verify.write_checksums(copy)
    assert verify.main([str(copy)]) == 0
    shown = capsys.readouterr().out
    assert "no weights are shipped" in shown and "0 of 1 runs verified" in shown


def test_no_checksums_are_one_line(copy, capsys):
    (copy / verify.CHECKSUMS).unlink()
    assert verify.main([str(copy)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
