"""The one visual language of Figures 1 to 4: boxes, circles and arrows on a canvas in inches.

Learned operations are grey rectangles, batch norm and pooling are white ones, nonlinearities have round
ends, and arithmetic is a circle. A squeeze-and-excite is tinted in block B's colour and a conditional
convolution in block C's; what a figure introduces has a bold outline.
"""

from math import hypot

from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from xnnlib.report.style import COLORS, PaperFigure
from xnnlib.report.trace import CONDITIONAL, GATE, Step

INK, GREY = "#222222", "#E4E6EA"
LINE, BOLD = 0.8, 1.8  # points
HEAD = 0.1  # length of an arrow's head
RADIUS = 0.09  # of a circle
NONLINEARITIES = ("ReLU", "Sigmoid")
WHITE = (*NONLINEARITIES, "batch norm", "global average pool")
# The block that brought an operation gives it its colour.
COMPONENTS = {GATE: "se", CONDITIONAL: "se_cond"}


def tint(color: str, share: float = 0.22) -> tuple[float, ...]:
    """`color` mixed with white, opaque, so that it prints and overlaps as it looks."""
    return tuple(1 - share * (1 - part) for part in to_rgb(color))


def place(left: float, y: float, width: float, height: float) -> Bbox:
    """The rectangle whose left side is at `left` and whose middle is at the height `y`."""
    return Bbox.from_bounds(left, y - height / 2, width, height)


class Canvas(PaperFigure):
    """A figure whose coordinates are inches from its lower left corner."""

    def __init__(self, width: float, height: float, data: object):
        super().__init__(width, height, data)
        self.page = self.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
        self.page.axis("off")

    def box(self, at: Bbox, text: str, name: str = "", component: str = "", bold: bool = False) -> Bbox:
        """A shape with its text; its look follows from the operation's name and the block that brought it."""
        edge = COLORS[component] if component else INK
        face = tint(edge) if component else "white" if name in WHITE else GREY
        look = {"facecolor": face, "edgecolor": edge, "linewidth": BOLD if bold else LINE, "zorder": 3 + bold}
        self._patch(at, 0.45 * min(at.width, at.height) if name in NONLINEARITIES else 0, **look)
        self.write(at.x0 + at.width / 2, at.y0 + at.height / 2, text)
        return at

    def chain(
        self, left: float, y: float, height: float, steps: list[Step], widths: dict, one_line=False, new=""
    ) -> Bbox:
        """The boxes of steps that touch; `widths` by name, "" for others; bold what block `new` brought."""
        x = left
        for step in steps:
            width, component = widths.get(step.name, widths[""]), COMPONENTS.get(step.name, "")
            bold = bool(component) and component == new
            x = self.box(place(x, y, width, height), step.label(one_line), step.name, component, bold).x1
        return place(left, y, x - left, height)

    def frame(self, at: Bbox, component: str = "") -> None:
        """A dashed line around what belongs together."""
        edge = COLORS[component] if component else "#777777"
        look = {"facecolor": tint(edge, 0.05), "edgecolor": edge, "linewidth": LINE, "linestyle": (0, (4, 2))}
        self._patch(at, 0.06, zorder=1, **look)

    def _patch(self, at: Bbox, radius: float, **look) -> None:
        style = f"round,pad=0,rounding_size={radius}" if radius else "square,pad=0"
        self.page.add_patch(FancyBboxPatch(at.p0, at.width, at.height, boxstyle=style, **look))

    def circle(self, x: float, y: float, symbol: str, component: str = "") -> None:
        """Arithmetic on whole tensors around the point: `+` or `×`."""
        look = {"edgecolor": COLORS[component] if component else INK, "linewidth": LINE + 0.2}
        self.page.add_patch(Circle((x, y), RADIUS, facecolor="white", zorder=3, **look))
        marker, size = {"+": ("+", 1.1), "×": ("x", 0.82)}[symbol]
        style = {"markeredgecolor": look["edgecolor"], "markeredgewidth": look["linewidth"], "zorder": 4}
        self.page.plot(x, y, marker, markersize=72 * RADIUS * size, **style)

    def arrow(self, *points: tuple[float, float], head: bool = True, dotted: bool = False) -> None:
        """A line through the points, with a head at the last one unless told otherwise."""
        (x0, y0), (x1, y1) = points[-2:]
        length = 72 * min(HEAD, 0.8 * hypot(x1 - x0, y1 - y0))
        style = f"-|>,head_length={length},head_width={24 * HEAD}" if head else "-"
        line = {"linestyle": (0, (1, 1.6)), "linewidth": LINE + 0.3} if dotted else {"linewidth": LINE}
        look = {"color": INK, "zorder": 2, "mutation_scale": 1, "joinstyle": "miter", "capstyle": "butt"}
        self.page.add_patch(FancyArrowPatch(path=Path(points), arrowstyle=style, **look, **line))

    def write(self, x: float, y: float, text: str, **look) -> None:
        """Text centred at a point unless `ha` and `va` say otherwise."""
        style = {"ha": "center", "va": "center", "color": INK, "linespacing": 1.15, "zorder": 5}
        self.page.text(x, y, text, **(style | look))
