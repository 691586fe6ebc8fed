"""Tables as docutils nodes."""

from collections.abc import Iterable

from docutils import nodes

Cell = str | list[nodes.Node]


def table_node(
    columns: Iterable[Cell], align: str, rows: Iterable[Iterable[Cell] | str], classes: list[str]
) -> nodes.table:
    """A table of cells, each a text or a list of inline nodes; a row that is a text is a heading."""
    group = nodes.tgroup(cols=len(align))
    group += [nodes.colspec(colwidth=1) for _ in align]
    group += nodes.thead("", row_node(columns, align))
    body = (heading_node(row, align) if isinstance(row, str) else row_node(row, align) for row in rows)
    group += nodes.tbody("", *body)
    return nodes.table("", group, classes=[*classes, "colwidths-auto"])


def heading_node(text: str, align: str) -> nodes.row:
    """A row of one cell across all columns."""
    row = row_node([text], "l")
    row["classes"].append("heading")
    row[0]["morecols"] = len(align) - 1
    return row


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
