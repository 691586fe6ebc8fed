"""The hundred outlines of `shapes`, by name."""

import math
from functools import cache

import numpy as np
from numpy import ndarray

from xnnlib.data.distances import (
    Outline,
    arc,
    box,
    cut,
    disc,
    dots,
    flower,
    frame,
    gear,
    on_circle,
    polygon,
    propeller,
    regular,
    shuriken,
    star,
    strokes,
    union,
)

EXTENT = 1.5  # a field covers -EXTENT to EXTENT, in units of the outline's half extent
NODES = 97  # along each axis

_TRIANGLE = regular(3)
_SQUARE = box(-1, -1, 1, 1)
_STAR = star(5, 0.45)
_RHOMBUS = polygon([(0, 1), (0.6, 0), (0, -1), (-0.6, 0)])
_HEART = polygon([(0, -1.05), *arc(0.5, -35, 170, (0.48, 0.35)), *arc(0.5, 10, 215, (-0.48, 0.35))])
_LEAF = polygon(arc(1.25, -53, 53, (-0.75, 0)) + arc(1.25, 127, 233, (0.75, 0)))
_UPPER_HALF = polygon(arc(1, 0, 180))

# The order is that of the classes. The first ten differ in their parts too, edges, bars, dots and curves, so
# that a random crop of a few pixels still shows which is which; the later ones are closer to each other.
# None is another's mirror image or another turned by less than 45 degrees.
OUTLINES: dict[str, Outline] = {
    "circle": disc(),
    "three-bars": union(box(-1, 0.62, 1, 1), box(-1, -0.19, 1, 0.19), box(-1, -1, 1, -0.62)),
    "five-dots": dots((0, 0), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7), radius=0.31),
    "hash": strokes(
        [(-0.4, -1), (-0.4, 1)],
        [(0.4, -1), (0.4, 1)],
        [(-1, 0.4), (1, 0.4)],
        [(-1, -0.4), (1, -0.4)],
        width=0.26,
    ),
    "letter-x": strokes([(-0.75, -1), (0.75, 1)], [(-0.75, 1), (0.75, -1)], width=0.36),
    "comb": union(
        box(-1, 0.3, 1, 0.8), *(box(x, -0.8, x + 0.26, 0.4) for x in (-1, -0.507, -0.013, 0.48, 0.74))
    ),
    "triangle": _TRIANGLE,
    "square": _SQUARE,
    "plus": polygon(
        [
            (a * i, b * j)
            for i, j, swap in ((1, 1, 0), (-1, 1, 1), (-1, -1, 0), (1, -1, 1))
            for a, b in (
                ((1, 0.34), (0.34, 0.34), (0.34, 1)) if not swap else ((0.34, 1), (0.34, 0.34), (1, 0.34))
            )
        ]
    ),
    "spiral": strokes([on_circle(0.12 + 0.88 * k / 48, 15 * k) for k in range(49)], width=0.26),
    "star": _STAR,
    "ring": frame(disc(), 0.4),
    "crescent": cut(disc(), disc(0.82, (0.5, 0.15))),
    "heart": _HEART,
    "arrow": polygon([(0, 1), (0.8, 0.1), (0.3, 0.1), (0.3, -1), (-0.3, -1), (-0.3, 0.1), (-0.8, 0.1)]),
    "hourglass": polygon([(-0.8, 1), (0.8, 1), (0.12, 0), (0.8, -1), (-0.8, -1), (-0.12, 0)]),
    "drop": polygon([(0, 1.2), *arc(0.65, 25, -205, (0, -0.3))]),
    "letter-l": polygon([(-0.7, 1), (-0.15, 1), (-0.15, -0.45), (0.7, -0.45), (0.7, -1), (-0.7, -1)]),
    "gear": cut(gear(8), disc(0.3)),
    "semicircle": _UPPER_HALF,
    "letter-t": polygon(
        [(-1, 1), (1, 1), (1, 0.4), (0.3, 0.4), (0.3, -1), (-0.3, -1), (-0.3, 0.4), (-1, 0.4)]
    ),
    "flower": flower(5, 0.32),
    "lightning": polygon(
        [(0.3, 1), (-0.65, -0.1), (-0.1, -0.1), (-0.4, -1), (0.65, 0.25), (0.1, 0.25), (0.6, 1)]
    ),
    "house": polygon(
        [(0, 1), (1, 0.15), (0.75, 0.15), (0.75, -0.9), (-0.75, -0.9), (-0.75, 0.15), (-1, 0.15)]
    ),
    "wedge-cut": polygon([(0, 0), *arc(1, 35, 325)]),
    "letter-h": strokes([(-0.7, 1), (-0.7, -1)], [(0.7, 1), (0.7, -1)], [(-0.7, 0), (0.7, 0)], width=0.5),
    "rhombus": _RHOMBUS,
    "fish": union(
        polygon([(x * 0.8 + 0.2, y * 0.75) for x, y in arc(1, 0, 360, pieces=32)[:-1]]),
        polygon([(-0.3, 0), (-1.15, 0.6), (-1.15, -0.6)]),
    ),
    "mushroom": union(polygon([(x, y * 0.95) for x, y in arc(1, 0, 180)]), box(-0.32, -0.85, 0.32, 0.1)),
    "trapezoid": polygon([(-0.45, 0.6), (0.45, 0.6), (1, -0.6), (-1, -0.6)]),
    "three-dots": dots((0, 0.6), (0.6, -0.4), (-0.6, -0.4), radius=0.4),
    "zigzag": strokes([(-1, -0.4), (-0.5, 0.4), (0, -0.4), (0.5, 0.4), (1, -0.4)], width=0.34),
    "crown": polygon(
        [(-1, 0.7), (-0.45, 0.05), (0, 0.85), (0.45, 0.05), (1, 0.7), (0.8, -0.7), (-0.8, -0.7)]
    ),
    "key": union(
        cut(disc(0.5, (0, 0.55)), disc(0.2, (0, 0.55))),
        box(-0.14, -1, 0.14, 0.15),
        box(0.05, -1, 0.5, -0.76),
        box(0.05, -0.6, 0.42, -0.38),
    ),
    "frame": frame(_SQUARE, 0.4),
    "ellipse": polygon([(x, y * 0.55) for x, y in arc(1, 0, 360, pieces=40)[:-1]]),
    "bar": box(-1, -0.28, 1, 0.28),
    "right-triangle": polygon([(-0.8, 1), (-0.8, -0.8), (1, -0.8)]),
    "parallelogram": polygon([(-0.45, 0.55), (1, 0.55), (0.45, -0.55), (-1, -0.55)]),
    "quarter": polygon([(-0.6, -0.6), *arc(1.5, 0, 90, (-0.6, -0.6))]),
    "hexagon": regular(6),
    "pentagon": regular(5),
    "clover": union(*(disc(0.48, on_circle(0.5, turn)) for turn in (90, 210, 330))),
    "star-4": star(4, 0.36),
    "star-6": star(6, 0.55),
    "burst": star(12, 0.62),
    "leaf": _LEAF,
    "bell": union(
        polygon([(-0.85, -0.6), *arc(0.55, 180, 0, (0, 0.35)), (0.85, -0.6)]), disc(0.24, (0, -0.72))
    ),
    "tree": polygon(
        [
            (0, 1.1),
            (0.5, 0.4),
            (0.3, 0.4),
            (0.75, -0.3),
            (0.2, -0.3),
            (0.2, -0.9),
            (-0.2, -0.9),
            (-0.2, -0.3),
            (-0.75, -0.3),
            (-0.3, 0.4),
            (-0.5, 0.4),
        ]
    ),
    "cloud": union(
        disc(0.42, (-0.55, -0.1)),
        disc(0.55, (0.05, 0.2)),
        disc(0.4, (0.62, -0.1)),
        box(-0.55, -0.5, 0.62, 0.1),
    ),
    "bottle": polygon(
        [
            (-0.18, 1),
            (0.18, 1),
            (0.18, 0.45),
            (0.48, 0.1),
            (0.48, -1),
            (-0.48, -1),
            (-0.48, 0.1),
            (-0.18, 0.45),
        ]
    ),
    "dumbbell": union(disc(0.42, (-0.62, 0)), disc(0.42, (0.62, 0)), box(-0.6, -0.14, 0.6, 0.14)),
    "bullseye": union(frame(disc(), 0.28), disc(0.4)),
    "triangle-frame": frame(_TRIANGLE, 0.2),
    "star-frame": frame(star(5, 0.5), 0.17),
    "heart-frame": frame(_HEART, 0.24),
    "rhombus-frame": frame(polygon([(0, 1), (0.75, 0), (0, -1), (-0.75, 0)]), 0.22),
    "hexagon-frame": frame(regular(6), 0.26),
    "two-dots": dots((-0.58, 0), (0.58, 0), radius=0.44),
    "four-dots": dots((0.58, 0.58), (-0.58, 0.58), (0.58, -0.58), (-0.58, -0.58), radius=0.4),
    "two-bars": union(box(-1, 0.22, 1, 0.72), box(-1, -0.72, 1, -0.22)),
    "wave": strokes(
        [(-1 + k / 12, round(0.45 * math.sin(math.pi * k / 6), 6)) for k in range(25)], width=0.36
    ),
    "stairs": polygon(
        [(-1, -1), (1, -1), (1, 1), (0.34, 1), (0.34, 0.34), (-0.33, 0.34), (-0.33, -0.33), (-1, -0.33)]
    ),
    "fork": strokes([(-0.6, 1), (-0.6, 0.1), (0.6, 0.1), (0.6, 1)], [(0, 1), (0, -1)], width=0.32),
    "anchor": union(
        frame(disc(0.28, (0, 0.8)), 0.15),
        strokes([(0, 0.55), (0, -0.85)], [(-0.4, 0.25), (0.4, 0.25)], arc(0.85, 190, 350), width=0.26),
    ),
    "chevron": polygon([(-1, -0.6), (0, 0.3), (1, -0.6), (1, 0), (0, 0.9), (-1, 0)]),
    "double-arrow": polygon(
        [
            (-1, 0),
            (-0.45, 0.55),
            (-0.45, 0.2),
            (0.45, 0.2),
            (0.45, 0.55),
            (1, 0),
            (0.45, -0.55),
            (0.45, -0.2),
            (-0.45, -0.2),
            (-0.45, -0.55),
        ]
    ),
    "arch": polygon(
        [(-0.9, -0.8), *arc(0.9, 180, 0), (0.9, -0.8), (0.42, -0.8), *arc(0.42, 0, 180), (-0.42, -0.8)]
    ),
    "mug": union(box(-0.8, -0.8, 0.4, 0.8), frame(disc(0.5, (0.45, 0)), 0.2)),
    "umbrella": union(
        cut(_UPPER_HALF, *(disc(0.22, (x, 0)) for x in (-0.72, 0, 0.72))),
        strokes([(0, 0.5), (0, -0.75), *arc(0.2, 180, 360, (0.2, -0.75))], width=0.18),
    ),
    "snowman": union(disc(0.4, (0, 0.55)), disc(0.62, (0, -0.4))),
    "butterfly": union(
        *(disc(r, (sign * x, y)) for sign in (1, -1) for r, x, y in ((0.52, 0.5, 0.38), (0.36, 0.4, -0.45))),
        box(-0.12, -0.8, 0.12, 0.8),
    ),
    "propeller": propeller(3),
    "shuriken": shuriken(4),
    "wheel": union(frame(disc(), 0.24), strokes([(-0.9, 0), (0.9, 0)], [(0, -0.9), (0, 0.9)], width=0.24)),
    "square-with-hole": cut(_SQUARE, disc(0.52)),
    "infinity": union(frame(disc(0.55, (-0.45, 0)), 0.22), frame(disc(0.55, (0.45, 0)), 0.22)),
    "kite": polygon([(0, 1), (0.62, 0.35), (0, -1), (-0.62, 0.35)]),
    "asterisk": strokes(
        *([on_circle(1, turn), on_circle(1, turn + 180)] for turn in (90, 150, 210)), width=0.3
    ),
    "question": union(
        strokes([*arc(0.5, 170, -60, (0, 0.5)), (0, -0.15), (0, -0.4)], width=0.32), disc(0.2, (0, -0.9))
    ),
    "letter-a": strokes([(-0.8, -1), (0, 1), (0.8, -1)], [(-0.5, -0.3), (0.5, -0.3)], width=0.34),
    "letter-c": strokes(arc(0.85, 50, 310), width=0.36),
    "letter-e": strokes([(0.6, 1), (-0.6, 1), (-0.6, -1), (0.6, -1)], [(-0.6, 0), (0.4, 0)], width=0.36),
    "letter-f": strokes([(0.6, 1), (-0.6, 1), (-0.6, -1)], [(-0.6, 0), (0.4, 0)], width=0.36),
    "letter-k": strokes([(-0.6, 1), (-0.6, -1)], [(0.65, 1), (-0.5, 0), (0.65, -1)], width=0.36),
    "letter-m": strokes([(-0.85, -1), (-0.85, 1), (0, -0.1), (0.85, 1), (0.85, -1)], width=0.34),
    "letter-n": strokes([(-0.7, -1), (-0.7, 1), (0.7, -1), (0.7, 1)], width=0.36),
    "letter-p": strokes(
        [(-0.55, -1), (-0.55, 1), (0.05, 1), *arc(0.48, 90, -90, (0.1, 0.5)), (-0.55, 0.02)], width=0.34
    ),
    "letter-r": strokes(
        [(-0.55, -1), (-0.55, 1), (0.05, 1), *arc(0.48, 90, -90, (0.1, 0.5)), (-0.55, 0.02)],
        [(0, 0), (0.6, -1)],
        width=0.34,
    ),
    "letter-u": strokes([(-0.7, 1), *arc(0.7, 180, 360, (0, -0.3)), (0.7, 1)], width=0.36),
    "letter-v": strokes([(-0.8, 1), (0, -1), (0.8, 1)], width=0.36),
    "letter-w": strokes([(-1, 0.8), (-0.5, -0.8), (0, 0.4), (0.5, -0.8), (1, 0.8)], width=0.3),
    "letter-y": strokes([(-0.75, 1), (0, 0), (0.75, 1)], [(0, 0), (0, -1)], width=0.36),
    "letter-z": strokes([(-0.7, 1), (0.7, 1), (-0.7, -1), (0.7, -1)], width=0.34),
    "digit-4": strokes([(0.35, -1), (0.35, 1), (-0.7, -0.35), (0.8, -0.35)], width=0.32),
    "digit-7": strokes([(-0.65, 1), (0.65, 1), (-0.2, -1)], width=0.36),
    "greek-omega": strokes(
        [(-0.9, -0.85), (-0.4, -0.85), *arc(0.75, 237, -57, (0, 0.2)), (0.4, -0.85), (0.9, -0.85)], width=0.3
    ),
    "greek-phi": union(frame(disc(0.72), 0.26), strokes([(0, 1.1), (0, -1.1)], width=0.26)),
    "greek-theta": union(
        frame(polygon([(0.75 * x, y) for x, y in arc(1, 0, 360, pieces=40)[:-1]]), 0.26),
        box(-0.6, -0.13, 0.6, 0.13),
    ),
    "greek-pi": strokes(
        [(-1, 0.75), (1, 0.75)], [(-0.5, 0.75), (-0.5, -0.9)], [(0.5, 0.75), (0.5, -0.9)], width=0.32
    ),
}


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
