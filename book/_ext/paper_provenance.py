"""Where everything comes from: the links below tables and figures, and the pages that they lead to.

The directive `{paper-provenance}` fills a page: `artefacts` (each table and figure with its notebook and
its runs), `runs` (each run folder with commit, data, device, seed and recipe) or `numbers` (every number
with its value and its source).
"""

import re

from docutils import nodes
from paper_nodes import row_node, table_node
from paper_numbers import PROVENANCE, number_id, report
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from xnnlib.campaign import LIST, SMALL_LIST
from xnnlib.report import BESIDE
from xnnlib.report.campaign import changed_sizes, recipe_text
from xnnlib.report.numbers import run_source

# What stands for the benchmarks of speed and all their results.
BENCHMARK, LAYERS, STEPS = (f"benchmarks/{name}.py" for name in ("throughput", "layers", "steps"))
BESIDE_RUNS = f"the runs of {BESIDE}"
CAMPAIGN, EXPERIMENTS = (f"{name} and the records of its runs" for name in (LIST, SMALL_LIST))
# Each table and figure by its name: the notebook that makes it, if one does, and from what, where that is not
# the runs.
ARTEFACTS = {
    "figure-structure": ("notebooks/design", "xnnlib.spec, xnnlib.model"),
    "table-network": ("notebooks/design", "xnnlib.spec"),
    "figure-blocks": ("notebooks/design", "xnnlib.model"),
    "figure-se": ("notebooks/design", "xnnlib.model"),
    "figure-condconv": ("notebooks/design", "xnnlib.model"),
    "table-recipe": ("notebooks/results", ""),
    "table-results": ("notebooks/results", ""),
    "figure-training": ("notebooks/results", ""),
    "table-many-passes": ("notebooks/results", BESIDE_RUNS),
    "figure-many-passes": ("notebooks/results", BESIDE_RUNS),
    "table-operations": ("notebooks/implementation", "xnnlib.complexity"),
    "table-costs": ("notebooks/implementation", "xnnlib.complexity"),
    "figure-costs": ("notebooks/implementation", "xnnlib.complexity"),
    "table-experiments-small": ("", EXPERIMENTS),
    "table-recipes": ("", CAMPAIGN),
    "table-experiments": ("", CAMPAIGN),
    "table-speed": ("", BENCHMARK),
    "table-gains": ("", BENCHMARK),
    "table-roofline": ("", BENCHMARK),
    "table-kernels": ("", BENCHMARK),
    "table-steps": ("", STEPS),
    "table-depthwise": ("", LAYERS),
    "table-depthwise-per-image": ("", LAYERS),
    "table-conditional": ("", LAYERS),
    "table-growth": ("", BENCHMARK),
    "table-goals": ("", BENCHMARK),
    "table-scaling": ("", "xnnlib.report.scaling"),
    "figure-shapes": ("notebooks/design", "xnnlib.data.shapes"),
}


def page_link(env: BuildEnvironment, text: str, page: str, anchor: str = "", **attributes) -> nodes.reference:
    """A link to a page of the book by its name, from the page that is being read."""
    place = env.app.builder.get_relative_uri(env.docname, page) + (f"#{anchor}" if anchor else "")
    return nodes.reference("", text, refuri=place, internal=True, **attributes)


def made_by(env: BuildEnvironment, name: str, location: object) -> list[nodes.Node]:
    """What ends the caption of a table or figure: a link to how it was made."""
    if name not in ARTEFACTS:
        report(f"{name!r} has no entry in paper_provenance.ARTEFACTS: say what makes it", location, "figure")
        return []
    link = page_link(env, "How this was made", PROVENANCE, f"made-{name}", classes=["made-by"])
    return [nodes.inline("", " ", classes=["made-by"]), link]


def link_figures(app: Sphinx, doctree: nodes.document) -> None:
    """End the caption of each of the paper's figures with the link."""
    for figure in doctree.findall(nodes.figure):
        image, caption = figure.next_node(nodes.image), figure.next_node(nodes.caption)
        if not image["uri"].startswith("figures/"):
            continue
        if caption is None:
            report(f"{image['uri']} has no caption", figure, "figure")
        else:
            caption += made_by(app.env, "".join(figure["names"][:1]), figure)


