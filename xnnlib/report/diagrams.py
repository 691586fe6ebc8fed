"""Figures 1 to 4, drawn from the network's specification and from what its own modules do when run."""

from dataclasses import asdict, replace

from xnnlib.model import CondConv2d, SqueezeExcite, untrained
from xnnlib.report.canvas import RADIUS, Canvas, place
from xnnlib.report.style import COLORS, COLUMN_WIDTH, MARKERS, TEXT_WIDTH, PaperFigure, applied
from xnnlib.report.summary import letter
from xnnlib.report.trace import GATE, OPAQUE, Group, Step, groups, trace
from xnnlib.spec import BLOCK_TITLES, BLOCKS, NetworkSpec, Stage

# Figure 1: sizes in inches, and titles of what is in no level.
ROW, GAP, SQUARE = 0.2, 0.07, 0.155
PART_TITLES = {"stem": "Stem", "last": "Last conv", "classifier": "Decoder"}
PART_WIDTHS = {"batch norm": 0.62, "ReLU": 0.38, "global average pool": 1.08, "linear": 0.72, "": 0.52}


def shape_text(*sizes: object) -> str:
    """`16×56×56` or `N_e×H×W` in mathematical type."""
    return "$" + r"{\times}".join(str(size) for size in sizes) + "$"


@applied()
def figure_1(spec: NetworkSpec) -> PaperFigure:
    """The structure: stem, levels of blocks, last convolution, classifier, with the shapes between."""
    parts: dict[str, list[Stage]] = {}
    steps = {}
    for level, stage, row in zip(spec.levels(), spec.stages, untrained(spec).stages, strict=True):
        title = f"Level {level}" if level else PART_TITLES[stage.operation]
        parts.setdefault(title, []).append(stage)
        if not level:
            steps[title] = trace(row, (stage.in_channels, stage.size, stage.size))
    left, right, x, top = 0.24, 2.68, 1.45, len(parts) * (ROW + GAP) + GAP + 0.29
    first = top - GAP
    canvas = Canvas(COLUMN_WIDTH, top + 0.04, [[asdict(stage) for stage in spec.stages], steps])
    for title, stages in parts.items():
        canvas.arrow((x, top), (x, top - GAP))
        shape = shape_text(stages[0].in_channels, stages[0].size, stages[0].size)
        canvas.write(right + 0.04, top - GAP / 2, shape, ha="left")
        top -= GAP + ROW
        y = top + ROW / 2
        canvas.frame(place(left, y, right - left, ROW))
        canvas.write(left + 0.04, y, title, ha="left", weight="bold")
        if title in steps:
            canvas.chain(left + 0.6, y, ROW - 0.05, steps[title], PART_WIDTHS, one_line=True)
        else:
            _draw_level(canvas, left + 0.6, right - 0.04, y, stages)
    canvas.arrow((x, top), (x, top - GAP))
    canvas.write(right + 0.04, top - GAP / 2, f"{spec.num_classes} scores", ha="left")
    marks = {"": "block", "+": "with identity", "/2": "with stride 2"}
    for mark_left, (mark, meaning) in zip((left, 0.88, 1.88), marks.items(), strict=True):
        at = canvas.box(place(mark_left, 0.11, SQUARE, SQUARE), mark)
        canvas.write(at.x1 + 0.05, 0.11, meaning, ha="left")
    last = top + ROW + GAP  # the encoder is all but the decoder
    canvas.arrow((0.21, first), (0.16, first), (0.16, last), (0.21, last), head=False)
    canvas.write(0.08, (first + last) / 2, "encoder: stem and body", rotation=90)
    return canvas


def _draw_level(canvas: Canvas, left: float, right: float, y: float, stages: list[Stage]) -> None:
    """A square for each block of the level, and its widths."""
    blocks = [stage for stage in stages for _ in range(stage.repeat)]
    pitch = min(0.175, 1.0 / len(blocks))
    for index, block in enumerate(blocks):
        mark = "+" if block.identity else f"/{block.stride}" if block.stride > 1 else ""
        canvas.box(place(left + index * pitch, y, SQUARE, SQUARE), mark)
    widths = dict.fromkeys(str(block.out_channels) for block in blocks)
    canvas.write(right, y, f"{', '.join(widths)} wide", ha="right")


