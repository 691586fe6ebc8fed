"""Figures 1 to 4, drawn from the network's specification and from what its own modules do when run.

Of each figure a first function collects what is drawn, as plain data, and a second one draws it.
"""

from dataclasses import replace

from xnnlib.model import CondConv2d, SqueezeExcite, untrained
from xnnlib.report.canvas import LEARNED, NONLINEARITY, NORM, POOL, Box, Canvas
from xnnlib.report.levels import PART_TITLES, PARTS, part
from xnnlib.report.operations import OPAQUE, box, filter_shape, groups, shape_text
from xnnlib.report.style import COLORS, COLUMN_WIDTH, MARKERS, TEXT_WIDTH, PaperFigure, styled
from xnnlib.report.trace import Step, trace
from xnnlib.spec import BLOCK_TITLES, BLOCKS, NetworkSpec, Stage


def structure(spec: NetworkSpec) -> dict:
    """What Figure 1 draws: the parts of the network in order, with the shape that each makes."""
    rows = list(zip(spec.stages, untrained(spec).stages, strict=True))
    parts = []
    for name in PARTS:
        members = [(stage, row) for stage, row in rows if part(stage) == name]
        if not members:
            continue
        stage, row = members[-1]
        size = stage.size // stage.stride
        widths = dict.fromkeys(str(stage.out_channels) for stage, _ in members)
        entry = {"part": name, "title": PART_TITLES[name], "shape": [stage.out_channels, size, size]}
        entry["note"] = f"{', '.join(widths)} wide"
        if name.startswith("level"):
            blocks = [stage for stage, _ in members for _ in range(stage.repeat)]
            entry["blocks"] = [{"identity": stage.identity, "stride": stage.stride} for stage in blocks]
        else:
            steps = trace(row, (stage.in_channels, stage.size, stage.size))
            entry["boxes"] = [_in_one_row(box(step, symbolic=False)) for step in steps]
            entry["shape"] = list(steps[-1].shape)
        if name == "classifier":
            entry["note"] = f"{spec.num_classes} classes"
        parts.append(entry)
    first = spec.stages[0]
    return {"image": [first.in_channels, first.size, first.size], "parts": parts}


def _in_one_row(drawn: dict) -> dict:
    return drawn | {"text": drawn["text"].replace("global\naverage", "global average")}


@styled
def figure_1(spec: NetworkSpec) -> PaperFigure:
    """The structure: stem, levels of blocks, last convolution, classifier, with the shapes between."""
    data = structure(spec)
    left, width, row, gap = 0.62, 2.6, 0.34, 0.21
    height = len(data["parts"]) * (row + gap) + gap + 0.52
    canvas = Canvas(COLUMN_WIDTH, height, data)
    x, y = left + width / 2, height - 0.19
    canvas.label(x, y + 0.09, "image " + shape_text(*data["image"]))
    spans = {}
    for entry in data["parts"]:
        canvas.arrow((x, y), (x, y - gap))
        at = spans[entry["part"]] = canvas.frame(Box(left, y - gap - row, width, row))
        _draw_part(canvas, at, entry)
        y = at.bottom
        canvas.label(x + 0.09, y - gap / 2, shape_text(*entry["shape"]), ha="left")
    canvas.arrow((x, y), (x, y - gap))
    canvas.label(x, y - gap - 0.08, "class scores")
    canvas.label(left + width, 0.07, "square: a block of Figure 2    +: identity    /2: stride 2", ha="right")
    body = [at for name, at in spans.items() if name not in ("stem", "classifier")]
    stem, head = spans["stem"], spans["classifier"]
    _draw_bracket(canvas, 0.48, stem.top, stem.bottom, "stem")
    _draw_bracket(canvas, 0.48, body[0].top, body[-1].bottom, "body")
    _draw_bracket(canvas, 0.48, head.top, head.bottom, "head")
    _draw_bracket(canvas, 0.22, stem.top, body[-1].bottom, "encoder")
    _draw_bracket(canvas, 0.22, head.top, head.bottom, "decoder")
    return canvas.figure


