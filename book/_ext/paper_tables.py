"""The directive `{paper-table} 1` (or another of TABLES): a table of `xnnlib.report` with a caption."""

import json

from docutils import nodes
from docutils.parsers.rst import directives
from paper_nodes import table_node
from paper_numbers import report
from paper_provenance import made_by
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from xnnlib.report import campaign, layer_times, tables, throughput
from xnnlib.report.scaling import scaling_table
from xnnlib.report.speed import gain_table, goal_table
from xnnlib.report.steps import step_table
from xnnlib.spec import NetworkSpec

TABLES = {
    "1": lambda app: tables.table_1(NetworkSpec()),
    "2": lambda app: tables.table_2(app.paper_runs),
    "3": lambda app: tables.table_3(app.paper_runs),
    "4": lambda app: tables.table_4(NetworkSpec()),
    "costs": lambda app: tables.cost_table(NetworkSpec().num_classes),
    "many-passes": lambda app: tables.fit_table(app.paper_beside),
    "recipes": lambda app: campaign.recipe_table(app.paper_campaign),
    "experiments": lambda app: campaign.experiment_table(app.paper_campaign),
    "experiments-small": lambda app: campaign.experiment_table(app.paper_experiments),
    "scaling": lambda app: scaling_table(app.paper_runs),
    "speed": lambda app: throughput.speed_table(app.paper_benchmarks),
    "roofline": lambda app: throughput.roofline_table(app.paper_benchmarks),
    "kernels": lambda app: throughput.kernel_table(app.paper_benchmarks),
    "steps": lambda app: step_table(app.paper_benchmarks),
    "depthwise": lambda app: layer_times.depthwise_table(app.paper_benchmarks, per_image=False),
    "depthwise-per-image": lambda app: layer_times.depthwise_table(app.paper_benchmarks, per_image=True),
    "conditional": lambda app: layer_times.conditional_table(app.paper_benchmarks),
    "growth": lambda app: throughput.growth_table(app.paper_benchmarks),
    "gains": lambda app: gain_table(app.paper_benchmarks),
    "goals": lambda app: goal_table(app.paper_benchmarks, app.paper_runs),
}

WIDE = 7  # columns, from which on a table has smaller letters

# The tables that a notebook shows, which must be those that the pages show.
NOTEBOOK_TABLES = {
    "notebooks/design": ("1",),
    "notebooks/results": ("2", "3", "many-passes"),
    "notebooks/implementation": ("4", "costs"),
}


class PaperTable(SphinxDirective):
    """`{paper-table} 3` with `:name:`; the content is the caption."""

    required_arguments = 1
    has_content = True
    option_spec = {"name": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        which = self.arguments[0]
        if which not in TABLES:
            raise self.error(f"unknown table {which!r}; choose one of {', '.join(TABLES)}")
        content = TABLES[which](self.env.app)
        caption, messages = self.state.inline_text(" ".join(self.content), self.content_offset)
        caption += made_by(self.env, self.options.get("name", ""), self.get_location())
        classes = ["paper-table", f"paper-table-{which}"]
        classes += ["paper-table-wide"] if len(content.columns) >= WIDE else []
        table = table_node(content.columns, content.align, content.rows, classes)
        table.insert(0, nodes.title("", "", *caption))
        self.set_source_info(table)
        self.add_name(table)
        return [addnodes.tabular_col_spec(spec=content.align), table, *messages]


def check_tables(app: Sphinx, docname: str, source: list[str]) -> None:
    """Warn of a notebook whose tables are not those of the records of today."""
    for which in NOTEBOOK_TABLES.get(docname, ()):
        outputs = [output for cell in json.loads(source[0])["cells"] for output in cell.get("outputs", [])]
        shown = ["".join(output.get("data", {}).get("text/plain", "")) for output in outputs]
        if str(TABLES[which](app)) not in shown:
            message = f"table {which} is not the one of the records; execute the notebook again: make figures"
            report(message, docname, "notebook")


def setup(app: Sphinx) -> None:
    app.add_directive("paper-table", PaperTable)
    app.connect("source-read", check_tables)
