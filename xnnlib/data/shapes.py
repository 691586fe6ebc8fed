"""`shapes`: procedural images whose class is the outline of one object, and nothing else.

Position, extent, rotation, aspect, shear, colours, textures, background, distracting discs, edge lines, an
occluding bar, light and noise are drawn without regard to the class, so that a network must learn shape.
The object is lighter than the ground, and the ground carries faint echoes of its outline, so that a small
crop still shows some of the shape and a short training gets somewhere. Image k of a class in a split
depends on (seed, split, class, k) alone: more images or more classes change none, a larger size shows the
same scene, and the splits share no random stream.

Pixels are made of additions, products, quotients, roots and comparisons, which IEEE 754 rounds alike on
every machine, and the few sines and cosines are rounded: the same seed gives the same bytes everywhere.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy import ndarray

from xnnlib.data.pack import Labelled
from xnnlib.data.sources import spread
from xnnlib.errors import UserError

TRAIN_PER_CLASS, VAL_PER_CLASS = 100, 20

EXTENT = 1.5  # an outline's field covers -EXTENT to EXTENT, in units of the outline's half extent
NODES = 97  # along each axis

_SPLITS = {"train": 0, "val": 1}
_CELLS = 5  # of the coarse grid whose random values, interpolated, make blobs
_PARAMETERS = 160  # random numbers an image, a few more than are used
_CHUNK = 16  # images rendered at once: enough to hide Python, few enough for the processor's cache

# The signed distance to an outline, negative inside, at coordinates x (right) and y (up).
Outline = Callable[[ndarray, ndarray], ndarray]
Point = tuple[float, float]


def _on_circle(radius: float, degrees: float, centre: Point = (0, 0)) -> Point:
    angle = math.radians(degrees)
    return (
        round(centre[0] + radius * math.cos(angle), 6),
        round(centre[1] + radius * math.sin(angle), 6),
    )


def _arc(radius: float, first: float, last: float, centre: Point = (0, 0)) -> list[Point]:
    return [_on_circle(radius, first + (last - first) * k / 16, centre) for k in range(17)]


def _segment(x: ndarray, y: ndarray, start: Point, end: Point) -> ndarray:
    """Squared distance to a segment."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / max(dx * dx + dy * dy, 1e-12)
    along = np.clip(along, 0, 1)
    ex, ey = x - start[0] - along * dx, y - start[1] - along * dy
    return ex * ex + ey * ey


def _polygon(*points: Point) -> Outline:
    """The inside (even-odd) of a closed polygon."""

    def distance(x, y):
        nearest, inside = np.inf, np.zeros(np.broadcast(x, y).shape, bool)
        for start, end in zip(points, [*points[1:], points[0]], strict=True):
            nearest = np.minimum(nearest, _segment(x, y, start, end))
            if start[1] != end[1]:
                crossing = start[0] + (y - start[1]) * (end[0] - start[0]) / (end[1] - start[1])
                inside ^= ((start[1] > y) != (end[1] > y)) & (x < crossing)
        return np.where(inside, -1, 1) * np.sqrt(nearest)

    return distance


def _star(points: int, inner: float) -> Outline:
    return _polygon(*(_on_circle(inner if k % 2 else 1, 90 + 180 * k / points) for k in range(2 * points)))


def _gear(teeth: int, inner: float) -> Outline:
    corners = [(1, -0.2), (1, 0.2), (inner, 0.3), (inner, 0.7)]
    turn = 360 / teeth
    return _polygon(*(_on_circle(r, 90 + (k + part) * turn) for k in range(teeth) for r, part in corners))


def _disc(radius: float = 1, centre: Point = (0, 0)) -> Outline:
    return lambda x, y: np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2) - radius


def _box(left: float, bottom: float, right: float, top: float) -> Outline:
    return _polygon((left, bottom), (right, bottom), (right, top), (left, top))


def _strokes(*lines: Sequence[Point], width: float) -> Outline:
    """Lines through points, `width` wide, with round ends."""
    pieces = [piece for line in lines for piece in zip(line[:-1], line[1:], strict=True)]
    return lambda x, y: np.sqrt(np.minimum.reduce([_segment(x, y, *p) for p in pieces])) - width / 2


def _union(*outlines: Outline) -> Outline:
    return lambda x, y: np.minimum.reduce([outline(x, y) for outline in outlines])


def _cut(outline: Outline, hole: Outline) -> Outline:
    return lambda x, y: np.maximum(outline(x, y), -hole(x, y))


