"""The data that a profile's runs train on are those that are packed before them."""

import pytest
from pack_data import main

from xnnlib import load_images
from xnnlib.settings import Settings

PROFILE = "dataset: shapes\nnum_classes: 3\ntrain_images: 60\nval_images: 9\ncrop: 28\n"


@pytest.mark.parametrize(
    ("more", "counts"), [("", "60 training and 9"), ("hold_out: true\n", "54 training and 6")]
)
def test_what_a_run_loads_is_packed_and_told(tmp_path, monkeypatch, capsys, more, counts):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XNNLIB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/own.yaml").write_text(PROFILE + more)
    assert main("own") == 0
    images = load_images(Settings(num_classes=3, train_images=60, val_images=9, crop=28, hold_out=bool(more)))
    assert capsys.readouterr().out == (
        f"shapes: 3 classes\n{counts} validation images\nfingerprint: {images.fingerprint}\n"
    )
    (packed,) = (tmp_path / "cache").glob("*.safetensors")  # the run's, by the same key


def test_a_data_set_that_is_not_there_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/own.yaml").write_text("dataset: folder\ndata_root: nowhere\n")
    assert main("own") == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1 and "nowhere" in told
