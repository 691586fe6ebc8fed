"""Generated tables: those of the paper, and the lists of where everything comes from.

`{paper-table} results` (or another of paper_material.TABLES) is a table of `xnnlib.report` with a caption
that ends in a link to how it was made. `{paper-provenance} artefacts` lists each table and figure with its
notebook and its runs, `numbers` every number with its value and source, `records` each run folder with
commit, data and device, and `runs` each run with its result and a link to its notebook.
"""

import re
from collections.abc import Iterable

from docutils import nodes
from paper_guard import report
from paper_material import ARTEFACTS, TABLES, artefact_source, run_title
from paper_text import PROVENANCE, number_id, page_link
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from xnnlib.report.summary import in_each_place, run_source

Cell = str | list[nodes.Node]

WIDE = 7  # columns, from which on a table has smaller letters


def table_node(head: list, align: str, rows: Iterable, classes: list[str]) -> nodes.table:
    """A table of cells, each a text or a list of inline nodes; a row that is a text is a heading.

    `head` is as `Table.head` gives it.
    """
    group = nodes.tgroup(cols=len(align))
    group += [nodes.colspec(colwidth=1) for _ in align]
    *groups, names = head
    group += nodes.thead("", *map(groups_node, groups), row_node([name for name, _ in names], align))
    body = (heading_node(row, align) if isinstance(row, str) else row_node(row, align) for row in rows)
    group += nodes.tbody("", *body)
    return nodes.table("", group, classes=[*classes, "colwidths-auto"])


def heading_node(text: str, align: str) -> nodes.row:
    """A row of one cell across all columns."""
    row = row_node([text], "l")
    row["classes"].append("heading")
    row[0]["morecols"] = len(align) - 1
    return row


def groups_node(groups: list[tuple[str, int]]) -> nodes.row:
    """The names of groups of columns, each over its own."""
    row = row_node([name for name, _ in groups], "l" * len(groups))
    for entry, (name, count) in zip(row, groups, strict=True):
        entry["classes"] = ["group"] if name else []
        if count > 1:
            entry["morecols"] = count - 1
    return row


def row_node(cells: Iterable[Cell], align: str) -> nodes.row:
    row = nodes.row()
    for cell, side in zip(cells, align, strict=True):
        inline = [nodes.Text(cell)] if isinstance(cell, str) else cell
        entry = nodes.entry("", nodes.paragraph("", "", *inline))
        entry["classes"].append({"l": "text-left", "r": "text-right"}[side])
        row += entry
    if row.astext().strip().startswith("Total"):
        row["classes"].append("total")
    return row


def made_by(env: BuildEnvironment, name: str, location: object) -> list[nodes.Node]:
    """What ends the caption of a table or figure: a link to how it was made."""
    if name not in ARTEFACTS:
        report(f"{name!r} has no entry in paper_material.ARTEFACTS: say what makes it", location, "figure")
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


class PaperTable(SphinxDirective):
    """`{paper-table} results`, with the label `table-results`; the content is the caption."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        which = self.arguments[0]
        if which not in TABLES:
            raise self.error(f"unknown table {which!r}; choose one of {', '.join(TABLES)}")
        self.options["name"] = name = f"table-{which}"
        content = TABLES[which](self.env.app.paper)
        caption, messages = self.state.inline_text(" ".join(self.content), self.content_offset)
        caption += made_by(self.env, name, self.get_location())
        classes = ["paper-table", f"paper-{name}"]
        classes += ["paper-table-wide"] if len(content.columns) >= WIDE else []
        table = table_node(content.head(), content.align, content.rows, classes)
        table.insert(0, nodes.title("", "", *caption))
        self.set_source_info(table)
        self.add_name(table)
        return [table, *messages]


class Provenance(SphinxDirective):
    """`{paper-provenance} artefacts`, `numbers`, `records` or `runs`: one table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        kinds = (self._artefacts, self._numbers, self._records, self._runs)
        kinds = {method.__name__.strip("_"): method for method in kinds}
        if self.arguments[0] not in kinds:
            raise self.error(f"unknown kind {self.arguments[0]!r}; choose one of {', '.join(kinds)}")
        columns, rows = kinds[self.arguments[0]]()
        classes = ["provenance", f"provenance-{self.arguments[0]}"]
        table = table_node([[(name, 1) for name in columns]], "l" * len(columns), rows.values(), classes)
        for identifier, row in zip(rows, table.next_node(nodes.tbody), strict=True):
            row["ids"].append(identifier)
        return [table]

    # Each gives the columns, and the rows by their identifiers on the page.

    def _artefacts(self):
        rows = {}
        for name, (notebook, _) in ARTEFACTS.items():
            if notebook == "notebooks/analysis" and not self.env.app.paper.analysis:
                continue
            title, _ = self.state.inline_text(f"{{numref}}`{name}`", self.lineno)
            link = [page_link(self.env, f"{notebook}.ipynb", notebook)] if notebook else []
            source = self._linked(artefact_source(self.env.app.paper, name))
            rows[f"made-{name}"] = (title, link, source)
        return ("Table or figure", "Notebook", "From"), rows

    def _numbers(self):
        rows = {
            number_id(key): ([nodes.literal("", key)], number.text, self._linked(", ".join(number.sources)))
            for key, number in sorted(self.env.app.paper.numbers.items())
        }
        return ("Number", "Value", "From"), rows

    def _records(self):
        rows = {}
        for run in self.env.app.paper.notebooks:
            record, source = run.record, run_source(run)
            data = record["dataset"]
            data = f"{data['name']}, {data['num_classes']} classes, {data['fingerprint'][:12]}"
            device = in_each_place(record, lambda place: place["device"]["name"])
            commit = in_each_place(record, lambda place: place["commit"][:10])
            cells = (self._linked(source), data, f"{device}, {record['started'][:10]}", commit)
            rows[nodes.make_id(f"record-{source}")] = cells
        return ("Run folder", "Data, fingerprint", "Device, day", "Commit"), rows

    def _runs(self):
        rows = {}
        for run in self.env.app.paper.notebooks:
            record, source = run.record, run_source(run)
            link = [page_link(self.env, "notebook", f"{source}/train")]
            network = run_title(self.env.app.paper, run)
            cells = (record["profile"], network, str(record["seed"]), str(record["epochs"]))
            rows[nodes.make_id(f"run-{source}")] = (*cells, f"{record['last']['top1']:.2f}", link)
        return ("Profile", "Network", "Seed", "Epochs", "Top-1 (%)", "As it ran"), rows

    def _linked(self, source: str) -> list[nodes.Node]:
        """A source, with the run folders in it linked to the notebooks that trained them, if shown.

        Of runs that differ in their seed the first is named in full, and the others by their seed.
        """
        found: list[nodes.Node] = []
        before = ""
        shown = {run_source(run) for run in self.env.app.paper.notebooks}
        for part in re.split(r"((?<!/)results/[\w./-]+|https://\S+)", source):
            if part in shown:
                stem, _, seed = part.rpartition("-seed")
                found.append(page_link(self.env, seed if stem == before else part, f"{part}/train"))
                before = stem
            elif part.startswith("https://"):
                found.append(nodes.reference("", part, refuri=part))
            elif part:
                found.append(nodes.Text(part))
        return found


def setup(app: Sphinx) -> None:
    app.add_directive("paper-table", PaperTable)
    app.add_directive("paper-provenance", Provenance)
    app.connect("doctree-read", link_figures, priority=570)