# The order is that of the classes. The first ten differ in their parts too, edges, bars, dots and curves, so
# that a random crop of a few pixels still shows which is which; the later ones are closer to each other.
# None is another's mirror image or another turned by less than 45 degrees.
OUTLINES: dict[str, Outline] = {
    "circle": _disc(),
    "three-bars": _union(_box(-1, 0.62, 1, 1), _box(-1, -0.19, 1, 0.19), _box(-1, -1, 1, -0.62)),
    "five-dots": _union(
        *(_disc(0.31, at) for at in ((0, 0), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7)))
    ),
    "hash": _strokes(
        *([(-0.4, -1), (-0.4, 1)], [(0.4, -1), (0.4, 1)], [(-1, 0.4), (1, 0.4)], [(-1, -0.4), (1, -0.4)]),
        width=0.26,
    ),
    "letter-x": _strokes([(-0.75, -1), (0.75, 1)], [(-0.75, 1), (0.75, -1)], width=0.36),
    "comb": _union(
        _box(-1, 0.3, 1, 0.8), *(_box(x, -0.8, x + 0.26, 0.4) for x in (-1, -0.507, -0.013, 0.48, 0.74))
    ),
    "triangle": _polygon(*(_on_circle(1, degrees) for degrees in (90, 210, 330))),
    "square": _box(-1, -1, 1, 1),
    "plus": _polygon(
        *((1, 0.34), (0.34, 0.34), (0.34, 1), (-0.34, 1), (-0.34, 0.34), (-1, 0.34)),
        *((-1, -0.34), (-0.34, -0.34), (-0.34, -1), (0.34, -1), (0.34, -0.34), (1, -0.34)),
    ),
    "spiral": _strokes([_on_circle(0.12 + 0.88 * k / 48, 15 * k) for k in range(49)], width=0.26),
    "star": _star(5, 0.45),
    "ring": lambda x, y: np.maximum(_disc()(x, y), -0.4 - _disc()(x, y)),
    "crescent": _cut(_disc(), _disc(0.82, (0.5, 0.15))),
    "heart": _polygon((0, -1.05), *_arc(0.5, -35, 170, (0.48, 0.35)), *_arc(0.5, 10, 215, (-0.48, 0.35))),
    "arrow": _polygon((0, 1), (0.8, 0.1), (0.3, 0.1), (0.3, -1), (-0.3, -1), (-0.3, 0.1), (-0.8, 0.1)),
    "hourglass": _polygon((-0.8, 1), (0.8, 1), (0.12, 0), (0.8, -1), (-0.8, -1), (-0.12, 0)),
    "drop": _polygon((0, 1.2), *_arc(0.65, 25, -205, (0, -0.3))),
    "letter-l": _polygon((-0.7, 1), (-0.15, 1), (-0.15, -0.45), (0.7, -0.45), (0.7, -1), (-0.7, -1)),
    "gear": _cut(_gear(8, 0.72), _disc(0.3)),
    "semicircle": _polygon(*_arc(1, 0, 180)),
}
CLASS_NAMES = tuple(OUTLINES)


@cache
def field(name: str) -> ndarray:
    """The signed distances of an outline, (NODES, NODES) float32, rows from y = -EXTENT upwards.

    The outline is centred and scaled so that its larger side is 2.
    """
    outline = OUTLINES[name]
    probe = np.linspace(-EXTENT, EXTENT, 151)
    inside = outline(probe[None, :], probe[:, None]) <= 0
    columns, rows = probe[inside.any(axis=0)], probe[inside.any(axis=1)]
    half = max(columns[-1] - columns[0], rows[-1] - rows[0]) / 2
    nodes = np.linspace(-EXTENT, EXTENT, NODES) * half
    x, y = nodes + (columns[0] + columns[-1]) / 2, nodes + (rows[0] + rows[-1]) / 2
    return (outline(x[None, :], y[:, None]) / half).astype(np.float32)


def identity() -> str:
    """What changes when the generator does."""
    return Path(__file__).read_text(encoding="utf-8")


class _Draws:
    """Hands out the images' uniform random numbers, as columns (B, 1, 1)."""

    def __init__(self, uniform: ndarray):
        self._uniform, self._used = uniform, 0

    def take(self, count: int) -> ndarray:
        self._used += count
        return self._uniform[:, self._used - count : self._used]

    def between(self, low: float, high: float) -> ndarray:
        return low + (high - low) * self.take(1)[:, :, None]

    def chance(self, probability: float) -> ndarray:
        return (self.take(1)[:, :, None] < probability).astype(np.float32)

    def direction(self) -> tuple[ndarray, ndarray]:
        """Cosine and sine of any angle, without either function."""
        half = self.between(-1, 1)
        turn = 1 - 2 * self.chance(0.5)
        scale = turn / (1 + half * half)
        return (1 - half * half) * scale, 2 * half * scale


