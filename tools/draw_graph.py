"""Draw the graph of the Snakefile's rules for the book: `make dag`."""

import re
import subprocess
import sys
from pathlib import Path

import networkx

from xnnlib.report.canvas import LEARNED, NONLINEARITY, Box, Canvas
from xnnlib.report.style import PaperFigure, save, styled

FOLDER, NAME = Path("book/_static"), "workflow"
WIDTH, HEIGHT, GAP = 0.95, 0.3, 0.35


def rule_graph(root: Path = Path()) -> list[tuple[str, str]]:
    """Each rule with one that reads its output, as Snakemake finds them for the profile quick, sorted.

    Arrows that follow from others are left out.
    """
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "dot", "--nolock"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', done.stdout, re.MULTILINE))
    edges = re.findall(r"^\s*(\d+) -> (\d+)$", done.stdout, re.MULTILINE)
    graph = networkx.DiGraph((names[start], names[end]) for start, end in edges)
    return sorted(networkx.transitive_reduction(graph).edges)


@styled
def draw(edges: list[tuple[str, str]]) -> PaperFigure:
    """The rules from left to right, those on the longest chain lowest."""
    graph = networkx.DiGraph(edges)
    chain = networkx.dag_longest_path(graph)
    columns = [
        sorted(names, key=lambda name: (name not in chain, name))
        for names in networkx.topological_generations(graph)
    ]
    rows = max(map(len, columns))
    canvas = Canvas(len(columns) * (WIDTH + GAP) - GAP + 0.1, rows * (HEIGHT + GAP) - GAP + 0.1, edges)
    boxes = {}
    for column, names in enumerate(columns):
        for row, name in enumerate(names):
            at = Box(0.05 + column * (WIDTH + GAP), 0.05 + row * (HEIGHT + GAP), WIDTH, HEIGHT)
            boxes[name] = canvas.box(at, name, NONLINEARITY if name == "all" else LEARNED)
    for start, end in edges:
        one, two = boxes[start], boxes[end]
        if one.y > two.y and two.left - one.right > WIDTH:  # over what stands between
            canvas.arrow((one.right, one.y), (two.x, one.y), (two.x, two.top))
        else:
            canvas.arrow((one.right, one.y), (two.left, two.y))
    return canvas.figure


if __name__ == "__main__":
    save(draw(rule_graph()), FOLDER, NAME)
