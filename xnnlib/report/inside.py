"""What trained networks do inside, from results/<profile>/analysis.json (see xnnlib.analysis.analyse)."""

import json
from pathlib import Path
from statistics import mean

from pydantic import BaseModel, PositiveInt, ValidationError

from xnnlib.errors import UserError, explain
from xnnlib.files import sha256
from xnnlib.records import WEIGHTS
from xnnlib.report.estimates import Estimate, discordant_difference, format_estimate
from xnnlib.report.numbers import Number
from xnnlib.report.style import COLORS, COLUMN_WIDTH, MARKERS, PaperFigure, applied
from xnnlib.report.summary import digits_of, letter
from xnnlib.report.tables import Table

# Where block C routes, and how Figure 7 draws it.
PARTS = {"expand": "first 1×1", "depthwise": "depthwise", "project": "last 1×1", "routing": "shared"}
LINES = {"expand": ("o", "-"), "depthwise": ("s", "--"), "project": ("^", ":"), "routing": ("D", "-")}
REPLACED = {
    "routing_mean": "mean routing",
    "largest_routing_mean": "mean routing, in one convolution",
    "routing_other": "another image's routing",
    "gates_mean": "mean gates",
    "gates_other": "another image's gates",
    "folded": "mean routing, experts folded",
}


class _Analysis(BaseModel):
    weights: dict[str, str]
    images: PositiveInt
    without: dict[str, dict[str, dict[str, float]]]
    modules: list[dict]
    pairs: dict[str, dict[str, float]]
    top1: dict[str, float]
    initial_similarity: dict[str, float]

    def files(self) -> dict[str, str]:
        return {f"{run}/{WEIGHTS}": digest for run, digest in self.weights.items()}


def load_found(path: Path, schema: type[BaseModel]) -> dict:
    """What notebooks/analysis.ipynb wrote to `path`, which fits the schema.

    The schema's `files` gives the digest of each file of weights, by its path beside `path`. Raises
    UserError on a damaged file, and on one that is about other weights.
    """
    again = "move it away and run notebooks/analysis.ipynb again."
    try:
        found = schema.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({explain(error).rstrip('.')}); {again}") from None
    for name, digest in found.files().items():
        file = path.parent / name
        if file.exists() and sha256(file) != digest:
            raise UserError(f"{path} is about other weights than {file}; {again}")
    return json.loads(path.read_bytes())


def load_analysis(results_dir: Path, profile: str) -> dict | None:
    """What `analyse` found in a profile's networks, and `source`, its file; None if it was not run.

    Raises UserError as `load_found` does.
    """
    path = Path(results_dir, profile, "analysis.json")
    if not path.exists():
        return None
    return load_found(path, _Analysis) | {"source": f"results/{profile}/analysis.json"}


def _changes(analysis: dict) -> list[tuple[str, str, float, Estimate]]:
    """Block, what was replaced, top-1 in percent then, and its change in points."""
    found = [
        (block, name, one["top1"], _difference(analysis, one))
        for block, replaced in analysis["without"].items()
        for name, one in replaced.items()
    ]
    if "folded" in analysis["top1"]:
        change = _difference(analysis, analysis["pairs"]["folded-se_cond"])
        found.append(("se_cond", "folded", analysis["top1"]["folded"], change))
    return found


def _difference(analysis: dict, pair: dict) -> Estimate:
    return discordant_difference(pair["gained"], pair["lost"], analysis["images"])


def _routings(analysis: dict, **where: object) -> list[dict]:
    """The rows of block C's routings that have these values."""
    rows = (row for row in analysis["modules"] if row["block"] == "se_cond" and row["part"] in PARTS)
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


def _statistics(routings: list[dict]) -> dict[str, tuple[float, str]]:
    """Means over routings, each with its text; shares in percent."""
    similarities = [row["similarity"] for row in routings if "similarity" in row]  # not where one is shared
    values = {
        "sd": (mean(row["sd"] for row in routings), 3),
        "saturated": (100 * mean(row["low"] + row["high"] for row in routings), 1),
        "between": (100 * mean(row["between"] for row in routings), 1),
        "similarity": (mean(similarities or [0.0]), 2),
    }
    return {
        name: (value, format_estimate(Estimate(value), digits)) for name, (value, digits) in values.items()
    }


def inside_table(analysis: dict) -> Table:
    """Top-1 of each block as trained and without its conditioning, the change with its 95 % interval."""
    digits, rows = digits_of(analysis["images"]), []
    for block in (name for name in analysis["top1"] if name != "folded"):
        rows.append((letter(block), "as trained", f"{analysis['top1'][block]:.{digits}f}", ""))
        for name, top1, change in (one[1:] for one in _changes(analysis) if one[0] == block):
            rows.append(
                ("", REPLACED[name], f"{top1:.{digits}f}", format_estimate(change, digits, signed=True))
            )
    return Table(("Block", "Computed with", "Top-1 (%)", "Change (points)"), "llrr", tuple(rows))


