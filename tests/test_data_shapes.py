import numpy as np
import pytest
import torch

from xnnlib.data import load_dataset
from xnnlib.data.shapes import CLASS_NAMES, OUTLINES, make_image, signed_distance


def make(*counts, **options):
    return load_dataset("shapes", "", *counts, **options)


def pixels(split):
    return torch.stack([split.images[index] for index in range(len(split))])


def test_seed_alone_decides_the_bytes_on_every_machine():
    """The fingerprint of a small set, as first made; a deliberate change of the pictures changes it."""
    found = make(10, 20, 10, size=24).fingerprint
    assert found == "0898c337512b86029c44803b5230d53ddc1316e4c9bf4acb7000d511dbf4271e"
    assert make(10, 20, 10, size=24, seed=8).fingerprint != found


def test_first_images_do_not_depend_on_how_many_there_are():
    small, large = make(2, 6, 4, size=16).train, make(4, 40, 8, size=16).train
    for label in (0, 1):
        few, many = (pixels(split)[split.labels == label] for split in (small, large))
        assert torch.equal(few, many[: len(few)])


def test_splits_and_images_are_all_different():
    dataset = make(10, 200, 200, size=24)
    every = torch.cat([pixels(dataset.train), pixels(dataset.val)]).flatten(1)
    assert len(every.unique(dim=0)) == 400
    # Images of one index share not even the background.
    first = every[:200:20].double()
    assert torch.cdist(first, first, p=1)[~torch.eye(10, dtype=bool)].min() > 20 * every.shape[1]


@pytest.mark.parametrize("size", [8, 33, 100])
def test_any_size_shows_the_same_scene(size):
    images = [torch.from_numpy(make_image(3, 5, pixels)).float() for pixels in (size, 64)]
    coarse = [torch.nn.functional.adaptive_avg_pool2d(image, 4) for image in images]
    assert images[0].shape == (3, size, size) and (coarse[0] - coarse[1]).abs().mean() < 12


def test_defaults_are_all_classes_and_a_hundred_and_twenty_of_each():
    dataset = make(size=8)
    assert dataset.class_names == list(CLASS_NAMES)
    assert dataset.train.labels.bincount().tolist() == [100] * len(CLASS_NAMES)
    assert dataset.val.labels.bincount().tolist() == [20] * len(CLASS_NAMES)


def colours(images):
    """Mean, deviation and an eight-bin histogram of each channel: all about colour, nothing of shape."""
    bins = [((images >= k / 8) & (images < (k + 1) / 8)).double().mean(dim=2) for k in range(8)]
    return torch.cat([images.mean(dim=2), images.std(dim=2), *bins], dim=1)


@pytest.mark.parametrize("features, bound", [(colours, 0.2), (lambda images: images.flatten(1), 0.3)])
def test_neither_colours_nor_single_pixels_tell_the_class(features, bound):
    """A linear classifier stays near chance, 10 %; a network, which sees shape, reaches 40 % soon."""
    dataset = make(10, 1000, 400, size=16)
    train, val = (features(pixels(split).flatten(2).double() / 255) for split in (dataset.train, dataset.val))
    train, val = (torch.cat([part, torch.ones(len(part), 1)], dim=1) for part in (train, val))
    target = torch.nn.functional.one_hot(dataset.train.labels, 10).double()
    ridge = 30 * torch.eye(train.shape[1]).double()
    weights = torch.linalg.solve(train.T @ train + ridge, train.T @ target)
    assert ((val @ weights).argmax(dim=1) == dataset.val.labels).double().mean() < bound


STEP = 0.02
GRID = np.arange(-1.5, 1.5, STEP) + STEP / 2
FIELDS = {name: signed_distance(parts, GRID[None], -GRID[:, None]) for name, parts in OUTLINES.items()}


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_outlines_are_signed_distances_of_things_of_one_extent(name):
    """Never steeper than one to one, nearly that outside: an edge is one pixel wide at every scale."""
    distance = FIELDS[name]
    rows, columns = np.nonzero(distance < 0)
    low, high = (np.array([f(GRID[columns]), f(-GRID[rows])]) for f in (np.min, np.max))
    assert 1.65 < (high - low).max() < 2.05 and np.abs(low + high).max() < 0.55
    for axis in (0, 1):
        assert np.abs(np.diff(distance, axis=axis)).max() < 1.001 * STEP
    assert np.median(np.hypot(*np.gradient(distance, STEP))[distance > 0.1]) > 0.9


def test_areas_are_those_of_geometry():
    areas = {name: (field < 0).sum() * STEP**2 for name, field in FIELDS.items()}
    expected = {
        "circle": np.pi,
        "square": 1.8**2,
        "triangle": 1.7,
        "ring": np.pi * (1 - 0.36),
        "plus": 2 * 2 * 0.68 - 0.68**2,
    }
    assert {name: areas[name] for name in expected} == pytest.approx(expected, rel=0.02)


def test_no_outline_is_another_or_its_mirror_image():
    masks = {name: field < 0 for name, field in FIELDS.items()}
    for first, name in enumerate(CLASS_NAMES):
        for other in CLASS_NAMES[first + 1 :]:
            for mask in (masks[other], masks[other][:, ::-1]):
                assert (masks[name] & mask).sum() / (masks[name] | mask).sum() < 0.9, (name, other)
