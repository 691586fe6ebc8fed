"""The data that a profile's runs train on are those that are packed before them."""

import pytest
from pack_data import main

from xnnlib import load_images
from xnnlib.profiles import load_profile

PROFILE = "dataset: shapes\nnum_classes: 3\ntrain_images: 60\nval_images: 9\ncrop: 28\nhold_out: true\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/runs.yaml").write_text("own: {blocks: [se], seeds: [0]}\n")
    (tmp_path / "profiles/own.yaml").write_text(PROFILE)
    return tmp_path


def test_what_a_run_loads_is_packed_and_told(project, cache, capsys):
    assert main("own") == 0
    packed = sorted(cache.iterdir())
    images = load_images(load_profile(project, "own").settings("se", 0))
    assert sorted(cache.iterdir()) == packed  # the run's, by the same key
    told = f"shapes: 3 classes\n54 training and 6 validation images\nfingerprint: {images.fingerprint}\n"
    assert capsys.readouterr().out == told == (project / "_build/own/data.txt").read_text()


def test_data_set_that_is_not_there_is_one_line(project, capsys):
    (project / "profiles/own.yaml").write_text("dataset: folder\ndata_root: nowhere\n")
    assert main("own") == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1 and "nowhere" in told
