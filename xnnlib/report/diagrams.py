"""Figures 1 to 4, drawn from the network's specification and from what its own modules do when run."""

from dataclasses import replace

from xnnlib.model import CondConv2d, SqueezeExcite, untrained
from xnnlib.report.canvas import LEARNED, Box, Canvas
from xnnlib.report.style import COLORS, COLUMN_WIDTH, MARKERS, TEXT_WIDTH, PaperFigure, styled
from xnnlib.report.summary import PARTS, letter, parts
from xnnlib.report.trace import GATE, OPAQUE, Step, box, groups, trace
from xnnlib.spec import BLOCK_TITLES, BLOCKS, NetworkSpec, Stage

# Figure 1: sizes in inches, titles where they are not the part's name, widths of boxes by their text.
ROW, GAP, SQUARE = 0.2, 0.07, 0.155
PART_TITLES = {"last": "Last conv", "classifier": "Decoder"}
PART_WIDTHS = {"batch norm": 0.62, "ReLU": 0.38, "global average pool": 1.08, "linear + bias": 0.72}


def shape_text(*sizes: object) -> str:
    """`16×56×56` or `N_e×H×W` in mathematical type."""
    return "$" + r"{\times}".join(str(size) for size in sizes) + "$"


@styled
def figure_1(spec: NetworkSpec) -> PaperFigure:
    """The structure: stem, levels of blocks, last convolution, classifier, with the shapes between."""
    left, right, x = 0.24, 2.68, 1.45
    height = len(PARTS) * (ROW + GAP) + GAP + 0.33
    canvas = Canvas(COLUMN_WIDTH, height)
    rows = list(zip(parts(spec), spec.stages, untrained(spec).stages, strict=True))
    y, spans = height - 0.04, {}
    shape = (spec.stages[0].in_channels, spec.stages[0].size, spec.stages[0].size)
    for name in PARTS:
        canvas.arrow((x, y), (x, y - GAP))
        canvas.label(right + 0.04, y - GAP / 2, shape_text(*shape), ha="left")
        at = spans[name] = canvas.frame(Box(left, y - GAP - ROW, right - left, ROW))
        title = PART_TITLES.get(name, name.replace("_", " ").capitalize())
        canvas.label(left + 0.04, at.y, title, ha="left", weight="bold")
        members = [(stage, row) for place, stage, row in rows if place == name]
        if name.startswith("level"):
            shape = _draw_level(canvas, at, [stage for stage, _ in members])
        else:
            ((_, row),) = members
            steps = trace(row, shape)
            boxes = [box(step, symbolic=False) for step in steps]
            boxes = [drawn | {"text": drawn["text"].replace("\n", " ")} for drawn in boxes]
            widths = [PART_WIDTHS.get(drawn["text"], 0.52) for drawn in boxes]
            canvas.chain(left + 0.6, at.y, ROW - 0.05, boxes, widths)
            shape = steps[-1].shape
        y = at.bottom
    canvas.arrow((x, y), (x, y - GAP))
    canvas.label(right + 0.04, y - GAP / 2, f"{shape[0]} scores", ha="left")
    marks = {"": "block", "+": "with identity", "/2": "with stride 2"}
    for place, (mark, meaning) in zip((left, 0.88, 1.88), marks.items(), strict=True):
        at = canvas.box(Box(place, 0.03, SQUARE, SQUARE), mark)
        canvas.label(at.right + 0.05, at.y, meaning, ha="left")
    top, bottom = spans["stem"].top, spans["last"].bottom
    canvas.arrow((0.21, top), (0.16, top), (0.16, bottom), (0.21, bottom), head=False)
    canvas.label(0.08, (top + bottom) / 2, "encoder: stem and body", rotation=90)
    return canvas.figure


def _draw_level(canvas: Canvas, at: Box, stages: list[Stage]) -> tuple[int, int, int]:
    """A square for each block of the level, and its widths. Returns the shape that the level makes."""
    blocks = [stage for stage in stages for _ in range(stage.repeat)]
    pitch = min(0.175, 1.0 / len(blocks))
    for index, block in enumerate(blocks):
        mark = "+" if block.identity else f"/{block.stride}" if block.stride > 1 else ""
        canvas.box(Box(at.left + 0.6 + index * pitch, at.y - SQUARE / 2, SQUARE, SQUARE), mark)
    widths = dict.fromkeys(str(block.out_channels) for block in blocks)
    canvas.label(at.right - 0.04, at.y, f"{', '.join(widths)} wide", ha="right")
    size = stages[-1].size // stages[-1].stride
    return (stages[-1].out_channels, size, size)


# Figure 2: where the groups of a block begin, so that those of all blocks stand under each other.
EXPAND, DEPTHWISE, GATED, PROJECT = 0.61, 2.47, 4.33, 4.99
BLOCK_WIDTHS = {"batch\nnorm": 0.33, "ReLU": 0.36, GATE.replace(" ", "\n"): 0.5}


