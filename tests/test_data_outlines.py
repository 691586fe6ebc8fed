import numpy as np
import pytest

from xnnlib.data.outlines import EXTENT, NODES, OUTLINES, field


def test_there_are_a_hundred_centred_outlines_of_one_extent():
    assert len(OUTLINES) == 100
    step = 2 * EXTENT / (NODES - 1)
    for name in OUTLINES:
        inside = field(name) < 0
        extents = []
        for axis in (0, 1):
            places = np.flatnonzero(inside.any(axis=axis)) * step - EXTENT
            assert abs(places[0] + places[-1]) < 4 * step, name
            extents.append(places[-1] - places[0])
        assert abs(max(extents) - 2) < 4 * step, name
        assert 0.1 < inside.sum() * step**2 < 4.2, name


def test_distances_are_signed_distances():
    """Never steeper than one to one, nearly that outside: an edge is one pixel wide at every scale."""
    step = 2 * EXTENT / (NODES - 1)
    for name in OUTLINES:
        distance = field(name).astype(float)
        for axis in (0, 1):
            assert np.abs(np.diff(distance, axis=axis)).max() < 1.001 * step, name
        rise = np.hypot(*np.gradient(distance, step))
        assert np.median(rise[distance > 0.1]) > 0.9, name


def test_circle_and_square_have_their_areas():
    step = 2 * EXTENT / (NODES - 1)
    assert (field("circle") < 0).sum() * step**2 == pytest.approx(np.pi, rel=0.04)
    assert (field("square") < 0).sum() * step**2 == pytest.approx(4, rel=0.05)
    assert (field("ring") < 0).sum() * step**2 == pytest.approx(np.pi * (1 - 0.36), rel=0.05)


def test_no_outline_is_another_or_its_mirror_image():
    masks = {name: field(name) < 0 for name in OUTLINES}
    names = list(masks)
    for first, name in enumerate(names):
        for other in names[first + 1 :]:
            for mask in (masks[other], masks[other][:, ::-1]):
                shared = (masks[name] & mask).sum() / (masks[name] | mask).sum()
                assert shared < 0.9, (name, other)