# Figure 2: where the groups of a block begin, so that those of all blocks stand under each other.
EXPAND, DEPTHWISE, GATED, PROJECT = 0.61, 2.47, 4.33, 4.99
BLOCK_WIDTHS = {"batch norm": 0.33, "ReLU": 0.36, GATE: 0.5, "": 0.62}


@applied()
def figure_2(spec: NetworkSpec) -> PaperFigure:
    """The three blocks under each other; what a block adds to the one above stands out.

    Raises ValueError if a block does anything after its adder, for which the figure has no place.
    """
    height = 1.17
    drawn = {name: block_groups(replace(spec, block=name)) for name in BLOCKS}
    canvas = Canvas(TEXT_WIDTH, height * len(BLOCKS), drawn)
    for index, name in enumerate(BLOCKS):
        bottom = height * (len(BLOCKS) - index - 1)
        canvas.page.plot(0.12, bottom + 1.0, MARKERS[name], color=COLORS[name], markersize=5)
        # Each title tells the whole block: what was there, and what this one adds.
        added = [BLOCK_TITLES[block].split(": ")[1] for block in BLOCKS[: index + 1]]
        title = f"{letter(name)}: {' '.join(added)}"
        canvas.write(0.24, bottom + 0.995, title, ha="left", weight="bold", fontsize=8)
        _draw_block(canvas, bottom + 0.34, drawn[name], name)
    return canvas


def block_groups(spec: NetworkSpec) -> list[Group]:
    """The operations of the specification's block before its adder."""
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


def _draw_block(canvas: Canvas, y: float, drawn: list[Group], new: str) -> None:
    start = x = 0.06
    shape = ["N_i", "H", "H"]
    columns = (EXPAND, DEPTHWISE, GATED, PROJECT) if len(drawn) == 4 else (EXPAND, DEPTHWISE, PROJECT)
    for group, left in zip(drawn, columns, strict=True):
        canvas.arrow((x, y), (left, y))
        if left - x > 0.5:
            _label_shape(canvas, x, y, shape)
        x, shape = canvas.chain(left, y, 0.52, group.steps, BLOCK_WIDTHS, new=new).x1, group.shape
    _label_shape(canvas, x, y, shape)
    adder, tap, bus = x + 0.64, start + 0.06, y + 0.44
    canvas.circle(adder, y, "+")
    canvas.arrow((x, y), (adder - RADIUS, y))
    canvas.arrow((adder + RADIUS, y), (adder + RADIUS + 0.2, y))
    canvas.arrow((tap, y), (tap, bus), (adder, bus), (adder, y + 0.2), dotted=True, head=False)
    canvas.arrow((adder, y + 0.2), (adder, y + RADIUS))
    text = "identity, if and only if $N_i = N_o$ and $S = 1$"
    canvas.write((tap + adder) / 2, bus, text, backgroundcolor="white")


def _label_shape(canvas: Canvas, x: float, y: float, shape: list[str]) -> None:
    channels, rows, columns = shape
    text = shape_text(channels, "") + "\n" + shape_text(rows, columns.replace("H", "W"))
    canvas.write(x + 0.25, y + 0.16, text)


GATE_WIDTHS = {"linear": 0.42, "": 0.46}