def _draw_part(canvas: Canvas, at: Box, entry: dict) -> None:
    x, side = at.left + 0.88, 0.22
    canvas.label(at.left + 0.06, at.y + 0.065, entry["title"], ha="left", weight="bold")
    canvas.label(at.left + 0.06, at.y - 0.065, entry["note"], ha="left")
    if "boxes" in entry:
        widths = [0.86 if drawn["role"] == POOL else 0.54 for drawn in entry["boxes"]]
        canvas.chain(x, at.y, at.height - 0.07, entry["boxes"], widths)
        return
    pitch = min(0.28, (at.right - x - 0.02) / len(entry["blocks"]))
    for index, block in enumerate(entry["blocks"]):
        mark = "+" if block["identity"] else f"/{block['stride']}" if block["stride"] > 1 else ""
        canvas.box(Box(x + index * pitch, at.y - side / 2, side, side), mark)


def _draw_bracket(canvas: Canvas, x: float, top: float, bottom: float, text: str) -> None:
    canvas.arrow((x + 0.06, top), (x, top), (x, bottom), (x + 0.06, bottom), head=False)
    canvas.label(x - 0.1, (top + bottom) / 2, text, rotation=90)


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
    rows, known = [], set()
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
        rows.append({"block": name, "groups": row, "identity": "add" in whole})
    return rows


def _block_steps(spec: NetworkSpec, stage: Stage) -> list[Step]:
    module = untrained(spec).stages[spec.stages.index(stage)][0]
    return trace(module, (stage.in_channels, stage.size, stage.size), OPAQUE)


BOX_WIDTHS = {LEARNED: 0.62, NORM: 0.33, NONLINEARITY: 0.36}
GATE_WIDTH, GATE_GAP, SHAPE_GAP = 0.50, 0.16, 0.55


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
    y, bus = bottom + 0.34, bottom + 0.78
    name = row["block"]
    canvas.axes.plot([0.12], [bottom + 1.0], MARKERS[name], color=COLORS[name], markersize=5)
    canvas.label(0.24, bottom + 0.995, BLOCK_TITLES[name], ha="left", weight="bold", fontsize=8)
    x, shape = 0.06, ["N_i", "H", "H"]
    start = x
    last = len(row["groups"]) - 1
    gated = any(group["boxes"][0]["component"] == "se" for group in row["groups"])
    for index, group in enumerate(row["groups"]):
        gate = group["boxes"][0]["component"] == "se"
        gap = SHAPE_GAP
        if index == last:
            # Without a gate the arrow spans its place, so that the columns of all blocks agree.
            gap = GATE_GAP if gated else SHAPE_GAP + GATE_WIDTH + GATE_GAP
        canvas.arrow((x, y), (x + gap, y))
        if gap >= SHAPE_GAP:
            _label_shape(canvas, x, y, shape)
        widths = [GATE_WIDTH if gate else BOX_WIDTHS[drawn["role"]] for drawn in group["boxes"]]
        x = canvas.chain(x + gap, y, 0.52, group["boxes"], widths).right
        shape = group["shape"]
    _label_shape(canvas, x, y, shape)
    if row["identity"]:
        canvas.arrow((x, y), (x + SHAPE_GAP, y))
        adder = canvas.circle(x + SHAPE_GAP + 0.09, y, "+")
        tap = start + 0.06
        canvas.arrow((tap, y), (tap, bus), (adder.x, bus), (adder.x, adder.top), dotted=True)
        text = "identity, if and only if $N_i = N_o$ and $S = 1$"
        canvas.label((tap + adder.x) / 2, bus, text, backgroundcolor="white")
        x = adder.right
        canvas.arrow((x, y), (x + 0.2, y))
    else:
        canvas.arrow((x, y), (x + SHAPE_GAP, y))


