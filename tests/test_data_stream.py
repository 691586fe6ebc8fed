import os

import numpy as np
import pytest
import torch

from xnnlib.data import Dataset, PackedImages, cache, placed, stream, train_batches, val_batches
from xnnlib.data.pack import Packer
from xnnlib.errors import UserError

UNIFORM = [(32, 32)] * 40
RAGGED = [(32, 32 + k % 7) if k % 2 else (32 + k % 5, 32) for k in range(40)]


@pytest.fixture(params=[UNIFORM, RAGGED], ids=["uniform", "ragged"])
def path(request, tmp_path):
    """A cache file of 40 training and 40 validation images."""

    def pack(file):
        generator, splits = np.random.default_rng(0), {}
        for name in ("train", "val"):
            packer = Packer(file)
            for label, size in enumerate(request.param):
                packer.add(generator.integers(0, 256, (3, *size), dtype=np.uint8), label)
            splits[name] = packer.split()
        return Dataset("folder", [str(k) for k in range(40)], **splits, fingerprint="f" * 64)

    cache.create(tmp_path / "x.safetensors", "identity", pack, progress=False)
    return tmp_path / "x.safetensors"


def load(path):
    return cache.load(path, "identity", progress=False)


def epoch(split, **options):
    return list(train_batches(split, 2, 28, torch.Generator().manual_seed(5), **options))


def same(batches, others):
    for (images, labels), (other_images, other_labels) in zip(batches, others, strict=True):
        assert torch.equal(images, other_images) and torch.equal(labels, other_labels)


@pytest.mark.parametrize("options", [{}, {"first_batch": 7}, {"share": (1, 2)}, {"first_batch": 20}], ids=str)
def test_training_batches_are_those_of_the_resident_split(path, options):
    split = load(path).train
    batches = epoch(split, **options)
    same(batches, epoch(split.to("cpu"), **options))
    assert len(batches) == 20 - options.get("first_batch", 0)


@pytest.mark.parametrize("options", [{}, {"share": (1, 3)}], ids=str)
def test_validation_batches_are_those_of_the_resident_split(path, options):
    split = load(path).val
    batches = list(val_batches(split, 3, 28, 32, **options))
    same(batches, val_batches(split.to("cpu"), 3, 28, 32, **options))
    assert sum(len(labels) for _, labels in batches) == (13 if options else 40)


def test_a_selection_stays_in_the_file(path):
    dataset = load(path)
    indices = torch.tensor([3, 4, 5, 39, 0])
    chosen = dataset.train.select(indices)
    assert isinstance(chosen.images, stream.StoredImages)
    assert chosen.images.nbytes == sum(dataset.train.images[int(index)].numel() for index in indices)
    resident = dataset.train.to("cpu").select(indices)
    assert torch.equal(chosen.to("cpu").images.pixels, resident.images.pixels)
    same(epoch(chosen), epoch(resident))


def test_no_more_is_read_ahead_than_was_agreed(path, monkeypatch):
    split, reads = load(path).train, []
    read_at = stream.read_at

    def counted(file, view, offset):
        reads.append(offset)
        read_at(file, view, offset)

    monkeypatch.setattr(stream, "read_at", counted)
    batches = train_batches(split, 2, 28, torch.Generator())
    next(batches)
    batches.close()
    assert 1 < len(reads) <= 2 * (stream._AHEAD + 1)
    stopped = len(reads)
    list(train_batches(split, 2, 28, torch.Generator()))
    assert len(reads) > stopped + 20


def test_a_split_is_streamed_beyond_its_share_of_the_memory(path, monkeypatch):
    split = load(path).train
    monkeypatch.setattr(stream, "free_memory", lambda device: 2 * split.images.nbytes)
    resident = placed(split, "cpu")
    assert isinstance(resident.images, PackedImages)
    assert isinstance(placed(split, "cpu", memory_share=0.49).images, stream.StoredImages)
    assert placed(resident, "cpu", memory_share=0.49).images is resident.images
    same(epoch(placed(split, "cpu", memory_share=0.49)), epoch(resident))


def test_the_free_memory_is_some_of_this_machine_s():
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 2**20 < stream.free_memory("cpu") <= whole


def test_a_deleted_or_replaced_cache_does_no_harm(path):
    split = load(path).train
    before = epoch(split)
    path.unlink()
    same(epoch(split), before)
    path.write_bytes(b"another")
    same(epoch(split), before)


def test_a_cache_cut_short_is_a_line_and_is_packed_anew(path):
    dataset = load(path)
    resident = dataset.train.to("cpu")
    before = epoch(resident)
    batches = train_batches(dataset.train, 2, 28, torch.Generator())
    next(batches)
    os.truncate(path, 4096)
    with pytest.raises(
        UserError, match=r"x\.safetensors was cut short while it was read; run again"
    ) as raised:
        list(batches)
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="cut short"):
        dataset.val.to("cpu")
    same(epoch(resident), before)  # in memory of its own: nothing of it was in the file
    with pytest.raises(cache.Stale, match="damaged"):
        load(path)


def test_a_failing_disk_is_a_line(path, monkeypatch):
    split = load(path).train

    def fail(*arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(
        UserError, match=r"x\.safetensors cannot be read \(Input/output error\); check the disk"
    ):
        epoch(split)
