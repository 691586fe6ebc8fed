"""Figures 1 to 4, drawn from the network's specification and from what its own modules do when run.

Of each figure a first function collects what is drawn, as plain data, and a second one draws it.
"""

from dataclasses import replace

from xnnlib.model import CondConv2d, SqueezeExcite, untrained
from xnnlib.report.canvas import LEARNED, Box, Canvas
from xnnlib.report.style import COLORS, COLUMN_WIDTH, MARKERS, TEXT_WIDTH, PaperFigure, styled
from xnnlib.report.summary import PARTS, letter, part
from xnnlib.report.trace import OPAQUE, Step, box, groups, trace
from xnnlib.spec import BLOCK_TITLES, BLOCKS, NetworkSpec, Stage

PART_TITLES = {one: one.replace("_", " ").capitalize() for one in PARTS} | {
    "last": "Last conv",
    "classifier": "Decoder",
}


def shape_text(*sizes: object) -> str:
    """`16×56×56` or `N_e×H×W` in mathematical type."""
    return "$" + r"{\times}".join(str(size) for size in sizes) + "$"


def structure(spec: NetworkSpec) -> dict:
    """What Figure 1 draws: the parts of the network in order, with the shape that each makes."""
    rows = list(zip(spec.stages, untrained(spec).stages, strict=True))
    parts = []
    for name in PARTS:
        members = [(stage, row) for stage, row in rows if part(stage) == name]
        if not members:
            continue
        stage, row = members[-1]
        entry = {"part": name, "title": PART_TITLES[name]}
        if name.startswith("level"):
            blocks = [stage for stage, _ in members for _ in range(stage.repeat)]
            entry["blocks"] = [{"identity": stage.identity, "stride": stage.stride} for stage in blocks]
            widths = dict.fromkeys(str(stage.out_channels) for stage, _ in members)
            entry["widths"] = f"{', '.join(widths)} wide"
            size = stage.size // stage.stride
            entry["shape"] = [stage.out_channels, size, size]
        else:
            steps = trace(row, (stage.in_channels, stage.size, stage.size))
            drawn = [box(step, symbolic=False) for step in steps]
            entry["boxes"] = [one | {"text": one["text"].replace("\n", " ")} for one in drawn]
            entry["shape"] = list(steps[-1].shape)
        parts.append(entry)
    first = spec.stages[0]
    return {"image": [first.in_channels, first.size, first.size], "parts": parts}


ROW, GAP, SQUARE = 0.2, 0.07, 0.155
STRUCTURE_WIDTHS = {
    "batch norm": 0.62,
    "ReLU": 0.38,
    "global average pool": 1.08,
    "linear + bias": 0.72,
}


@styled
def figure_1(spec: NetworkSpec) -> PaperFigure:
    """The structure: stem, levels of blocks, last convolution, classifier, with the shapes between."""
    data = structure(spec)
    left, right = 0.24, 2.68
    height = len(data["parts"]) * (ROW + GAP) + GAP + 0.33
    canvas = Canvas(COLUMN_WIDTH, height, data)
    x, y = 1.45, height - 0.04
    shapes = [data["image"], *(entry["shape"] for entry in data["parts"])]
    spans = {}
    for entry, shape in zip(data["parts"], shapes, strict=False):
        canvas.arrow((x, y), (x, y - GAP))
        canvas.label(right + 0.04, y - GAP / 2, shape_text(*shape), ha="left")
        at = spans[entry["part"]] = canvas.frame(Box(left, y - GAP - ROW, right - left, ROW))
        _draw_part(canvas, at, entry)
        y = at.bottom
    canvas.arrow((x, y), (x, y - GAP))
    canvas.label(right + 0.04, y - GAP / 2, f"{shapes[-1][0]} scores", ha="left")
    marks = {"": "block", "+": "with identity", "/2": "with stride 2"}
    for place, (mark, meaning) in zip((left, 0.88, 1.88), marks.items(), strict=True):
        at = canvas.box(Box(place, 0.03, SQUARE, SQUARE), mark)
        canvas.label(at.right + 0.05, at.y, meaning, ha="left")
    top, bottom = spans["stem"].top, spans["last"].bottom
    canvas.arrow((0.21, top), (0.16, top), (0.16, bottom), (0.21, bottom), head=False)
    canvas.label(0.08, (top + bottom) / 2, "encoder: stem and body", rotation=90)
    return canvas.figure


def _draw_part(canvas: Canvas, at: Box, entry: dict) -> None:
    x = at.left + 0.6
    canvas.label(at.left + 0.04, at.y, entry["title"], ha="left", weight="bold")
    if "boxes" in entry:
        widths = [STRUCTURE_WIDTHS.get(drawn["text"], 0.52) for drawn in entry["boxes"]]
        canvas.chain(x, at.y, at.height - 0.05, entry["boxes"], widths)
        return
    pitch = min(0.175, 1.0 / len(entry["blocks"]))
    for index, block in enumerate(entry["blocks"]):
        mark = "+" if block["identity"] else f"/{block['stride']}" if block["stride"] > 1 else ""
        canvas.box(Box(x + index * pitch, at.y - SQUARE / 2, SQUARE, SQUARE), mark)
    canvas.label(at.right - 0.04, at.y, entry["widths"], ha="right")


