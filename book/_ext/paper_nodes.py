"""Tables as docutils nodes."""

from collections.abc import Iterable

from docutils import nodes

Cell = str | list[nodes.Node]


def table_node(
    columns: Iterable[Cell], align: str, rows: Iterable[Iterable[Cell]], classes: list[str]
) -> nodes.table:
    """A table of cells, each a text or a list of inline nodes."""
    group = nodes.tgroup(cols=len(align))
    group += [nodes.colspec(colwidth=1) for _ in align]
    group += nodes.thead("", row_node(columns, align))
    group += nodes.tbody("", *(row_node(cells, align) for cells in rows))
    return nodes.table("", group, classes=[*classes, "colwidths-auto"])


def row_node(cells: Iterable[Cell], align: str) -> nodes.row:
    row = nodes.row()
    for cell, side in zip(cells, align, strict=True):
        inline = [nodes.Text(cell)] if isinstance(cell, str) else cell
        entry = nodes.entry("", nodes.paragraph("", "", *inline))
        entry["classes"].append({"l": "text-left", "r": "text-right"}[side])
        row += entry
    if row.astext().startswith("Total"):
        row["classes"].append("total")
    return row