@styled
def figure_2(spec: NetworkSpec) -> PaperFigure:
    """The three blocks under each other; what a block adds to the one above stands out.

    Raises ValueError if a block does anything after its adder, for which the figure has no place.
    """
    height = 1.17
    canvas = Canvas(TEXT_WIDTH, height * len(BLOCKS))
    known, added = {""}, []
    for index, name in enumerate(BLOCKS):
        # Each title tells the whole block: what was there, and what this one adds.
        added.append(BLOCK_TITLES[name].split(": ")[1])
        bottom = height * (len(BLOCKS) - index - 1)
        canvas.axes.plot([0.12], [bottom + 1.0], MARKERS[name], color=COLORS[name], markersize=5)
        title = f"{letter(name)}: {' '.join(added)}"
        canvas.label(0.24, bottom + 0.995, title, ha="left", weight="bold", fontsize=8)
        drawn = block_groups(replace(spec, block=name))
        for one in (one for group in drawn for one in group["boxes"]):
            one["new"] = one["component"] not in known
        known |= {one["component"] for group in drawn for one in group["boxes"]}
        _draw_block(canvas, bottom + 0.34, drawn)
    return canvas.figure


def block_groups(spec: NetworkSpec) -> list[dict]:
    """The operations of the specification's block before its adder, by `xnnlib.report.trace.groups`."""
    strided = next(stage for stage in spec.stages if stage.operation == "block" and stage.stride > 1)
    same = next(stage for stage in spec.stages if stage.identity)
    names = [step.name for step in _block_steps(spec, same)]
    if names.index("add") != len(names) - 1:
        raise ValueError(f"Figure 2 draws nothing after the adder, but block {spec.block} does {names}")
    symbols = {
        strided.in_channels: "N_i",
        strided.in_channels * strided.expansion: "N_e",
        strided.out_channels: "N_o",
        strided.size: "H",
        strided.size // strided.stride: "H/S",
    }
    return groups(_block_steps(spec, strided), symbols)


def _block_steps(spec: NetworkSpec, stage: Stage) -> list[Step]:
    module = untrained(spec).stages[spec.stages.index(stage)][0]
    return trace(module, (stage.in_channels, stage.size, stage.size), OPAQUE)


def _draw_block(canvas: Canvas, y: float, drawn: list[dict]) -> None:
    start = x = 0.06
    shape = ["N_i", "H", "H"]
    columns = (EXPAND, DEPTHWISE, GATED, PROJECT) if len(drawn) == 4 else (EXPAND, DEPTHWISE, PROJECT)
    for group, left in zip(drawn, columns, strict=True):
        canvas.arrow((x, y), (left, y))
        if left - x > 0.5:
            _label_shape(canvas, x, y, shape)
        widths = [BLOCK_WIDTHS.get(one["text"], 0.62) for one in group["boxes"]]
        x, shape = canvas.chain(left, y, 0.52, group["boxes"], widths).right, group["shape"]
    _label_shape(canvas, x, y, shape)
    adder = canvas.circle(x + 0.64, y, "+")
    canvas.arrow((x, y), (adder.left, y))
    tap, bus = start + 0.06, y + 0.44
    canvas.arrow((tap, y), (tap, bus), (adder.x, bus), (adder.x, adder.top), dotted=True)
    text = "identity, if and only if $N_i = N_o$ and $S = 1$"
    canvas.label((tap + adder.x) / 2, bus, text, backgroundcolor="white")
    canvas.arrow((adder.right, y), (adder.right + 0.2, y))


def _label_shape(canvas: Canvas, x: float, y: float, shape: list[str]) -> None:
    channels, rows, columns = shape
    text = shape_text(channels, "") + "\n" + shape_text(rows, columns.replace("H", "W"))
    canvas.label(x + 0.25, y + 0.16, text)


GATE_WIDTH = 0.46


