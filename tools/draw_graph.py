"""Draw the graph of the Snakefile's rules for the book: `make dag`."""

import re
import subprocess
import sys
from pathlib import Path

from xnnlib.report.canvas import LEARNED, NONLINEARITY, Box, Canvas
from xnnlib.report.style import PaperFigure, save, styled

FOLDER, NAME = Path("book/_static"), "workflow"
WIDTH, HEIGHT, GAP = 0.95, 0.3, 0.35


def rule_graph(root: Path = Path()) -> list[tuple[str, str]]:
    """Each rule with one that reads its output, as Snakemake finds them for the profile quick, sorted."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "dot", "--nolock"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', done.stdout, re.MULTILINE))
    edges = re.findall(r"^\s*(\d+) -> (\d+)$", done.stdout, re.MULTILINE)
    return sorted((names[start], names[end]) for start, end in edges)


@styled
def draw(edges: list[tuple[str, str]]) -> PaperFigure:
    """The rules from left to right, the longest chain lowest, without the arrows that follow from others."""
    columns: dict[int, list[str]] = {}
    names = sorted({name for edge in edges for name in edge})
    for name in sorted(names, key=lambda name: -_steps(name, edges)):
        columns.setdefault(_steps(name, [edge[::-1] for edge in edges]), []).append(name)
    rows = max(len(names) for names in columns.values())
    canvas = Canvas(len(columns) * (WIDTH + GAP) - GAP + 0.1, rows * (HEIGHT + GAP) - GAP + 0.1, edges)
    boxes = {}
    for column, names in columns.items():
        for row, name in enumerate(names):
            at = Box(0.05 + column * (WIDTH + GAP), 0.05 + row * (HEIGHT + GAP), WIDTH, HEIGHT)
            boxes[name] = canvas.box(at, name, NONLINEARITY if name == "all" else LEARNED)
    for start, end in edges:
        others = [edge for edge in edges if edge != (start, end)]
        if end in _after(start, others):
            continue
        one, two = boxes[start], boxes[end]
        if one.y > two.y and two.left - one.right > WIDTH:
            canvas.arrow((one.right, one.y), (two.x, one.y), (two.x, two.top))
        else:
            canvas.arrow((one.right, one.y), (two.left, two.y))
    return canvas.figure


def _steps(name: str, edges: list[tuple[str, str]]) -> int:
    """The length of the longest chain of arrows from a rule."""
    return max((_steps(end, edges) + 1 for start, end in edges if start == name), default=0)


def _after(name: str, edges: list[tuple[str, str]]) -> set[str]:
    ends = {end for start, end in edges if start == name}
    return ends.union(*(_after(end, edges) for end in ends))


if __name__ == "__main__":
    save(draw(rule_graph()), FOLDER, NAME)
