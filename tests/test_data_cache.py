import json
import os
import resource

import numpy as np
import pytest
import torch
from safetensors import safe_open

from xnnlib.data import cache
from xnnlib.data.images import Dataset
from xnnlib.data.pack import Packer
from xnnlib.errors import UserError

SIZES = {"train": [(4, 6), (5, 4), (3, 7)], "val": [(5, 5), (4, 4)]}


def images(name):
    generator = np.random.default_rng(len(name))
    return [generator.integers(0, 256, (3, *size), dtype=np.uint8) for size in SIZES[name]]


def pack(file):
    splits = {}
    for name in SIZES:
        packer = Packer(file)
        for label, image in enumerate(images(name)):
            packer.add(image, label)
        splits[name] = packer.split()
    return Dataset("folder", ["año", "b", "c"], **splits, fingerprint="f" * 64)


def create(path, pack=pack):
    return cache.create(path, "identity", pack, progress=False)


def load(path, source="identity"):
    return cache.load(path, source, progress=False)


@pytest.mark.parametrize("again", [False, True], ids=["just packed", "loaded"])
def test_what_is_packed_is_loaded(tmp_path, again):
    path = tmp_path / "new" / "x.safetensors"
    dataset = create(path)
    if again:
        dataset = load(path)
    assert (dataset.name, dataset.class_names, dataset.fingerprint) == ("folder", ["año", "b", "c"], "f" * 64)
    for name, sizes in SIZES.items():
        split = getattr(dataset, name)
        assert split.labels.tolist() == list(range(len(sizes)))
        assert split.images.sizes.tolist() == [list(size) for size in sizes]
        for index, image in enumerate(images(name)):
            np.testing.assert_array_equal(split.images[index].numpy(), image)
    assert [file.name for file in path.parent.iterdir()] == ["x.safetensors"]


def test_it_is_a_safetensors_file(tmp_path):
    """As the package itself reads it."""
    create(tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["xnnlib"])["fingerprint"] == "f" * 64
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    assert json.loads(bytes(tensors["class_names"].numpy())) == ["año", "b", "c"]
    for name, sizes in SIZES.items():
        expected = np.concatenate([image.ravel() for image in images(name)])
        np.testing.assert_array_equal(tensors[f"{name}.pixels"].numpy(), expected)
        assert tensors[f"{name}.sizes"].tolist() == [list(size) for size in sizes]
        assert tensors[f"{name}.labels"].dtype == torch.int64


def truncate(content):
    return content[:-1]


def flip_last_byte(content):
    return content[:-1] + bytes([content[-1] ^ 1])


def lengthen(content):
    return content + b"\0"


def flip_a_pixel(content):
    return content[:4100] + bytes([content[4100] ^ 128]) + content[4101:]


def change_the_fingerprint(content):
    return content.replace(b"f" * 64, b"f" * 63 + b"e")


def overlong_header(content):
    return b"\xff" * 8 + content[8:]


def header_alone(content):
    return content[:4096]


def empty(content):
    return b""


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        lengthen,
        flip_last_byte,
        flip_a_pixel,
        change_the_fingerprint,
        overlong_header,
        header_alone,
        empty,
    ],
)
def test_damage_is_found(tmp_path, damage):
    path = tmp_path / "x.safetensors"
    create(path)
    load(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(cache.Stale, match="damaged"):
        load(path)


def test_another_source_or_format_is_stale(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    create(path)
    with pytest.raises(cache.Stale, match="source has changed"):
        load(path, "another")
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    with pytest.raises(cache.Stale, match="version"):
        load(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch, step):
    def full_disk(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full_disk)
    with pytest.raises(UserError, match=r"x\.safetensors cannot be written \(No space left.*free space"):
        create(tmp_path / "x.safetensors")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_packing_leaves_the_old_cache(tmp_path):
    path = tmp_path / "x.safetensors"
    create(path)
    before = path.read_bytes()

    def pack_much(file):
        packer = Packer(file)
        for _ in range(1000):
            packer.add(np.zeros((3, 64, 64), np.uint8), 0)
        raise AssertionError("written beyond the limit")

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(UserError, match=r"x\.safetensors cannot be written .*free space") as raised:
            create(path, pack_much)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(raised.value)
    assert os.listdir(tmp_path) == ["x.safetensors"] and path.read_bytes() == before


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XNNLIB_CACHE", str(tmp_path))
    assert cache.cache_folder(None) == tmp_path
    assert cache.cache_folder(tmp_path / "own") == tmp_path / "own"
    monkeypatch.delenv("XNNLIB_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder(None) == tmp_path / ".cache" / "xnnlib"