def _label_shape(canvas: Canvas, x: float, y: float, shape: list[str]) -> None:
    channels, rows, columns = shape
    text = shape_text(channels, "") + "\n" + shape_text(rows, columns.replace("H", "W"))
    canvas.label(x + 0.25, y + 0.16, text)


def squeeze_excite(spec: NetworkSpec) -> list[dict]:
    """What Figure 3 draws: the operations that make the gate, in order."""
    channels = 8 * spec.reduction
    module = SqueezeExcite(channels, spec.reduction)
    steps = trace(module, (channels, 7, 7))
    if [step.name for step in steps].index("scale") != len(steps) - 1:
        raise ValueError(
            "Figure 3 draws a gate that ends in a scaling of its input; squeeze-and-excite does not"
        )
    return groups(steps[:-1], {channels: "N_e", module.reduce.out_features: "N_e/R"})


@styled
def figure_3(spec: NetworkSpec) -> PaperFigure:
    """Squeeze-and-excite: the gate's operations above the tensor that it scales."""
    gate = squeeze_excite(spec)
    canvas = Canvas(COLUMN_WIDTH, 1.18, gate)
    main, branch, tap = 0.24, 0.84, 0.2
    canvas.frame(Box(0.09, 0.06, 3.12, 1.06), "se")
    canvas.arrow((tap, main), (tap, branch), (tap + 0.16, branch))
    last = _draw_gate(canvas, gate, tap + 0.16, branch, [0.22, 0.34])
    scale = last.right - GATE_WIDTHS[NONLINEARITY] / 2
    circle = canvas.circle(scale, main, "×", "se")
    canvas.arrow((scale, last.bottom), (scale, circle.top))
    canvas.arrow((0.0, main), (circle.left, main))
    canvas.arrow((circle.right, main), (COLUMN_WIDTH, main))
    canvas.label((tap + scale) / 2, main + 0.11, shape_text("N_e", "H/S", "W/S"))
    canvas.label(scale + 0.06, (last.bottom + circle.top) / 2, shape_text("N_e"), ha="left")
    return canvas.figure


GATE_WIDTHS = {LEARNED: 0.42, NONLINEARITY: 0.46, POOL: 0.46}


def _draw_gate(canvas: Canvas, gate: list[dict], x: float, y: float, gaps: list[float]) -> Box:
    """Draw the groups of a gate, an arrow with a shape in each of the gaps between; returns the last."""
    for group, gap in zip(gate, [*gaps, None], strict=True):
        widths = [GATE_WIDTHS[drawn["role"]] for drawn in group["boxes"]]
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
        if names[-2:] != ["mix", "convolution"]:
            raise ValueError(
                f"Figure 4 draws routing, mixing and one convolution, but the layer does {names}"
            )
        kinds[kind] = 3 if filter_shape(module)[1] == 1 else 4
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
    middle, pitch = 2.01, 0.715
    xs = [middle + pitch * (index - (len(names) - 1) / 2) for index in range(len(names))]
    start = routing.right - GATE_WIDTHS[NONLINEARITY] / 2
    canvas.arrow((start, routing.bottom), (start, fan), head=False)
    canvas.label(start + 0.06, (routing.bottom + fan) / 2, shape_text("M"), ha="left")
    adder = canvas.circle(middle, collect, "+", "se_cond")
    for x, name in zip(xs, names, strict=True):
        if not name:
            canvas.label(x, experts, "…")
            continue
        scale = canvas.circle(x, experts, "×", "se_cond")
        canvas.arrow((start, fan), (x, fan), (x, scale.top))
        canvas.label(x - 0.04, fan - 0.14, f"$r_{{{name}}}$", ha="right")
        expert = canvas.box(Box(x - 0.53, experts - 0.13, 0.31, 0.26), f"$W_{{{name}}}$", component="se_cond")
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