@applied()
def figure_3(spec: NetworkSpec) -> PaperFigure:
    """Squeeze-and-excite: the gate's operations above the tensor that it scales.

    Raises ValueError if the module does not end in that scaling.
    """
    channels = 8 * spec.reduction
    *steps, last = trace(SqueezeExcite(channels, spec.reduction), (channels, 7, 7))
    if last.name != "scale" or "scale" in [step.name for step in steps]:
        raise ValueError("Figure 3 draws a gate that ends in a scaling of its input; this one does not")
    gate = groups(steps, {channels: "N_e", channels // spec.reduction: "N_e/R"})
    canvas = Canvas(COLUMN_WIDTH, 1.18, gate)
    main, branch, tap = 0.24, 0.84, 0.2
    canvas.frame(place(0.09, 0.59, 3.12, 1.06), "se")
    canvas.arrow((tap, main), (tap, branch), (tap + 0.16, branch))
    end = _draw_gate(canvas, gate, tap + 0.16, branch, [0.22, 0.34])
    scale = end.x1 - GATE_WIDTHS[""] / 2
    canvas.circle(scale, main, "×", "se")
    canvas.arrow((scale, end.y0), (scale, main + RADIUS))
    canvas.arrow((0.0, main), (scale - RADIUS, main))
    canvas.arrow((scale + RADIUS, main), (COLUMN_WIDTH, main))
    canvas.write(0.85, main + 0.11, shape_text("N_e", "H/S", "W/S"))
    canvas.write(2.06, branch - 0.11, f"$R = {spec.reduction}$")
    canvas.write(scale + 0.06, (end.y0 + main + RADIUS) / 2, shape_text("N_e"), ha="left")
    return canvas


def _draw_gate(canvas: Canvas, gate: list[Group], x: float, y: float, gaps: list[float]):
    """Draw the groups of a gate, an arrow with a shape in each of the gaps between; returns the last."""
    for group, gap in zip(gate, [*gaps, None], strict=True):
        at = canvas.chain(x, y, 0.44, group.steps, GATE_WIDTHS)
        if gap:
            x = at.x1 + gap
            canvas.arrow((at.x1, y), (x, y))
            canvas.write(at.x1 + gap / 2 - 0.02, y + 0.11, shape_text(*group.shape))
    return at


@applied()
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
            raise ValueError("Figure 4 draws routing, mixing and one convolution; this layer does more")
        kinds.append(f"{kind}: $W$ is {3 if module.filter_shape[1] == 1 else 4}D")
    routing = groups(steps, {channels: "N_i", spec.experts: "M"})
    canvas = Canvas(COLUMN_WIDTH, 2.85, [routing, kinds, spec.experts])
    main, collect, experts, fan, branch, tap = 0.52, 1.18, 1.52, 1.96, 2.5, 0.2
    canvas.frame(place(0.09, 1.425, 3.12, 2.73), "se_cond")
    canvas.arrow((tap, main), (tap, branch), (tap + 0.14, branch))
    end = _draw_gate(canvas, routing, tap + 0.14, branch, [0.20])
    start = end.x1 - GATE_WIDTHS[""] / 2
    canvas.arrow((start, end.y0), (start, fan), head=False)
    canvas.write(start + 0.06, (end.y0 + fan) / 2, f"$M = {spec.experts}$", ha="left")
    middle, pitch = 1.99, 0.66
    # Of more than four experts the first two and the last are drawn.
    names = [str(index) for index in range(spec.experts)] if spec.experts <= 4 else ["0", "1", "", "M-1"]
    for index, name in enumerate(names):
        x = middle + pitch * (index - (len(names) - 1) / 2)
        if not name:
            canvas.write(x, experts, "…")
            continue
        canvas.circle(x, experts, "×", "se_cond")
        canvas.arrow((start, fan), (x, fan), (x, experts + RADIUS))
        canvas.write(x - 0.04, fan - 0.14, f"$r_{{{name}}}$", ha="right")
        expert = canvas.box(place(x - 0.49, experts, 0.3, 0.26), f"$W_{{{name}}}$", component="se_cond")
        canvas.arrow((expert.x1, experts), (x - RADIUS, experts))
        if abs(x - middle) < RADIUS:
            canvas.arrow((x, experts - RADIUS), (x, collect + RADIUS))
        else:
            side = middle - RADIUS if x < middle else middle + RADIUS
            canvas.arrow((x, experts - RADIUS), (x, collect), (side, collect))
    canvas.circle(middle, collect, "+", "se_cond")
    filters = place(middle - 0.42, main, 0.84, 0.4)
    canvas.box(filters, "convolution\nwith its $W$", component="se_cond", bold=True)
    canvas.arrow((middle, collect - RADIUS), (middle, filters.y1))
    canvas.write(middle + 0.06, (collect - RADIUS + filters.y1) / 2, "one $W$ per sample", ha="left")
    canvas.arrow((0.0, main), (filters.x0, main))
    canvas.arrow((filters.x1, main), (COLUMN_WIDTH, main))
    canvas.write(0.7, main + 0.11, shape_text("N_i", "H", "W"))
    canvas.write(2.81, main + 0.11, shape_text("N_o", "H/S", "W/S"))
    canvas.write(COLUMN_WIDTH / 2, 0.18, ";  ".join(kinds))
    return canvas