def _wave(t: ndarray) -> ndarray:
    """A triangle wave of period 1, -1 to 1."""
    return 4 * np.abs(t - np.floor(t) - 0.5) - 1


def _coarse(values: ndarray, size: int) -> ndarray:
    """(B, cells, cells) to (B, size, size), interpolated linearly."""
    place = (np.arange(size, dtype=np.float32) + 0.5) * ((_CELLS - 1) / size)
    cell = place.astype(int)
    share = place - cell
    values = values[:, cell] * (1 - share)[:, None] + values[:, cell + 1] * share[:, None]
    return values[:, :, cell] * (1 - share) + values[:, :, cell + 1] * share


def _texture(draws: _Draws, x: ndarray, y: ndarray, size: int) -> ndarray:
    """Plain, stripes, checks or blobs: (B, size, size), -1 to 1."""
    cos, sin = draws.direction()
    frequency, sharpness = draws.between(0.8, 2.5), draws.between(1, 4)
    phase, other = draws.between(0, 1), draws.between(0, 1)
    kind = draws.take(1)[:, :, None]
    blobs = _coarse(2 * draws.take(_CELLS**2).reshape(-1, _CELLS, _CELLS) - 1, size)
    along = np.clip(sharpness * _wave(frequency * (x * cos + y * sin) + phase), -1, 1)
    across = np.clip(sharpness * _wave(frequency * (y * cos - x * sin) + other), -1, 1)
    pattern = np.where(kind < 0.6, np.where(kind < 0.4, along, along * across), blobs)
    return np.where(kind < 0.2, 0, pattern)


def _colour(draws: _Draws) -> ndarray:
    """(B, 3, 1, 1), from muted to vivid."""
    colour, vivid = draws.take(3), 0.4 + 0.6 * draws.take(1)
    grey = colour.mean(axis=1, keepdims=True)
    return (grey + (colour - grey) * vivid)[:, :, None, None]


def _contrasting(draws: _Draws, other: ndarray) -> ndarray:
    """The one of four random colours that is farthest from `other`."""
    best = _colour(draws)
    for _ in range(3):
        colour = _colour(draws)
        gains = np.abs(colour - other).sum(axis=1) > np.abs(best - other).sum(axis=1)
        best = np.where(gains[:, None], colour, best)
    return best


def _distance(labels: ndarray, u: ndarray, v: ndarray) -> ndarray:
    """The outlines' signed distances at (u, v), (B, size, size), between the nodes of their fields."""
    fields = np.stack([field(CLASS_NAMES[label]) for label in labels])
    last = NODES - 1
    scale = last / (2 * EXTENT)
    column = np.clip((u + EXTENT) * scale, 0, last - 0.001)
    row = np.clip((v + EXTENT) * scale, 0, last - 0.001)
    left, below = column.astype(np.int32), row.astype(np.int32)
    column -= left
    row -= below
    image = np.arange(len(labels), dtype=np.int32)[:, None, None] * NODES
    first = (image + below) * NODES + left
    fields = fields.ravel()
    lower = fields[first] * (1 - column) + fields[first + 1] * column
    first += NODES
    upper = fields[first] * (1 - column) + fields[first + 1] * column
    return lower * (1 - row) + upper * row


def _over(image: ndarray, colour: ndarray, coverage: ndarray) -> ndarray:
    """`colour` (B, 3, ...) laid over `image` where `coverage` (B, size, size) says."""
    return image + (colour - image) * coverage[:, None]


