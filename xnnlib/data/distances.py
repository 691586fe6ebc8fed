"""Signed distances to outlines, negative inside: polygons, discs and strokes, joined and cut.

An outline is a function of coordinates x (right) and y (up). Everything is made of additions,
products, quotients, roots and comparisons, which IEEE 754 rounds alike on every machine; the few sines
and cosines are rounded, so that images made from outlines are the same everywhere.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy import ndarray

Outline = Callable[[ndarray, ndarray], ndarray]
Point = tuple[float, float]


def on_circle(radius: float, degrees: float, centre: Point = (0, 0)) -> Point:
    angle = math.radians(degrees)
    return (
        round(centre[0] + radius * math.cos(angle), 6),
        round(centre[1] + radius * math.sin(angle), 6),
    )


def arc(radius: float, first: float, last: float, centre: Point = (0, 0), pieces: int = 16) -> list[Point]:
    return [on_circle(radius, first + (last - first) * k / pieces, centre) for k in range(pieces + 1)]


def _polar(radius: Callable[[float], float], pieces: int = 72) -> Outline:
    return polygon([on_circle(radius(360 * k / pieces), 360 * k / pieces) for k in range(pieces)])


def _segment(x: ndarray, y: ndarray, start: Point, end: Point) -> ndarray:
    """Squared distance to a segment."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / max(dx * dx + dy * dy, 1e-12)
    along = np.clip(along, 0, 1)
    ex, ey = x - start[0] - along * dx, y - start[1] - along * dy
    return ex * ex + ey * ey


def polygon(points: Sequence[Point]) -> Outline:
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


def disc(radius: float = 1, centre: Point = (0, 0)) -> Outline:
    return lambda x, y: np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2) - radius


def box(left: float, bottom: float, right: float, top: float) -> Outline:
    return polygon([(left, bottom), (right, bottom), (right, top), (left, top)])


def strokes(*lines: Sequence[Point], width: float = 0.4) -> Outline:
    """Lines through points, `width` wide, with round ends."""
    pieces = [piece for line in lines for piece in zip(line[:-1], line[1:], strict=True)]
    return lambda x, y: np.sqrt(np.minimum.reduce([_segment(x, y, *p) for p in pieces])) - width / 2


def union(*outlines: Outline) -> Outline:
    return lambda x, y: np.minimum.reduce([outline(x, y) for outline in outlines])


def cut(outline: Outline, *holes: Outline) -> Outline:
    return lambda x, y: np.maximum.reduce([outline(x, y), *(-hole(x, y) for hole in holes)])


def frame(outline: Outline, width: float = 0.36) -> Outline:
    """The band of `width` inside an outline's edge."""

    def distance(x, y):
        inside = outline(x, y)
        return np.maximum(inside, -width - inside)

    return distance


def regular(corners: int, turn: float = 90) -> Outline:
    return polygon([on_circle(1, turn + 360 * k / corners) for k in range(corners)])


def star(points: int, inner: float) -> Outline:
    return polygon([on_circle(inner if k % 2 else 1, 90 + 180 * k / points) for k in range(2 * points)])


def flower(petals: int, depth: float) -> Outline:
    return _polar(lambda angle: 1 + depth * math.cos(math.radians(petals * (angle - 90))), 24 * petals)


def gear(teeth: int, inner: float = 0.72) -> Outline:
    step = 360 / teeth
    corners = [(1, -0.2), (1, 0.2), (inner, 0.3), (inner, 0.7)]
    return polygon([on_circle(r, 90 + (k + share) * step) for k in range(teeth) for r, share in corners])


def propeller(blades: int) -> Outline:
    turns = [90 + 360 * k / blades for k in range(blades)]
    return union(
        disc(0.2),
        *(disc(0.36, on_circle(0.64, turn)) for turn in turns),
        *(strokes([(0, 0), on_circle(0.6, turn)], width=0.3) for turn in turns),
    )


def shuriken(blades: int) -> Outline:
    step = 360 / blades
    return polygon(
        [
            p
            for k in range(blades)
            for p in (on_circle(1, 90 + k * step), on_circle(0.42, 90 + (k + 0.85) * step))
        ]
    )


def dots(*centres: Point, radius: float = 0.36) -> Outline:
    return union(*(disc(radius, centre) for centre in centres))
