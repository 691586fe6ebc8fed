"""Verification passes on what a run left, and fails on each kind of damage."""

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from small_archives import image_folder, write_folder

from xnnlib import training, verify
from xnnlib.data import load_images
from xnnlib.settings import Settings

ASKED = {"profile": "tiny", "num_classes": 2, "train_images": 20, "val_images": 40}
ASKED |= {"epochs": 1, "batch_size": 10, "crop": 16, "width": 0.25}


def train(folder, **asked):
    return training.train(Settings(**ASKED | asked, run_dir=str(folder)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A profile of one tiny run with its checksums."""
    folder = tmp_path_factory.mktemp("results") / "tiny"
    train(folder / "standard-seed0")
    verify.write_checksums(folder)
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "results" / "tiny")


def edit_record(copy, change):
    path = copy / "standard-seed0" / "record.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    verify.write_checksums(copy)


def test_the_page_reproduce_evaluates_a_run_as_its_record_says(trained, tmp_path, capsys):
    page = (Path(__file__).parents[1] / "book" / "reproduce.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    Image.new("RGB", (30, 20), "red").save(tmp_path / "photo.jpg")
    named = {"results/paper/standard-seed0": trained / "standard-seed0", "photo.jpg": tmp_path / "photo.jpg"}
    for name, path in named.items():
        code = code.replace(name, str(path))
    found = {}
    exec(code, found)
    record = json.loads((trained / "standard-seed0" / "record.json").read_text())
    assert found["dataset"].fingerprint == record["dataset"]["fingerprint"]
    # The page computes in float32; one image of the 40 is 2.5 points.
    assert 100 * found["right"].float().mean().item() == pytest.approx(record["last"]["top1"], abs=5.1)
    assert capsys.readouterr().out.splitlines()[-1] in found["dataset"].class_names


ALL = {"dataset": "folder", "train_images": 0, "val_images": 0}


@pytest.mark.parametrize(
    "asked", [ALL, ALL | {"hold_out": True}, ALL | {"train_images": 17}, {"hold_out": True}], ids=str
)
def test_run_is_verified_on_the_images_that_it_asked_for(asked, tmp_path, cache):
    # Classes of unequal size.
    files = image_folder(("a",), 23, 6) | image_folder(("b",), 11, 3)
    data = str(write_folder(tmp_path / "images", files))
    folder = tmp_path / "tiny"
    run = train(folder / "standard-seed0", data_root=data, **asked)
    packed = sorted(cache.iterdir())
    assert verify.load_images_of(run, data).fingerprint == run.record["dataset"]["fingerprint"]
    assert sorted(cache.iterdir()) == packed, "packed a second time"
    verify.write_checksums(folder)
    _, good = verify.verify(folder, data)
    assert good


def test_run_that_fit_was_given_no_parameters_for_is_verified(tmp_path, capsys):
    settings, run_dir = Settings(**ASKED), tmp_path / "tiny" / "standard-seed0"
    training.fit(settings.network, load_images(settings), settings.routine, run_dir, profile="tiny")
    verify.write_checksums(tmp_path / "tiny")
    assert verify.main([str(tmp_path / "tiny")]) == 0
    shown = capsys.readouterr().out
    assert "A: inverted residual" in shown and "ok" in shown and "All runs verified" in shown


def test_older_record_is_verified_by_what_it_says(copy):
    def age(record):
        for name in ("routing", "conditional_from", "gate"):
            del record["parameters"][name], record["network"][name]
        record["parameters"]["recipe_changes"] = ""
        record["recipe"] |= {"averaging_decay": 0.0, "batch_norm": "synchronised"}
        del record["code"], record["recipe"]["routing_learning_rate"]

    edit_record(copy, age)
    assert verify.main([str(copy)]) == 0


def test_damaged_parameters_are_one_line(copy, capsys):
    edit_record(copy, lambda record: record["parameters"].update(train_images=[1]))
    assert verify.main([str(copy)]) == 2
    assert "error: train_images is [1]; it must be" in capsys.readouterr().err


def test_changed_file_fails(copy, capsys):
    path = copy / "standard-seed0" / "epochs.csv"
    path.write_bytes(path.read_bytes().replace(b"\n1,", b"\n01,"))
    assert verify.main([str(copy)]) == 1
    shown = capsys.readouterr()
    assert "epochs.csv: changed" in shown.err and "FAILED" in shown.out and "NOT VERIFIED" in shown.out


def test_missing_and_additional_files_fail(copy, capsys):
    (copy / "standard-seed0" / "epochs.csv").rename(copy / "standard-seed0" / "other.csv")
    with pytest.raises(verify.UserError, match="epochs.csv is missing"):
        verify.verify(copy)
    problems = verify.check_files(copy)
    assert problems == {"standard-seed0/epochs.csv": "missing", "standard-seed0/other.csv": "no checksum"}


def test_device_without_bfloat16_evaluates_in_float32(copy, monkeypatch):
    edit_record(copy, lambda record: record["recipe"].update(precision="bfloat16"))
    used, plain = [], verify.evaluate
    monkeypatch.setattr(verify, "evaluate", lambda *given: used.append(given[2].precision) or plain(*given))
    for has, precision in ((False, "float32"), (True, "bfloat16")):
        monkeypatch.setattr(verify.runtime, "has_bfloat16", lambda device, has=has: has)
        assert verify.main([str(copy)]) == 0
        assert used.pop() == precision


@pytest.mark.parametrize(
    "change, verdict",
    [
        (lambda record: record["last"].update(top1=record["last"]["top1"] - 25.0), "points of top-1 off"),
        (
            lambda record: record["last"].update(loss=record["last"]["loss"] + 0.02),
            "of the loss off, 0.01 allowed",
        ),
        (lambda record: record["dataset"].update(fingerprint="0" * 64), "other data"),
    ],
    ids=["top-1", "loss", "data"],
)
def test_record_that_the_weights_do_not_reach_fails(copy, change, verdict, capsys):
    edit_record(copy, change)
    assert verify.main([str(copy)]) == 1
    assert verdict in capsys.readouterr().out


def test_only_what_rounding_can_do_is_allowed():
    last = {"top1": 50.0, "loss": 1.0}
    for top1, loss, images in ((50.5, 1.0, 5000), (51.6, 1.0, 500), (50.0, 1.009, 5000)):
        assert verify.judge(last, loss, top1, images) == "ok"
    for top1, loss, images in ((51.8, 1.0, 500), (50.0, 0.989, 500), (50.0, float("nan"), 500)):
        assert verify.judge(last, loss, top1, images).startswith("FAILED")


def test_run_without_weights_is_said_to_ship_none(copy, capsys):
    (copy / "standard-seed0" / "weights.safetensors").unlink()
    assert verify.main([str(copy)]) == 1  # the checksums have them
    assert "weights.safetensors: missing" in capsys.readouterr().err
    verify.write_checksums(copy)
    assert verify.main([str(copy)]) == 0
    shown = capsys.readouterr().out
    assert "no weights are shipped" in shown and "0 of 1 runs verified" in shown


def test_no_checksums_are_one_line(copy, capsys):
    assert verify.main([str(copy.with_name("another"))]) == 2
    line = capsys.readouterr().err
    assert line.endswith(f"these profiles can be checked: {copy.name}.\n") and line.count("\n") == 1
    (copy / verify.CHECKSUMS).unlink()
    assert verify.main([str(copy)]) == 2
    assert capsys.readouterr().err.endswith("these profiles can be checked: none.\n")


def test_ctrl_c_is_one_line(copy, capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(verify, "verify", interrupted)
    assert verify.main([str(copy)]) == 130
    assert capsys.readouterr().err == "interrupted; nothing was changed.\n"