def _render(uniform: ndarray, noise: ndarray, labels: ndarray) -> ndarray:
    """Random numbers (B, _PARAMETERS), noise (B, 3, size, size), 0 to 1, and labels to images, uint8."""
    draws, size = _Draws(uniform), noise.shape[-1]
    pixels = size / 2  # in one unit of the coordinates, which go from -1 to 1, y upwards
    x = ((np.arange(size, dtype=np.float32) + 0.5) / pixels - 1)[None, None, :]
    y = -x.swapaxes(1, 2)

    # The object's own coordinates: mirrored, turned, stretched, sheared.
    extent = draws.between(0.65, 0.92)
    half = draws.between(-0.13, 0.13)  # tangent of half the angle: up to 15 degrees
    cos, sin = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    stretch, shear = draws.between(0.92, 1.08), draws.between(-0.1, 0.1)
    mirror = 1 - 2 * draws.chance(0.5)
    dx = x - (1.05 - extent) * draws.between(-1, 1)
    dy = y - (1.05 - extent) * draws.between(-1, 1)
    u, v = (dx * cos + dy * sin) / extent, (dy * cos - dx * sin) / extent
    u = mirror * (u + shear * v) * stretch
    v = v / stretch
    distance = _distance(labels, u, v) * (extent * pixels)  # in pixels, but for stretch and shear

    ground = _colour(draws)
    fill = _contrasting(draws, ground)
    darker = fill.sum(axis=1, keepdims=True) < ground.sum(axis=1, keepdims=True)
    ground, fill = np.where(darker, fill, ground), np.where(darker, ground, fill)
    cos, sin = draws.direction()
    slope = draws.between(0, 0.15) * (x * cos + y * sin)
    image = ground + slope[:, None]
    image = image + (_colour(draws) - 0.5) * (0.3 * _texture(draws, x, y, size))[:, None]
    echo = _wave(distance / pixels * draws.between(1.5, 2.5) + draws.between(0, 1))
    image = image + (_colour(draws) - 0.5) * (0.5 * np.clip(3 * echo, -1, 1))[:, None]
    for _ in range(2):
        radius = np.where(draws.chance(0.3), draws.between(0.06, 0.16), -1)
        cx, cy = draws.between(-1, 1), draws.between(-1, 1)
        disc = np.sqrt((x - cx) ** 2 + (y - cy) ** 2) - radius
        image = _over(image, _colour(draws), np.clip(0.5 - disc * pixels, 0, 1))

    fill = fill + (_colour(draws) - 0.5) * (0.2 * _texture(draws, x, y, size))[:, None]
    line = draws.chance(0.3) * np.clip(draws.between(0.02, 0.06) * pixels + 0.5 - np.abs(distance), 0, 1)
    image = _over(image, fill, np.clip(0.5 - distance, 0, 1))
    image = _over(image, _colour(draws), line)

    cos, sin = draws.direction()
    width = np.where(draws.chance(0.25), draws.between(0.03, 0.08), -1)
    bar = np.abs(x * cos + y * sin - draws.between(-0.6, 0.6)) - width
    image = _over(image, _colour(draws), np.clip(0.5 - bar * pixels, 0, 1))

    cos, sin = draws.direction()
    light = draws.between(0.75, 1.1) + draws.between(0, 0.2) * (x * cos + y * sin)
    image = image * light[:, None] + draws.between(0.02, 0.1)[:, None] * (noise - 0.5)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def make_images(
    labels: list[int], indices: list[int], size: int, seed: int = 0, split: str = "train"
) -> ndarray:
    """Images (N, 3, size, size), uint8: of each label's class the one of that index."""
    images = np.empty((len(labels), 3, size, size), np.uint8)
    for first in range(0, len(labels), _CHUNK):
        chunk = slice(first, first + _CHUNK)
        streams = [
            np.random.Generator(np.random.SFC64([seed, _SPLITS[split], label, index]))
            for label, index in zip(labels[chunk], indices[chunk], strict=True)
        ]
        uniform = np.stack([stream.random(_PARAMETERS, dtype=np.float32) for stream in streams])
        noise = np.stack([stream.random((3, size, size), dtype=np.float32) for stream in streams])
        images[chunk] = _render(uniform, noise, np.array(labels[chunk]))
    return images


def _split(counts: Iterable[int], size: int, seed: int, split: str) -> Iterator[Labelled]:
    """For each class in turn so many images; what is fingerprinted are their pixels."""
    for label, count in enumerate(counts):
        for first in range(0, count, _CHUNK):
            indices = list(range(first, min(first + _CHUNK, count)))
            for image in make_images([label] * len(indices), indices, size, seed, split):
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
        split: (total, _split(spread(total, len(class_names), f"{split}_images"), size, seed, split))
        for split, total in totals.items()
    }


def contact_sheet(
    num_classes: int = 20, per_class: int = 8, size: int = 64, seed: int = 0, gap: int = 2
) -> ndarray:
    """Training images on a white sheet (rows, columns, 3), uint8: a row a class, one image beside the other.

    Row k starts at pixel `gap + k * (size + gap)`, and so do the columns.
    """
    labels = [label for label in range(num_classes) for _ in range(per_class)]
    images = make_images(labels, list(range(per_class)) * num_classes, size, seed)
    tiles = np.full((num_classes, per_class, 3, size + gap, size + gap), 255, np.uint8)
    tiles[..., :size, :size] = images.reshape(num_classes, per_class, 3, size, size)
    sheet = tiles.transpose(0, 3, 1, 4, 2).reshape(num_classes * (size + gap), -1, 3)
    return np.pad(sheet, ((gap, 0), (gap, 0), (0, 0)), constant_values=255)
