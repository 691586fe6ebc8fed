import pytest
import torch

from xnnlib.data import cache
from xnnlib.data.images import Dataset, PackedImages, Split
from xnnlib.errors import UserError


def dataset():
    sizes = torch.tensor([(4, 6), (5, 4)])
    pixels = torch.arange(3 * 44, dtype=torch.uint8)
    split = Split(PackedImages(pixels, sizes), torch.tensor([0, 1]))
    other = Split(PackedImages(pixels.flip(0), sizes.clone()), torch.tensor([1, 0]))
    return Dataset("folder", ["año", "b"], split, other, "f" * 64)


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "new" / "x.safetensors"
    cache.save(path, dataset(), "identity")
    loaded, expected = cache.load(path, "identity"), dataset()
    assert (loaded.name, loaded.class_names, loaded.fingerprint) == ("folder", ["año", "b"], "f" * 64)
    for name in ("train", "val"):
        split, reference = getattr(loaded, name), getattr(expected, name)
        assert torch.equal(split.labels, reference.labels)
        assert torch.equal(split.images.pixels, reference.images.pixels)
        assert torch.equal(split.images.sizes, reference.images.sizes)
    assert [file.name for file in path.parent.iterdir()] == ["x.safetensors"]


def truncate(content):
    return content[:-1]


def flip_last_byte(content):
    return content[:-1] + bytes([content[-1] ^ 1])


def empty(content):
    return b""


@pytest.mark.parametrize("damage", [truncate, flip_last_byte, empty])
def test_damage_is_found(tmp_path, damage):
    path = tmp_path / "x.safetensors"
    cache.save(path, dataset(), "identity")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(cache.Stale, match="damaged"):
        cache.load(path, "identity")


def test_another_source_or_format_is_stale(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    cache.save(path, dataset(), "identity")
    with pytest.raises(cache.Stale, match="source has changed"):
        cache.load(path, "another")
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    with pytest.raises(cache.Stale, match="version"):
        cache.load(path, "identity")


@pytest.mark.parametrize("step", ["save_file", "os.replace"])
def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch, step):
    def full_disk(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"xnnlib.data.cache.{step}", full_disk)
    with pytest.raises(UserError, match="cannot be written .*No space left.*XNNLIB_CACHE"):
        cache.save(tmp_path / "x.safetensors", dataset(), "identity")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XNNLIB_CACHE", str(tmp_path))
    assert cache.cache_folder(None) == tmp_path
    assert cache.cache_folder(tmp_path / "own") == tmp_path / "own"
    monkeypatch.delenv("XNNLIB_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder(None) == tmp_path / ".cache" / "xnnlib"
