"""The one visual language of Figures 1 to 4: boxes, circles and arrows on a canvas in inches.

Learned operations are grey rectangles, batch norm and pooling are white ones, nonlinearities have round
ends, and arithmetic is a circle. A squeeze-and-excite is tinted in block B's colour and a conditional
convolution in block C's; what a figure introduces has a bold outline.
"""

from math import hypot
from typing import NamedTuple

from matplotlib.patches import Circle, FancyBboxPatch, Polygon, Rectangle

from xnnlib.report.style import COLORS, PaperFigure, digest, new_figure

INK, GREY = "#222222", "#E4E6EA"
LINE = 0.8
HEAD = 0.11  # length of an arrow's head
TEXT_SIZE = 7

LEARNED, PLAIN, NONLINEARITY = "learned", "plain", "nonlinearity"


class Box(NamedTuple):
    """The rectangle that a drawn shape fills, in inches."""

    left: float
    bottom: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def top(self) -> float:
        return self.bottom + self.height

    @property
    def x(self) -> float:
        return self.left + self.width / 2

    @property
    def y(self) -> float:
        return self.bottom + self.height / 2


def tint(color: str, share: float = 0.22) -> tuple[float, float, float]:
    """`color` mixed with white, opaque, so that it prints and overlaps as it looks."""
    parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return tuple(1 - share * (1 - part) for part in parts)


class Canvas:
    """A figure whose coordinates are inches from its lower left corner, and whose data is what is drawn."""

    def __init__(self, width: float, height: float):
        self._figure = new_figure(width, height, [])
        self._drawn: list = [width, height]
        self.axes = self._figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.axis("off")

    @property
    def figure(self) -> PaperFigure:
        """The figure as drawn so far."""
        self._figure.data_digest = digest(self._drawn)
        return self._figure

    def box(self, at: Box, text: str, role: str = LEARNED, component: str = "", new: bool = False) -> Box:
        """A shape with its text; `component` is the block that brought it, `new` makes it stand out."""
        self._drawn.append(("box", at, role, component, new))
        face = tint(COLORS[component]) if component else GREY if role == LEARNED else "white"
        edge = COLORS[component] if component else INK
        look = {"facecolor": face, "edgecolor": edge, "linewidth": 1.8 if new else LINE, "zorder": 3 + new}
        if role == NONLINEARITY:  # a pill that still reads as round beside its square neighbours
            self.axes.add_patch(_rounded(at, 0.45 * min(at.width, at.height), **look))
        else:
            self.axes.add_patch(Rectangle((at.left, at.bottom), at.width, at.height, **look))
        self.label(at.x, at.y, text)
        return at

    def chain(self, left: float, y: float, height: float, boxes: list[dict], widths: list[float]) -> Box:
        """Boxes that touch: an operation with its batch norm and nonlinearity. Returns the whole."""
        start = left
        for box, width in zip(boxes, widths, strict=True):
            self.box(Box(left, y - height / 2, width, height), **box)
            left += width
        return Box(start, y - height / 2, left - start, height)

    def frame(self, at: Box, component: str = "") -> Box:
        """A dashed line around what belongs together."""
        self._drawn.append(("frame", at, component))
        edge = COLORS[component] if component else "#777777"
        look = {"facecolor": tint(edge, 0.05), "edgecolor": edge, "linewidth": LINE, "linestyle": (0, (4, 2))}
        self.axes.add_patch(_rounded(at, 0.06, **look, zorder=1))
        return at

    def circle(self, x: float, y: float, symbol: str, component: str = "", radius: float = 0.09) -> Box:
        """Arithmetic on whole tensors: `+` or `×`."""
        self._drawn.append(("circle", x, y, symbol, component, radius))
        edge = COLORS[component] if component else INK
        look = {"linewidth": LINE + 0.2, "zorder": 3}
        self.axes.add_patch(Circle((x, y), radius, facecolor="white", edgecolor=edge, **look))
        long = 0.55 * radius
        arms = {"+": ((long, 0), (0, long)), "×": ((0.75 * long, 0.75 * long), (0.75 * long, -0.75 * long))}
        for dx, dy in arms[symbol]:
            self.axes.plot([x - dx, x + dx], [y - dy, y + dy], color=edge, **look | {"zorder": 4})
        return Box(x - radius, y - radius, 2 * radius, 2 * radius)

    def arrow(self, *points: tuple[float, float], dotted: bool = False, head: bool = True) -> None:
        """A line through the points, with a head at the last one unless told otherwise."""
        self._drawn.append(("arrow", points, dotted, head))
        (x0, y0), (x1, y1) = points[-2:]
        ends = list(points)
        if head:
            length = hypot(x1 - x0, y1 - y0)
            along, wing = min(HEAD, length), 0.325 * HEAD / length
            dx, dy = (x1 - x0) * wing, (y1 - y0) * wing
            back = (x1 - (x1 - x0) * along / length, y1 - (y1 - y0) * along / length)
            corners = [(x1, y1), (back[0] - dy, back[1] + dx), (back[0] + dy, back[1] - dx)]
            self.axes.add_patch(Polygon(corners, facecolor=INK, edgecolor="none", zorder=2))
            ends[-1] = back
        style = {"linestyle": (0, (1, 1.6)), "linewidth": LINE + 0.3} if dotted else {"linewidth": LINE}
        self.axes.plot(*zip(*ends, strict=True), color=INK, zorder=2, **style)

    def label(self, x: float, y: float, text: str, **look) -> None:
        """Text centred at a point unless `ha` and `va` say otherwise."""
        self._drawn.append(("label", x, y, text, look))
        style = {"ha": "center", "va": "center", "fontsize": TEXT_SIZE, "color": INK, "linespacing": 1.15}
        self.axes.text(x, y, text, **(style | {"zorder": 5} | look))


def _rounded(at: Box, radius: float, **look) -> FancyBboxPatch:
    shape = f"round,pad=0,rounding_size={radius}"
    return FancyBboxPatch((at.left, at.bottom), at.width, at.height, boxstyle=shape, **look)
