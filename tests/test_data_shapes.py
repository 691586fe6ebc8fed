import numpy as np
import pytest
import torch

from xnnlib.data import load_dataset
from xnnlib.data.shapes import CLASS_NAMES, EXTENT, NODES, contact_sheet, field, make_images

STEP = 2 * EXTENT / (NODES - 1)


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("XNNLIB_CACHE", str(tmp_path))


def make(*counts, **options):
    return load_dataset("shapes", "", *counts, progress=False, **options)


def pixels(split, size=32):
    return split.images.pixels.view(-1, 3, size, size)


def test_same_seed_same_bytes():
    first, second = make(3, 12, 6, size=32, seed=7), make(3, 12, 6, size=32, seed=7)
    assert first.fingerprint == second.fingerprint
    assert torch.equal(pixels(first.train), pixels(second.train))
    assert make(3, 12, 6, size=32, seed=8).fingerprint != first.fingerprint


def test_bytes_are_the_same_on_every_machine():
    """The fingerprint of a small set, as first made; a deliberate change of the pictures changes it."""
    assert (
        make(10, 20, 10, size=24).fingerprint
        == "1137c2d9c1b1f14e731fc9827289488823bcd2919553cb60d310d8f2202510a1"
    )


def test_first_images_do_not_depend_on_how_many_there_are():
    small, large = make(2, 6, 4, size=32), make(4, 40, 8, size=32)
    for label in (0, 1):
        few = pixels(small.train)[small.train.labels == label]
        many = pixels(large.train)[large.train.labels == label]
        assert torch.equal(few, many[: len(few)])


def test_splits_and_images_are_all_different():
    dataset = make(10, 200, 200, size=24)
    every = torch.cat([pixels(dataset.train, 24), pixels(dataset.val, 24)]).flatten(1)
    assert len(every.unique(dim=0)) == 400


@pytest.mark.parametrize("size", [8, 33, 64, 100])
def test_any_size_shows_the_same_scene(size):
    images = make_images([0, 3, 7], [0, 1, 2], size)
    assert images.shape == (3, 3, size, size) and images.dtype == np.uint8
    reference = make_images([0, 3, 7], [0, 1, 2], 64)
    coarse = [
        torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(x).float(), 4) for x in (images, reference)
    ]
    assert (coarse[0] - coarse[1]).abs().mean() < 12


def test_defaults_are_a_hundred_and_twenty_a_class():
    dataset = make(2, size=16)
    assert dataset.train.labels.bincount().tolist() == [100, 100]
    assert dataset.val.labels.bincount().tolist() == [20, 20]
    assert dataset.class_names == list(CLASS_NAMES[:2]) == ["circle", "three-bars"]


def test_every_class_can_be_drawn():
    dataset = make(0, len(CLASS_NAMES), len(CLASS_NAMES), size=16)
    assert dataset.train.labels.tolist() == list(range(len(CLASS_NAMES)))


def colours(images):
    """Mean, deviation and an eight-bin histogram of each channel: all about colour, nothing of shape."""
    flat = images.flatten(2).double() / 255
    bins = [((flat >= k / 8) & (flat < (k + 1) / 8)).double().mean(dim=2) for k in range(8)]
    return torch.cat([flat.mean(dim=2), flat.std(dim=2), *bins, torch.ones(len(flat), 1)], dim=1)


def test_colour_does_not_tell_the_class():
    """A linear classifier on colour statistics stays near chance, 10 %: a network has to see shape."""
    dataset = make(10, 1000, 400, size=24)
    train, val = colours(pixels(dataset.train, 24)), colours(pixels(dataset.val, 24))
    target = torch.nn.functional.one_hot(dataset.train.labels, 10).double()
    weights = torch.linalg.solve(train.T @ train + 0.1 * torch.eye(train.shape[1]).double(), train.T @ target)
    top1 = ((val @ weights).argmax(dim=1) == dataset.val.labels).double().mean()
    assert top1 < 0.22


def test_images_of_one_index_share_nothing():
    """Even backgrounds are drawn apart for each class."""
    images = make_images([0, 1, 2, 3], [0, 0, 0, 0], 24).reshape(4, -1).astype(float)
    assert np.abs(images[:, None] - images[None]).mean(axis=2)[~np.eye(4, dtype=bool)].min() > 20


def test_contact_sheet_holds_the_training_images():
    sheet = contact_sheet(num_classes=3, per_class=4, size=20, seed=2, gap=2)
    assert sheet.shape == (3 * 22 + 2, 4 * 22 + 2, 3) and sheet.dtype == np.uint8
    assert (sheet[:2] == 255).all() and (sheet[-2:] == 255).all() and (sheet[:, :2] == 255).all()
    image = make_images([2], [1], 20, seed=2)[0]
    np.testing.assert_array_equal(sheet[2 + 2 * 22 : 2 + 2 * 22 + 20, 24:44], image.transpose(1, 2, 0))


def test_outlines_are_centred_and_of_one_extent():
    for name in CLASS_NAMES:
        inside = field(name) < 0
        extents = []
        for axis in (0, 1):
            places = np.flatnonzero(inside.any(axis=axis)) * STEP - EXTENT
            assert abs(places[0] + places[-1]) < 4 * STEP, name
            extents.append(places[-1] - places[0])
        assert abs(max(extents) - 2) < 4 * STEP, name


def test_fields_are_signed_distances():
    """Never steeper than one to one, nearly that outside: an edge is one pixel wide at every scale."""
    for name in CLASS_NAMES:
        distance = field(name).astype(float)
        for axis in (0, 1):
            assert np.abs(np.diff(distance, axis=axis)).max() < 1.001 * STEP, name
        rise = np.hypot(*np.gradient(distance, STEP))
        assert np.median(rise[distance > 0.1]) > 0.9, name
    assert (field("circle") < 0).sum() * STEP**2 == pytest.approx(np.pi, rel=0.04)
    assert (field("ring") < 0).sum() * STEP**2 == pytest.approx(np.pi * (1 - 0.36), rel=0.05)


def test_no_outline_is_another_or_its_mirror_image():
    masks = {name: field(name) < 0 for name in CLASS_NAMES}
    for first, name in enumerate(CLASS_NAMES):
        for other in CLASS_NAMES[first + 1 :]:
            for mask in (masks[other], masks[other][:, ::-1]):
                shared = (masks[name] & mask).sum() / (masks[name] | mask).sum()
                assert shared < 0.9, (name, other)