@styled
def figure_3(spec: NetworkSpec) -> PaperFigure:
    """Squeeze-and-excite: the gate's operations above the tensor that it scales.

    Raises ValueError if the module does not end in that scaling.
    """
    channels = 8 * spec.reduction
    *steps, last = trace(SqueezeExcite(channels, spec.reduction), (channels, 7, 7))
    if last.name != "scale" or "scale" in [step.name for step in steps]:
        raise ValueError(
            "Figure 3 draws a gate that ends in a scaling of its input; squeeze-and-excite does not"
        )
    gate = groups(steps, {channels: "N_e", channels // spec.reduction: "N_e/R"})
    canvas = Canvas(COLUMN_WIDTH, 1.18)
    main, branch, tap = 0.24, 0.84, 0.2
    canvas.frame(Box(0.09, 0.06, 3.12, 1.06), "se")
    canvas.arrow((tap, main), (tap, branch), (tap + 0.16, branch))
    end = _draw_gate(canvas, gate, tap + 0.16, branch, [0.22, 0.34])
    scale = end.right - GATE_WIDTH / 2
    circle = canvas.circle(scale, main, "×", "se")
    canvas.arrow((scale, end.bottom), (scale, circle.top))
    canvas.arrow((0.0, main), (circle.left, main))
    canvas.arrow((circle.right, main), (COLUMN_WIDTH, main))
    canvas.label(0.85, main + 0.11, shape_text("N_e", "H/S", "W/S"))
    canvas.label(2.06, branch - 0.11, f"$R = {spec.reduction}$")
    canvas.label(scale + 0.06, (end.bottom + circle.top) / 2, shape_text("N_e"), ha="left")
    return canvas.figure


def _draw_gate(canvas: Canvas, gate: list[dict], x: float, y: float, gaps: list[float]) -> Box:
    """Draw the groups of a gate, an arrow with a shape in each of the gaps between; returns the last."""
    for group, gap in zip(gate, [*gaps, None], strict=True):
        widths = [0.42 if drawn["role"] == LEARNED else GATE_WIDTH for drawn in group["boxes"]]
        at = canvas.chain(x, y, 0.44, group["boxes"], widths)
        if gap:
            x = at.right + gap
            canvas.arrow((at.right, y), (x, y))
            canvas.label(at.right + gap / 2 - 0.02, y + 0.11, shape_text(*group["shape"]))
    return at


@styled
def figure_4(spec: NetworkSpec) -> PaperFigure:
    """Conditional convolution: routing above, the experts and their sum, the convolution below.

    Raises ValueError if the module does not end in one mixing and one convolution.
    """
    channels = 8 * spec.experts
    kinds = []
    for depthwise, kind in ((True, "fully grouped"), (False, "not grouped")):
        module = CondConv2d(channels, channels, depthwise=depthwise, experts=spec.experts)
        *steps, mix, convolution = trace(module, (channels, 7, 7))
        if (mix.name, convolution.name) != ("mix", "conv"):
            raise ValueError(
                "Figure 4 draws routing, mixing and one convolution; the layer does something else"
            )
        kinds.append(f"{kind}: $W$ is {3 if module.filter_shape[1] == 1 else 4}D")
    height = 2.85
    canvas = Canvas(COLUMN_WIDTH, height)
    main, collect, experts, fan, branch, tap = 0.52, 1.18, 1.52, 1.96, 2.5, 0.2
    canvas.frame(Box(0.09, 0.06, 3.12, height - 0.12), "se_cond")
    canvas.arrow((tap, main), (tap, branch), (tap + 0.14, branch))
    routing = groups(steps, {channels: "N_i", spec.experts: "M"})
    end = _draw_gate(canvas, routing, tap + 0.14, branch, [0.20])
    start = end.right - GATE_WIDTH / 2
    canvas.arrow((start, end.bottom), (start, fan), head=False)
    canvas.label(start + 0.06, (end.bottom + fan) / 2, f"$M = {spec.experts}$", ha="left")
    # Of more than four experts the first two and the last are drawn.
    names = [str(index) for index in range(spec.experts)] if spec.experts <= 4 else ["0", "1", "", "M-1"]
    middle, pitch = 1.99, 0.66
    adder = canvas.circle(middle, collect, "+", "se_cond")
    for index, name in enumerate(names):
        x = middle + pitch * (index - (len(names) - 1) / 2)
        if not name:
            canvas.label(x, experts, "…")
            continue
        scale = canvas.circle(x, experts, "×", "se_cond")
        canvas.arrow((start, fan), (x, fan), (x, scale.top))
        canvas.label(x - 0.04, fan - 0.14, f"$r_{{{name}}}$", ha="right")
        expert = canvas.box(Box(x - 0.49, experts - 0.13, 0.3, 0.26), f"$W_{{{name}}}$", component="se_cond")
        canvas.arrow((expert.right, experts), (scale.left, experts))
        if abs(x - middle) < adder.width:
            canvas.arrow((x, scale.bottom), (x, adder.top))
        else:
            side = adder.left if x < middle else adder.right
            canvas.arrow((x, scale.bottom), (x, collect), (side, collect))
    filters = Box(middle - 0.42, main - 0.2, 0.84, 0.4)
    canvas.arrow((middle, adder.bottom), (middle, filters.top))
    canvas.label(middle + 0.06, (adder.bottom + filters.top) / 2, "one $W$ per sample", ha="left")
    canvas.box(filters, "convolution\nwith its $W$", component="se_cond", new=True)
    canvas.arrow((0.0, main), (filters.left, main))
    canvas.arrow((filters.right, main), (COLUMN_WIDTH, main))
    canvas.label(0.7, main + 0.11, shape_text("N_i", "H", "W"))
    canvas.label(2.81, main + 0.11, shape_text("N_o", "H/S", "W/S"))
    canvas.label(COLUMN_WIDTH / 2, 0.18, ";  ".join(kinds))
    return canvas.figure
