"""The one visual language of Figures 1 to 4: boxes, circles and arrows on a canvas in inches.

Learned operations are grey rectangles, batch norm is a white one, nonlinearities have round ends,
pooling tapers, and arithmetic is a circle. A squeeze-and-excite is tinted in block B's colour and a
conditional convolution in block C's; what a figure introduces is also hatched and has a bold outline.
"""

from typing import NamedTuple

from matplotlib.patches import Circle, FancyBboxPatch, Polygon, Rectangle
from matplotlib.patheffects import withStroke

from xnnlib.report.style import COLORS, HATCHES, PaperFigure, new_figure

INK, GREY = "#222222", "#E4E6EA"
LINE = 0.8
HEAD = 0.055  # half the length of an arrow's head
TEXT_SIZE = 7

LEARNED, NORM, NONLINEARITY, POOL = "learned", "norm", "nonlinearity", "pool"


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
    """A figure whose coordinates are inches from its lower left corner."""

    def __init__(self, width: float, height: float, data: object):
        self.figure: PaperFigure = new_figure(width, height, data)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.axis("off")

    def box(self, at: Box, text: str, role: str = LEARNED, component: str = "", new: bool = False) -> Box:
        """A shape with its text; `component` is the block that brought it, `new` makes it stand out."""
        face = tint(COLORS[component]) if component else GREY if role == LEARNED else "white"
        edge = COLORS[component] if component else INK
        if new:
            hatch = {"edgecolor": tint(edge, 0.45), "hatch": HATCHES[component]}
            self.axes.add_patch(_outline(at, role, facecolor=face, linewidth=0, zorder=4, **hatch))
            face = "none"
        look = {"facecolor": face, "edgecolor": edge, "linewidth": 1.6 if new else LINE}
        self.axes.add_patch(_outline(at, role, **look, zorder=4 if new else 3))
        self.label(at.x, at.y, text, halo=tint(edge) if new else None)
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
        edge = COLORS[component] if component else "#777777"
        self.axes.add_patch(
            FancyBboxPatch(
                (at.left, at.bottom),
                at.width,
                at.height,
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=tint(edge, 0.05),
                edgecolor=edge,
                linewidth=LINE,
                linestyle=(0, (4, 2)),
                zorder=1,
            )
        )
        return at

    def circle(self, x: float, y: float, symbol: str, component: str = "", radius: float = 0.09) -> Box:
        """Arithmetic on whole tensors: `+` or `×`."""
        edge = COLORS[component] if component else INK
        self.axes.add_patch(
            Circle((x, y), radius, facecolor="white", edgecolor=edge, linewidth=LINE + 0.2, zorder=3)
        )
        arm = radius * 0.55
        for dx, dy in (
            ((arm, 0), (0, arm)) if symbol == "+" else ((arm * 0.75, arm * 0.75), (arm * 0.75, -arm * 0.75))
        ):
            self.axes.plot([x - dx, x + dx], [y - dy, y + dy], color=edge, linewidth=LINE + 0.2, zorder=4)
        return Box(x - radius, y - radius, 2 * radius, 2 * radius)

    def arrow(self, *points: tuple[float, float], dotted: bool = False, head: bool = True) -> None:
        """A line through the points, with a head at the last one unless told otherwise."""
        (x0, y0), (x1, y1) = points[-2:]
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        ux, uy = (x1 - x0) / length, (y1 - y0) / length
        ends = list(points)
        if head:
            back = (x1 - 2 * HEAD * ux, y1 - 2 * HEAD * uy)
            wing = 0.65 * HEAD
            corners = [
                (x1, y1),
                (back[0] - wing * uy, back[1] + wing * ux),
                (back[0] + wing * uy, back[1] - wing * ux),
            ]
            self.axes.add_patch(Polygon(corners, closed=True, facecolor=INK, edgecolor="none", zorder=2))
            ends[-1] = back
        style = (0, (1, 1.6)) if dotted else "-"
        xs, ys = zip(*ends, strict=True)
        self.axes.plot(xs, ys, color=INK, linewidth=LINE + (0.3 if dotted else 0), linestyle=style, zorder=2)

    def label(self, x: float, y: float, text: str, halo: object = None, **look) -> None:
        """Text centred at a point unless `ha` and `va` say otherwise."""
        style = {
            "ha": "center",
            "va": "center",
            "fontsize": TEXT_SIZE,
            "color": INK,
            "linespacing": 1.15,
            "zorder": 5,
        }
        artist = self.axes.text(x, y, text, **(style | look))
        if halo is not None:
            artist.set_path_effects([withStroke(linewidth=2.2, foreground=halo)])


def _outline(at: Box, role: str, **look) -> Polygon | Rectangle | FancyBboxPatch:
    if role == NONLINEARITY:
        # A pill, whose height is inset so that it still reads as round beside its square neighbours.
        rounding = min(at.width, at.height) * 0.45
        shape = f"round,pad=0,rounding_size={rounding}"
        return FancyBboxPatch((at.left, at.bottom), at.width, at.height, boxstyle=shape, **look)
    if role == POOL:
        slope = 0.09 * at.height
        corners = [
            (at.left, at.bottom),
            (at.left, at.top),
            (at.right, at.top - slope),
            (at.right, at.bottom + slope),
        ]
        return Polygon(corners, closed=True, **look)
    return Rectangle((at.left, at.bottom), at.width, at.height, **look)
