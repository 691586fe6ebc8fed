"""`shapes`: procedural images whose class is the outline of one object, and nothing else.

Position, size, rotation, aspect, colours, the ground's stripes, a stray line, light and noise are drawn
without regard to the class, and an object is lighter or darker than the ground, so that a network must learn
shape. The ground carries echoes of the outline, so that a small crop still shows some of it and a short
training gets somewhere. Image k of a class in a split depends on (seed, split, class, k) alone: more
images or more classes change none, a larger size shows the same scene, the splits share no random stream.

Pixels are made of additions, products, quotients, roots and comparisons, which IEEE 754 rounds alike on
every machine, and sines and cosines are rounded: the same seed gives the same bytes everywhere.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy import ndarray

from xnnlib.data.pack import Labelled
from xnnlib.data.sources import images_per_class
from xnnlib.errors import UserError

TRAIN_PER_CLASS, VAL_PER_CLASS = 100, 20

_SPLITS = {"train": 0, "val": 1}

# A line through points, so wide and with round ends (through one point: a disc); with a width of 0 the
# polygon of these corners instead. Coordinates x (right) and y (up) from -1 to 1.
Point = tuple[float, float]
Part = tuple[list[Point], float]


def _unit(degrees: float) -> Point:
    """Cosine and sine, rounded, as libraries differ in their last digit."""
    return round(math.cos(math.radians(degrees)), 9), round(math.sin(math.radians(degrees)), 9)


def _arc(first: float, last: float, radius: float = 1, centre: Point = (0, 0)) -> list[Point]:
    angles = (first + (last - first) * k / 16 for k in range(17))
    return [(centre[0] + radius * x, centre[1] + radius * y) for x, y in map(_unit, angles)]


def _polar(*places: Point) -> list[Point]:
    """The points at these radii and angles in degrees."""
    return [(radius * x, radius * y) for radius, (x, y) in ((r, _unit(degrees)) for r, degrees in places)]


def _box(left: float, bottom: float, right: float, top: float) -> Part:
    return [(left, bottom), (right, bottom), (right, top), (left, top)], 0


# Each is the union of its parts. The order is that of the classes. The first ten differ in their parts too,
# edges, bars, dots and curves, so that a random crop of a few pixels still shows which is which; the later
# ones are closer to each other.
OUTLINES: dict[str, list[Part]] = {
    "circle": [([(0, 0)], 2)],
    "three-bars": [_box(-1, 0.62, 1, 1), _box(-1, -0.19, 1, 0.19), _box(-1, -1, 1, -0.62)],
    "five-dots": [([at], 0.62) for at in ((0, 0), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7))],
    "hash": [
        *(([(at, -0.87), (at, 0.87)], 0.26) for at in (-0.4, 0.4)),
        *(([(-0.87, at), (0.87, at)], 0.26) for at in (-0.4, 0.4)),
    ],
    "letter-x": [([(-0.7, -0.85), (0.7, 0.85)], 0.36), ([(-0.7, 0.85), (0.7, -0.85)], 0.36)],
    "comb": [_box(-1, 0.3, 1, 0.8), *(_box(x, -0.8, x + 0.26, 0.4) for x in (-1, -0.42, 0.16, 0.74))],
    "triangle": [([(0, 0.9), (-1, -0.8), (1, -0.8)], 0)],
    "square": [_box(-0.9, -0.9, 0.9, 0.9)],
    "plus": [_box(-0.34, -1, 0.34, 1), _box(-1, -0.34, 1, 0.34)],
    "spiral": [(_polar(*((0.1 + 0.77 * k / 48, 15 * k) for k in range(49))), 0.26)],
    "star": [(_polar(*((0.45 if k % 2 else 1, 90 + 36 * k) for k in range(10))), 0)],
    "ring": [(_arc(0, 360, 0.8), 0.4)],
    "crescent": [(_arc(60, 300) + _arc(240, 120, 0.95, (0.52, 0)), 0)],
    "heart": [([(0, -1), *_arc(-35, 170, 0.5, (0.48, 0.35)), *_arc(10, 215, 0.5, (-0.48, 0.35))], 0)],
    "arrow": [([(0, 1), (-0.8, 0.1), (0.8, 0.1)], 0), _box(-0.3, -1, 0.3, 0.2)],
    "hourglass": [([(-0.8, 1), (0.8, 1), (0.12, 0), (0.8, -1), (-0.8, -1), (-0.12, 0)], 0)],
}
CLASS_NAMES = tuple(OUTLINES)


def signed_distance(parts: Iterable[Part], x: ndarray, y: ndarray) -> ndarray:
    """The distance to the union of the parts, negative inside, at the coordinates `x` and `y`."""
    return np.minimum.reduce([_part_distance(points, width, x, y) for points, width in parts])


def _part_distance(points: list[Point], width: float, x: ndarray, y: ndarray) -> ndarray:
    nearest, inside = np.inf, np.zeros(np.broadcast(x, y).shape, bool)
    ends = points[1:] if width and points[1:] else [*points[1:], points[0]]
    for (ax, ay), (bx, by) in zip(points, ends, strict=False):
        dx, dy = bx - ax, by - ay
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        ex, ey = x - ax - along * dx, y - ay - along * dy
        nearest = np.minimum(nearest, ex * ex + ey * ey)
        if not width and dy:  # inside, a line to the left crosses an odd number of edges
            inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * dx / dy)
    return np.where(inside, -1, 1) * np.sqrt(nearest) - width / 2


def identity() -> str:
    """What changes when the generator does."""
    return Path(__file__).read_text(encoding="utf-8")


def _wave(t: ndarray) -> ndarray:
    """A triangle wave of period 1, -1 to 1."""
    return 4 * np.abs(t - np.floor(t) - 0.5) - 1


def make_image(label: int, index: int, size: int, seed: int = 0, split: str = "train") -> ndarray:
    """Image `index` of a class, (3, size, size), uint8."""
    stream = np.random.Generator(np.random.SFC64([seed, _SPLITS[split], label, index]))

    def draw(low: float, high: float, *shape: int) -> ndarray:
        return low + (high - low) * stream.random(shape)

    def colour() -> ndarray:
        return draw(0, 1, 3, 1, 1)

    x = ((np.arange(size) + 0.5) * 2 / size - 1)[None, :]
    y = -x.T

    # The object's own coordinates: moved, turned, scaled.
    extent, aspect = draw(0.7, 0.92), draw(0.92, 1.08)
    cos, sin = _unit(draw(-15, 15))
    dx = x - (1.05 - extent) * draw(-1, 1)
    dy = y - (1.05 - extent) * draw(-1, 1)
    u, v = (dx * cos + dy * sin) / extent * aspect, (dy * cos - dx * sin) / extent / aspect
    distance = signed_distance(OUTLINES[CLASS_NAMES[label]], u, v) * extent

    def coverage(distance: ndarray) -> ndarray:
        """Edges are one pixel wide at every size."""
        return np.clip(0.5 - distance * size / 2, 0, 1)

    # Ground and fill are the most different of four pairs of colours: stripes, echoes of the outline.
    pairs = draw(0, 1, 4, 2, 3)
    pair = pairs[np.abs(pairs[:, 0] - pairs[:, 1]).sum(axis=1).argmax()]
    ground, fill = pair[..., None, None]
    cos, sin = _unit(draw(0, 360))
    stripes = np.clip(draw(1, 4) * _wave(draw(0.8, 2.5) * (x * cos + y * sin) + draw(0, 1)), -1, 1)
    echoes = np.clip(3 * _wave(distance * draw(1.5, 2.5) + draw(0, 1)), -1, 1)
    image = ground + 0.2 * (colour() - 0.5) * stripes + 0.9 * (colour() - 0.5) * echoes

    # A stray line behind the object, then the object.
    line = signed_distance([(draw(-1, 1, 2, 2).tolist(), draw(0.06, 0.16))], x, y)
    image = image + (colour() - image) * coverage(line)
    fill = fill + 0.2 * (colour() - 0.5) * stripes
    image = image + (fill - image) * coverage(distance)

    cos, sin = _unit(draw(0, 360))
    image = 0.5 + draw(0.6, 1) * (image - 0.5) + draw(0, 0.15) * (x * cos + y * sin)
    image = image + draw(0.02, 0.06) * draw(-0.5, 0.5, 3, size, size)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _split(counts: Iterable[int], size: int, seed: int, split: str) -> Iterator[Labelled]:
    """For each class in turn so many images; what is fingerprinted are their pixels."""
    for label, count in enumerate(counts):
        for index in range(count):
            image = make_image(label, index, size, seed, split)
            yield Labelled(image, label, image.tobytes())


def splits(
    num_classes: int, train_images: int, val_images: int, size: int, seed: int
) -> tuple[list[str], dict[str, tuple[int, Iterator[Labelled]]]]:
    """The first class names, and for each split how many images and the images; 0 means all classes,
    100 training and 20 validation images of each.

    Raises UserError on too many classes or fewer images than classes.
    """
    if num_classes > len(CLASS_NAMES):
        raise UserError(f"num_classes is {num_classes}; shapes has {len(CLASS_NAMES)}: ask for at most that.")
    class_names = list(CLASS_NAMES[: num_classes or len(CLASS_NAMES)])
    totals = {
        "train": train_images or TRAIN_PER_CLASS * len(class_names),
        "val": val_images or VAL_PER_CLASS * len(class_names),
    }
    return class_names, {
        split: (
            total,
            _split(images_per_class(total, len(class_names), f"{split}_images"), size, seed, split),
        )
        for split, total in totals.items()
    }
