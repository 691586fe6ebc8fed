import os

import pytest
import torch
from small_archives import WNIDS, image_folder, refused, tiny_imagenet, write_folder, write_zip

from xnnlib.data import load_dataset
from xnnlib.spec import DATASETS


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("XNNLIB_CACHE", str(folder))
    return folder


def test_fingerprint_is_over_content_not_container(tmp_path):
    """The official zip asked for its first classes, a zip of those alone, and a folder give one."""
    official = write_zip(tmp_path / "official.zip", tiny_imagenet())
    subset = write_zip(tmp_path / "subset.zip", tiny_imagenet(WNIDS[:3]))
    folder = write_folder(tmp_path / "unpacked", tiny_imagenet(WNIDS[:3]))
    loaded = [load_dataset("tiny-imagenet", root, num_classes=3) for root in (official, subset, folder)]
    assert len({dataset.fingerprint for dataset in loaded}) == 1
    assert loaded[0].class_names == loaded[1].class_names == list(WNIDS[:3])
    assert torch.equal(loaded[0].train.images.pixels, loaded[2].train.images.pixels)


@pytest.mark.parametrize("name", DATASETS)
def test_second_call_reads_the_cache(tmp_path, monkeypatch, name):
    roots = {
        "shapes": "",
        "tiny-imagenet": write_zip(tmp_path / "t.zip", tiny_imagenet()),
        "imagenet64": write_folder(tmp_path / "course", image_folder()),
        "folder": write_folder(tmp_path / "own", image_folder()),
    }
    first = load_dataset(name, roots[name], num_classes=2, train_images=6, val_images=2)

    def refuse(*arguments, **options):
        raise AssertionError("packed again")

    monkeypatch.setattr("xnnlib.data.pack.create", refuse)
    second = load_dataset(name, roots[name], num_classes=2, train_images=6, val_images=2)
    assert (len(second.train), len(second.val)) == (6, 2)
    assert second.fingerprint == first.fingerprint and second.class_names == first.class_names
    assert torch.equal(second.train.images.pixels, first.train.images.pixels)
    assert torch.equal(second.train.labels, first.train.labels)
    with pytest.raises(AssertionError, match="packed again"):
        load_dataset(name, roots[name], num_classes=2, train_images=4, val_images=2)


def test_changed_source_or_damaged_cache_is_packed_again(tmp_path, cache_dir, capsys):
    root = write_folder(tmp_path / "own", image_folder())
    before = load_dataset("folder", root)
    (root / "train/cat/0.jpg").write_bytes((root / "train/cat/1.jpg").read_bytes())
    changed = load_dataset("folder", root).fingerprint
    assert changed != before.fingerprint and "packing again" in capsys.readouterr().err
    (path,) = cache_dir.glob("*.npy")
    path.write_bytes(path.read_bytes()[:-1000])
    assert load_dataset("folder", root).fingerprint == changed and "packing again" in capsys.readouterr().err
    load_dataset("folder", root)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("shape", {}, "dataset 'shape' is unknown; choose one of shapes, .* Did you mean 'shapes'"),
        ("shapes", {"num_classes": 17}, "num_classes is 17; shapes has 16"),
        ("shapes", {"num_classes": 10, "train_images": 5}, "train_images is 5 for 10 classes"),
        ("shapes", {"num_classes": -1}, "num_classes is -1; it must be an integer"),
        ("shapes", {"val_images": 2.5}, "val_images is 2.5; it must be an integer"),
        ("shapes", {"size": 4}, "size is 4; it must be an integer of at least 8"),
        ("folder", {"data_root": "/nowhere"}, "data_root '/nowhere' does not exist"),
    ],
)
def test_mistakes_are_one_line(name, options, message):
    with refused(message):
        load_dataset(name, **options)


@pytest.mark.skipif(not os.environ.get("XNNLIB_TINY_IMAGENET"), reason="XNNLIB_TINY_IMAGENET names no data")
def test_real_tiny_imagenet():
    dataset = load_dataset("tiny-imagenet", num_classes=5)
    assert dataset.class_names == sorted(dataset.class_names) and dataset.class_names[0] == "n01443537"
    assert dataset.train.labels.bincount().tolist() == [500] * 5
    assert dataset.val.labels.bincount().tolist() == [50] * 5
    assert dataset.train.images.sizes.unique(dim=0).tolist() == [[64, 64]]