def blocks(spec: NetworkSpec) -> list[dict]:
    """What Figure 2 draws: the operations of each block, and which of them the block above lacks."""
    strided = next(stage for stage in spec.stages if stage.operation == "block" and stage.stride > 1)
    same = next(stage for stage in spec.stages if stage.identity)
    symbols = {
        strided.in_channels: "N_i",
        strided.in_channels * strided.expansion: "N_e",
        strided.out_channels: "N_o",
        strided.size: "H",
        strided.size // strided.stride: "H/S",
    }
    rows, known, parts = [], set(), []
    for name in BLOCKS:
        whole = [step.name for step in _block_steps(replace(spec, block=name), same)]
        row = groups(_block_steps(replace(spec, block=name), strided), symbols)
        drawn = [drawn for group in row for drawn in group["boxes"]]
        for one in drawn:
            one["new"] = one["component"] not in known and bool(one["component"])
        known |= {one["component"] for one in drawn}
        after = whole[whole.index("add") + 1 :] if "add" in whole else []
        if after:
            raise ValueError(f"Figure 2 draws nothing after the adder, but block {name} has {after}")
        # Each title tells the whole block: what was there, and what this one adds.
        parts.append(BLOCK_TITLES[name].split(": ")[1])
        title = f"{letter(name)}: {' '.join(parts)}"
        rows.append({"block": name, "title": title, "groups": row, "identity": "add" in whole})
    return rows


def _block_steps(spec: NetworkSpec, stage: Stage) -> list[Step]:
    module = untrained(spec).stages[spec.stages.index(stage)][0]
    return trace(module, (stage.in_channels, stage.size, stage.size), OPAQUE)


BLOCK_WIDTHS = {"batch\nnorm": 0.33, "ReLU": 0.36, "squeeze\nand\nexcite": 0.5}
# Where the groups of a block begin, so that those of all blocks stand under each other: expansion, depthwise
# convolution, gate, projection.
EXPAND, DEPTHWISE, GATED, PROJECT = 0.61, 2.47, 4.33, 4.99


@styled
def figure_2(spec: NetworkSpec) -> PaperFigure:
    """The three blocks under each other; what a block adds to the one above stands out."""
    rows = blocks(spec)
    height = 1.17
    canvas = Canvas(TEXT_WIDTH, height * len(rows), rows)
    for index, row in enumerate(rows):
        _draw_block(canvas, height * (len(rows) - index - 1), row)
    return canvas.figure


def _draw_block(canvas: Canvas, bottom: float, row: dict) -> None:
    y, bus, name = bottom + 0.34, bottom + 0.78, row["block"]
    canvas.axes.plot([0.12], [bottom + 1.0], MARKERS[name], color=COLORS[name], markersize=5)
    canvas.label(0.24, bottom + 0.995, row["title"], ha="left", weight="bold", fontsize=8)
    start = x = 0.06
    shape = ["N_i", "H", "H"]
    columns = (EXPAND, DEPTHWISE, GATED, PROJECT) if len(row["groups"]) == 4 else (EXPAND, DEPTHWISE, PROJECT)
    for group, left in zip(row["groups"], columns, strict=True):
        canvas.arrow((x, y), (left, y))
        if left - x > 0.5:
            _label_shape(canvas, x, y, shape)
        widths = [BLOCK_WIDTHS.get(drawn["text"], 0.62) for drawn in group["boxes"]]
        x, shape = canvas.chain(left, y, 0.52, group["boxes"], widths).right, group["shape"]
    _label_shape(canvas, x, y, shape)
    end = x + 0.55
    canvas.arrow((x, y), (end, y))
    if row["identity"]:
        adder = canvas.circle(end + 0.09, y, "+")
        tap = start + 0.06
        canvas.arrow((tap, y), (tap, bus), (adder.x, bus), (adder.x, adder.top), dotted=True)
        text = "identity, if and only if $N_i = N_o$ and $S = 1$"
        canvas.label((tap + adder.x) / 2, bus, text, backgroundcolor="white")
        canvas.arrow((adder.right, y), (adder.right + 0.2, y))


def _label_shape(canvas: Canvas, x: float, y: float, shape: list[str]) -> None:
    channels, rows, columns = shape
    text = shape_text(channels, "") + "\n" + shape_text(rows, columns.replace("H", "W"))
    canvas.label(x + 0.25, y + 0.16, text)