def routing_table(analysis: dict) -> Table:
    """Means over block C's convolutions of a level and place in the block."""
    rows = []
    for level in sorted({row["level"] for row in _routings(analysis)}):
        for part, title in PARTS.items():
            if found := _routings(analysis, level=level, part=part):
                rows.append((str(level), title, *(shown for _, shown in _statistics(found).values())))
    columns = ("Level", "Convolution", "Standard deviation", "Saturated (%)", "Between classes (%)")
    return Table((*columns, "Similarity of experts"), "llrrrr", tuple(rows))


def inside_numbers(analysis: dict, prefix: str = "inside") -> dict[str, Number]:
    """Numbers of a loaded analysis, such as `inside.se.gates_mean.change` and `inside.routing.sd_expand`.

    Changes and pairs are in points of top-1 with the 95 % interval over images, shares in percent.
    """
    digits, sources, found = digits_of(analysis["images"]), (analysis["source"],), {}

    def add(name: str, change: Estimate) -> None:
        found[name] = Number(*change, format_estimate(change, digits, signed=True), sources)

    for block, name, top1, change in _changes(analysis):
        found[f"{block}.{name}.top1"] = Number.of(top1, sources, f"{top1:.{digits}f}")
        add(f"{block}.{name}.change", change)
    for pair, counts in analysis["pairs"].items():
        add(f"pair.{pair.replace('-', '.')}", _difference(analysis, counts))
    for block, value in analysis["initial_similarity"].items():
        found[f"{block}.initial_similarity"] = Number.of(value, sources, f"{value:.2f}")
    if routings := _routings(analysis):
        whole = _statistics(routings)
        shown = {name: whole[name] for name in ("saturated", "between")}
        for part in {row["part"] for row in routings}:
            own = _statistics(_routings(analysis, part=part))
            shown |= {f"{name}_{part}": own[name] for name in ("sd", "similarity")}
        largest, depths = max(routings, key=lambda row: row["sd"]), _depths(analysis)
        where = f"{PARTS[largest['part']]} of block {depths[_place(largest)]} of {len(depths)}"
        shown |= {"sd_largest": _statistics([largest])["sd"], "largest": (largest["sd"], where)}
        found |= {f"routing.{name}": Number.of(value, sources, text) for name, (value, text) in shown.items()}
    return {f"{prefix}.{name}": number for name, number in found.items()}


@applied()
def figure_7(analysis: dict) -> PaperFigure:
    """How much the routing of C and the gates of B and C differ from image to image, block by block."""
    levels = {_place(row): row["level"] for row in analysis["modules"]}
    depths = _depths(analysis)
    lines: dict[str, dict] = {}  # by title: the part of a block, and its standard deviation by depth
    for row in analysis["modules"]:
        title = PARTS.get(row["part"], letter(row["block"]))
        line = lines.setdefault(title, {"block": row["block"], "part": row["part"], "sd": {}})
        line["sd"][depths[_place(row)]] = row["sd"]
    by_level: dict[int, list[int]] = {}
    for place, depth in depths.items():
        by_level.setdefault(levels[place], []).append(depth)
    figure = PaperFigure(COLUMN_WIDTH, 3.0, [lines, by_level])
    routing, gates = figure.subplots(2, 1, sharex=True)
    for title, line in lines.items():
        axes = routing if line["part"] in PARTS else gates
        marker, style = LINES.get(line["part"], (MARKERS[line["block"]], "-"))
        look = {"color": COLORS[line["block"]], "marker": marker, "linestyle": style, "linewidth": 1}
        axes.plot(list(line["sd"]), list(line["sd"].values()), label=title, **look)
    for axes, label in ((routing, "SD of the routing"), (gates, "SD of the gates")):
        axes.set(ylabel=label, ylim=(0, None))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 0.97), ncols=3, columnspacing=1, handlelength=2)
        for members in list(by_level.values())[1:]:
            axes.axvline(members[0] - 0.5, color="#d9d9d9", linewidth=0.8, zorder=0)
    gates.set_xticks([mean(members) for members in by_level.values()], [str(level) for level in by_level])
    gates.set_xlabel("Block, by level")
    figure.subplots_adjust(left=0.19, right=0.985, bottom=0.125, top=0.92, hspace=0.32)
    return figure


def _depths(analysis: dict) -> dict[tuple[int, int], int]:
    """The number of each block, from 1 on, by its place."""
    places = sorted({_place(row) for row in analysis["modules"]})
    return {place: depth for depth, place in enumerate(places, start=1)}


def _place(row: dict) -> tuple[int, int]:
    """The row of Table 1 and the repeat that a module is in, from its name `stages.3.0.gate`."""
    _, stage, repeat, *_ = row["name"].split(".")
    return int(stage), int(repeat)
