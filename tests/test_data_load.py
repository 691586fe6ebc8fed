import os
from pathlib import Path

import pytest
import torch
from small_archives import WNIDS, image_folder, tiny_imagenet, write_folder, write_zip

from xnnlib.data import SOURCES, load_dataset
from xnnlib.errors import UserError


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("XNNLIB_CACHE", str(folder))
    return folder


def load(*arguments, **options):
    return load_dataset(*arguments, progress=False, **options)


def pixels(split):
    return split.images.pixels


@pytest.fixture
def no_packing(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("packed again")

    def switch():
        monkeypatch.setattr("xnnlib.data.pack.create", refuse)

    return switch


def test_fingerprint_is_over_content_not_container(tmp_path):
    """The official zip asked for its first classes, a zip of those alone, and a folder give one."""
    official = write_zip(tmp_path / "official.zip", tiny_imagenet())
    subset = write_zip(tmp_path / "subset.zip", tiny_imagenet(WNIDS[:3]))
    folder = write_folder(tmp_path / "unpacked", tiny_imagenet(WNIDS[:3]))
    loaded = [load("tiny-imagenet", root, num_classes=3) for root in (official, subset, folder)]
    assert len({dataset.fingerprint for dataset in loaded}) == 1
    assert loaded[0].class_names == loaded[1].class_names == list(WNIDS[:3])
    assert torch.equal(pixels(loaded[0].train), pixels(loaded[2].train))
    assert load("tiny-imagenet", official, num_classes=2).fingerprint != loaded[0].fingerprint
    assert load("tiny-imagenet", official, 3, train_images=9).fingerprint != loaded[0].fingerprint


@pytest.mark.parametrize("name", SOURCES)
def test_second_call_reads_the_cache(tmp_path, name, no_packing):
    roots = {
        "shapes": "",
        "tiny-imagenet": write_zip(tmp_path / "t.zip", tiny_imagenet()),
        "imagenet64": write_folder(tmp_path / "course", image_folder()),
        "folder": write_folder(tmp_path / "own", image_folder()),
    }
    first = load(name, roots[name], num_classes=2, train_images=6, val_images=2)
    no_packing()
    second = load(name, roots[name], num_classes=2, train_images=6, val_images=2)
    assert (len(second.train), len(second.val)) == (6, 2)
    assert second.fingerprint == first.fingerprint and second.class_names == first.class_names
    assert torch.equal(pixels(second.train), pixels(first.train))
    assert torch.equal(second.train.labels, first.train.labels)
    with pytest.raises(AssertionError, match="packed again"):
        load(name, roots[name], num_classes=2, train_images=4, val_images=2)


def test_changed_source_is_packed_again(tmp_path, capsys):
    root = write_folder(tmp_path / "own", image_folder())
    before = load("folder", root)
    (root / "train/cat/0.jpg").write_bytes((root / "train/cat/1.jpg").read_bytes())
    assert load("folder", root).fingerprint != before.fingerprint
    assert "the source has changed; packing again" in capsys.readouterr().err


def test_truncated_cache_is_packed_again(tmp_path, cache_dir, capsys):
    root = write_folder(tmp_path / "own", image_folder())
    before = pixels(load("folder", root).train)
    (path,) = cache_dir.glob("*.npy")
    path.write_bytes(path.read_bytes()[:-1000])
    assert torch.equal(pixels(load("folder", root).train), before)
    assert "it is damaged; packing again" in capsys.readouterr().err
    load("folder", root)
    assert capsys.readouterr().err == ""


def test_failure_leaves_no_cache(tmp_path, cache_dir):
    files = image_folder()
    files["val/eel/1.jpg"] = files["val/eel/1.jpg"][:-100]
    with pytest.raises(UserError, match=r"val/eel/1\.jpg"):
        load("folder", write_folder(tmp_path / "own", files))
    torn = write_zip(tmp_path / "t.zip", tiny_imagenet())
    torn.write_bytes(torn.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"t\.zip is not a whole zip"):
        load("tiny-imagenet", torn)
    assert not cache_dir.exists() or not list(cache_dir.iterdir())


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("shape", {}, "dataset 'shape' is unknown; choose one of shapes, .* Did you mean 'shapes'"),
        ("shapes", {"num_classes": 17}, "num_classes is 17; shapes has 16"),
        ("shapes", {"num_classes": 10, "train_images": 5}, "train_images is 5 for 10 classes"),
        ("shapes", {"num_classes": -1}, "num_classes is -1; it must be a whole number"),
        ("shapes", {"val_images": 2.5}, "val_images is 2.5; it must be a whole number"),
        ("shapes", {"size": 4}, "size is 4; it must be a whole number of at least 8"),
        ("folder", {"data_root": "/nowhere"}, "data_root '/nowhere' does not exist"),
        ("folder", {}, "data_root is empty"),
    ],
)
def test_mistakes_are_one_line(name, options, message):
    with pytest.raises(UserError, match=message) as raised:
        load(name, **options)
    assert "\n" not in str(raised.value)


REAL = os.environ.get("XNNLIB_TINY_IMAGENET", "")


@pytest.mark.skipif(not REAL, reason="XNNLIB_TINY_IMAGENET does not name Tiny ImageNet's zip or folder")
def test_real_tiny_imagenet():
    dataset = load("tiny-imagenet", Path(REAL), num_classes=5)
    assert dataset.class_names == sorted(dataset.class_names) and dataset.class_names[0] == "n01443537"
    assert (len(dataset.train), len(dataset.val)) == (2500, 250)
    assert dataset.train.labels.bincount().tolist() == [500] * 5
    assert dataset.val.labels.bincount().tolist() == [50] * 5
    assert dataset.train.images.sizes.unique(dim=0).tolist() == [[64, 64]]
    # Photographs: neighbouring pixels are alike, distant ones are not.
    images = pixels(dataset.val).view(-1, 3, 64, 64).float()
    assert (images[..., 1:] - images[..., :-1]).abs().mean() < 0.5 * (
        images[..., 32:] - images[..., :32]
    ).abs().mean()