def squeeze_excite(spec: NetworkSpec) -> dict:
    """What Figure 3 draws: the operations that make the gate, in order, and the reduction."""
    channels = 8 * spec.reduction
    steps = trace(SqueezeExcite(channels, spec.reduction), (channels, 7, 7))
    if [step.name for step in steps].index("scale") != len(steps) - 1:
        raise ValueError(
            "Figure 3 draws a gate that ends in a scaling of its input; squeeze-and-excite does not"
        )
    gate = groups(steps[:-1], {channels: "N_e", channels // spec.reduction: "N_e/R"})
    return {"gate": gate, "reduction": spec.reduction}


GATE_WIDTH = 0.46


@styled
def figure_3(spec: NetworkSpec) -> PaperFigure:
    """Squeeze-and-excite: the gate's operations above the tensor that it scales."""
    data = squeeze_excite(spec)
    canvas = Canvas(COLUMN_WIDTH, 1.18, data)
    main, branch, tap = 0.24, 0.84, 0.2
    canvas.frame(Box(0.09, 0.06, 3.12, 1.06), "se")
    canvas.arrow((tap, main), (tap, branch), (tap + 0.16, branch))
    last = _draw_gate(canvas, data["gate"], tap + 0.16, branch, [0.22, 0.34])
    scale = last.right - GATE_WIDTH / 2
    circle = canvas.circle(scale, main, "×", "se")
    canvas.arrow((scale, last.bottom), (scale, circle.top))
    canvas.arrow((0.0, main), (circle.left, main))
    canvas.arrow((circle.right, main), (COLUMN_WIDTH, main))
    canvas.label(0.85, main + 0.11, shape_text("N_e", "H/S", "W/S"))
    canvas.label(2.06, branch - 0.11, f"$R = {data['reduction']}$")
    canvas.label(scale + 0.06, (last.bottom + circle.top) / 2, shape_text("N_e"), ha="left")
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


def conditional_convolution(spec: NetworkSpec) -> dict:
    """What Figure 4 draws: the routing, the experts and the two kinds of filter."""
    channels = 8 * spec.experts
    kinds = {}
    for depthwise, kind in ((True, "fully grouped"), (False, "not grouped")):
        module = CondConv2d(channels, channels, depthwise=depthwise, experts=spec.experts)
        steps = trace(module, (channels, 7, 7))
        names = [step.name for step in steps]
        if names[-2:] != ["mix", "conv"]:
            raise ValueError(
                f"Figure 4 draws routing, mixing and one convolution, but the layer does {names}"
            )
        kinds[kind] = 3 if module.filter_shape[1] == 1 else 4
        routing = groups(steps[:-2], {channels: "N_i", spec.experts: "M"})
    return {"routing": routing, "experts": spec.experts, "kinds": kinds}


@styled
def figure_4(spec: NetworkSpec) -> PaperFigure:
    """Conditional convolution: routing above, the experts and their sum, the convolution below."""
    data = conditional_convolution(spec)
    height = 2.85
    canvas = Canvas(COLUMN_WIDTH, height, data)
    main, collect, experts, fan, branch, tap = 0.52, 1.18, 1.52, 1.96, 2.5, 0.2
    canvas.frame(Box(0.09, 0.06, 3.12, height - 0.12), "se_cond")
    canvas.arrow((tap, main), (tap, branch), (tap + 0.14, branch))
    routing = _draw_gate(canvas, data["routing"], tap + 0.14, branch, [0.20])
    names = _expert_names(data["experts"])
    middle, pitch = 1.99, 0.66
    xs = [middle + pitch * (index - (len(names) - 1) / 2) for index in range(len(names))]
    start = routing.right - GATE_WIDTH / 2
    canvas.arrow((start, routing.bottom), (start, fan), head=False)
    canvas.label(start + 0.06, (routing.bottom + fan) / 2, f"$M = {data['experts']}$", ha="left")
    adder = canvas.circle(middle, collect, "+", "se_cond")
    for x, name in zip(xs, names, strict=True):
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
            end = adder.left if x < middle else adder.right
            canvas.arrow((x, scale.bottom), (x, collect), (end, collect))
    filter_box = Box(middle - 0.42, main - 0.2, 0.84, 0.4)
    canvas.arrow((middle, adder.bottom), (middle, filter_box.top))
    canvas.label(middle + 0.06, (adder.bottom + filter_box.top) / 2, "one $W$ per sample", ha="left")
    canvas.box(filter_box, "convolution\nwith its $W$", component="se_cond", new=True)
    canvas.arrow((0.0, main), (filter_box.left, main))
    canvas.arrow((filter_box.right, main), (COLUMN_WIDTH, main))
    canvas.label(0.7, main + 0.11, shape_text("N_i", "H", "W"))
    canvas.label(2.81, main + 0.11, shape_text("N_o", "H/S", "W/S"))
    kinds = ";  ".join(f"{name}: $W$ is {rank}D" for name, rank in data["kinds"].items())
    canvas.label(COLUMN_WIDTH / 2, 0.18, kinds)
    return canvas.figure


def _expert_names(count: int) -> list[str]:
    """Indices of the experts to draw: all of up to four, else the first two, a gap and the last."""
    return [str(index) for index in range(count)] if count <= 4 else ["0", "1", "", "M-1"]