def run_links(env: BuildEnvironment, source: str) -> list[nodes.Node]:
    """A number's source, with the run folders in it linked to the notebooks that trained them, if shown."""
    found: list[nodes.Node] = []
    shown = {run_source([run]) for run in env.app.paper_notebooks}
    for part in re.split(r"((?<!/)results/[\w./-]+|https://\S+)", source):
        if part in shown:
            found.append(page_link(env, part, f"{part}/train"))
        elif part.startswith("https://"):
            found.append(nodes.reference("", part, refuri=part))
        elif part:
            found.append(nodes.Text(part))
    return found


class Provenance(SphinxDirective):
    """`{paper-provenance} artefacts`, `runs` or `numbers`: one table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        kinds = {"artefacts": self._artefacts, "runs": self._runs, "numbers": self._numbers}
        if self.arguments[0] not in kinds:
            raise self.error(f"unknown kind {self.arguments[0]!r}; choose one of {', '.join(kinds)}")
        columns, rows = kinds[self.arguments[0]]()
        align = "l" * len(columns)
        table = table_node(columns, align, [], ["provenance"])
        body = table.next_node(nodes.tbody)
        for identifier, cells in rows:
            row = row_node(cells, align)
            row["ids"].append(identifier)
            body += row
        return [table]

    def _artefacts(self):
        rows, benchmarks = [], self.env.app.paper_benchmarks
        made = {
            "": run_source(self.env.app.paper_runs),
            BESIDE_RUNS: run_source(self.env.app.paper_beside),
            BENCHMARK: "; ".join([BENCHMARK, *(found.source for found in benchmarks)]),
            STEPS: "; ".join([STEPS, *(found.steps_source for found in benchmarks if found.steps)]),
            LAYERS: "; ".join([LAYERS, *(found.layers_source for found in benchmarks if found.layers)]),
        }
        for name, (notebook, source) in ARTEFACTS.items():
            title, _ = self.state.inline_text(f"{{numref}}`{name}`", self.lineno)
            link = [page_link(self.env, f"{notebook}.ipynb", notebook)] if notebook else []
            rows.append((f"made-{name}", (title, link, run_links(self.env, made.get(source, source)))))
        return ("Table or figure", "Notebook", "From"), rows

    def _runs(self):
        rows = []
        for run in self.env.app.paper_notebooks:
            record = run.record
            data, device = record["dataset"], record["device"]
            sizes = changed_sizes(record["block"], record["network"])
            changes = record.get("parameters", {}).get("recipe_changes", "")
            cells = (
                run_links(self.env, run_source([run])),
                ", ".join([record["block"], *(f"{name} {size:g}" for name, size in sizes.items())]),
                str(record["seed"]),
                f"{recipe_text(record['recipe']['name'], changes)}, {record['epochs']} epochs",
                f"{data['name']}, {data['num_classes']} classes, {data['fingerprint'][:12]}",
                f"{device['name']}, {record['started'][:10]}",
                self._commit(record["commit"]),
            )
            rows.append((nodes.make_id(f"run-{run_source([run])}"), cells))
        return ("Run folder", "Block", "Seed", "Recipe", "Data, fingerprint", "Device, day", "Commit"), rows

    def _commit(self, commit: str) -> str | list[nodes.Node]:
        """The beginning of its name; where it is known and the project published (paper_launch), a link."""
        project, known = self.env.app.paper_project, re.match("[0-9a-f]{40}", commit)
        if not (project and known):
            return commit[:10]
        return [nodes.reference("", commit[:10], refuri=f"https://github.com/{project}/commit/{known[0]}")]

    def _numbers(self):
        numbers = self.env.app.paper_numbers
        rows = [
            (number_id(key), ([nodes.literal("", key)], number.text, run_links(self.env, number.source)))
            for key, number in sorted(numbers.items())
        ]
        return ("Number", "Value", "From"), rows


def setup(app: Sphinx) -> None:
    app.add_directive("paper-provenance", Provenance)
    app.connect("doctree-read", link_figures, priority=570)
