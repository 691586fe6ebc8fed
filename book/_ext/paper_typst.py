"""The PDF: the pages of the paper, from the same sources as the web page, set by Typst in two columns.

The document trees of the pages become calls of Typst functions; the template `book/paper.typ` defines
them and decides how the paper looks.
"""

import json
import shutil
from pathlib import Path

import typst
from docutils import nodes
from sphinx import addnodes
from sphinx.builders import Builder
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxTranslator

from xnnlib.report.plots import DEMONSTRATION

# The pages that make the paper; what else is in the book belongs to the web.
PAGES = ("paper", "introduction", "related-work", "design", "training", "implementation", "conclusion")
PAGES = tuple(f"book/{page}" for page in (*PAGES, "references"))
# What is for readers of the web only.
WEB_ONLY = ("made-by", "web-only")
WIDE_TABLES = ("paper-table-operations", "paper-table-costs")
NO_BREAK_SPACE, WORD_JOINER = "\N{NO-BREAK SPACE}", "\N{WORD JOINER}"


def quoted(value: str | bool) -> str:
    """A Typst string or truth value, as JSON has them."""
    return json.dumps(value, ensure_ascii=False)


# Nodes that are their content between two pieces of markup.
WRAPPED = {
    "paragraph": ("", "\n\n"),
    "emphasis": ("#emph[", "]"),
    "strong": ("#strong[", "]"),
    "literal": ("#code[", "]"),
    "subscript": ("#sub[", "]"),
    "definition_list": ("\n", "\n"),
    "definition_list_item": ("#definition", "\n"),
    "term": ("[", "]"),
    "definition": ("[", "]"),
    "bullet_list": ("#list(", ")\n\n"),
    "list_item": ("[", "], "),
    "rubric": ("#rubric[", "]\n\n"),
    "thead": ("table.header(", "), table.hline(stroke: 0.5pt), "),
} | dict.fromkeys(("document", "inline", "tgroup", "container", "tbody"), ("", ""))
LEFT_OUT = {"colspec", "comment", "compound", "target"}


class TypstTranslator(SphinxTranslator):
    """Writes Typst markup in which every text is a call, `#"..."`, so that nothing needs escaping."""

    def __init__(self, document: nodes.document, builder: "PaperBuilder", docname: str):
        super().__init__(document, builder)
        self.docname = docname
        self.body: list[str] = []
        self.level = 0
        self.unbroken = False  # inside "Figure 1"

    def unknown_visit(self, node: nodes.Node) -> None:
        kind = node.__class__.__name__
        if kind in LEFT_OUT:
            raise nodes.SkipNode
        if kind not in WRAPPED:
            raise ExtensionError(f"{self.docname}: the PDF has no way to set a {kind}")
        self.body.append(WRAPPED[kind][0])

    def unknown_departure(self, node: nodes.Node) -> None:
        self.body.append(WRAPPED.get(node.__class__.__name__, ("", ""))[1])

    def dispatch_visit(self, node: nodes.Node) -> None:
        if isinstance(node, nodes.Element) and set(node.get("classes", ())) & set(WEB_ONLY):
            raise nodes.SkipNode
        super().dispatch_visit(node)

    def visit_Text(self, node: nodes.Text) -> None:
        text = node.astext().replace("\n", " ").replace("/", f"/{WORD_JOINER}")
        self.body.append(f"#{quoted(text.replace(' ', NO_BREAK_SPACE) if self.unbroken else text)};")

    def visit_row(self, node: nodes.row) -> None:
        if "total" in node["classes"] and "total" not in node.parent[node.parent.index(node) - 1]["classes"]:
            self.body.append("table.hline(stroke: 0.5pt), ")

    def visit_entry(self, node: nodes.entry) -> None:
        align = ", align: center" if "group" in node["classes"] else ""
        self.body.append(f"table.cell(colspan: {node.get('morecols', 0) + 1}{align})[")

    def depart_entry(self, node: nodes.entry) -> None:
        self.body.append("], ")

    def visit_section(self, node: nodes.section) -> None:
        self.level += 1

    def depart_section(self, node: nodes.section) -> None:
        self.level -= 1

    def visit_title(self, node: nodes.title) -> None:
        # A table's is its caption, set by visit_table; the paper's is in the title block.
        if isinstance(node.parent, nodes.table) or (self.docname, self.level) == (PAGES[0], 1):
            raise nodes.SkipNode
        numbered = quoted(self.docname in self.builder.env.toc_secnumbers)
        self.body.append(f"#section({self.level}, numbered: {numbered})[")

    def depart_title(self, node: nodes.title) -> None:
        self.body.append("]\n\n")

    def visit_number_reference(self, node: addnodes.number_reference) -> None:
        self.unbroken = True

    def depart_number_reference(self, node: addnodes.number_reference) -> None:
        self.unbroken = False

    def visit_reference(self, node: nodes.reference) -> None:
        address = node.get("refuri", "")
        self.body.append(f"#link({quoted(address)})[" if address.startswith("http") else "#[")

    def depart_reference(self, node: nodes.reference) -> None:
        self.body.append("]")

    def visit_citation(self, node: nodes.citation) -> None:
        # By hand: a page that is resolved a second time has the entry in it twice.
        label, entry = node.next_node(nodes.label), node.next_node(nodes.paragraph)
        self.body.append(f"#reference[{self._inner(label)}][{self._inner(entry)}]\n")
        raise nodes.SkipNode

    def _inner(self, node: nodes.Element) -> str:
        """The markup of a node's children."""
        inner = TypstTranslator(self.document, self.builder, self.docname)
        for child in node.children:
            child.walkabout(inner)
        return "".join(inner.body)

    def visit_figure(self, node: nodes.figure) -> None:
        image, caption = node.next_node(nodes.image), node.next_node(nodes.caption)
        source = Path(self.builder.srcdir, image["uri"])
        shutil.copyfile(source, self.builder.folder / source.name)  # beside the markup
        self._float("figure", node, caption, "column" not in node["classes"])
        self.body.append(f"#image({quoted(source.name)}, alt: {quoted(image['alt'])})]\n\n")
        raise nodes.SkipNode

    def visit_table(self, node: nodes.table) -> None:
        if caption := node.next_node(nodes.title):
            self._float("table", node, caption, bool(set(WIDE_TABLES) & set(node["classes"])))
        else:
            self.body.append("#unnumbered[")
        body = node.next_node(nodes.tbody)
        right = ["text-right" in entry["classes"] for entry in body.next_node(nodes.row)]
        align = ", ".join("right" if one else "left" for one in right)
        self.body.append(f"#table(columns: {len(right)}, align: ({align},), table.hline(), ")

    def depart_table(self, node: nodes.table) -> None:
        self.body.append("table.hline())]\n\n")

    def _float(self, kind: str, node: nodes.Element, caption: nodes.Element, wide: bool) -> None:
        numbers = self.builder.env.toc_fignumbers[self.docname][kind]
        number = next(numbers[identifier] for identifier in node["ids"] if identifier in numbers)
        label = quoted(f"{kind.capitalize()} {'.'.join(map(str, number))}.")
        text = self._inner(caption)
        self.body.append(f"#floating({quoted(kind)}, {label}, [{text}], wide: {quoted(wide)})[")

    def visit_raw(self, node: nodes.raw) -> None:
        """An equation stands in the page twice: as MathML for the web and as Typst."""
        if node["format"] == "typst":
            self.body.append(f"{node.astext()}\n\n")
        raise nodes.SkipNode


class PaperBuilder(Builder):
    """Resolves the pages for one PDF, and makes it in a folder beside the one of the document trees."""

    name = "paperpdf"
    format = "typst"
    supported_image_types = ["application/pdf"]
    default_translator_class = TypstTranslator

    @property
    def folder(self) -> Path:
        return Path(self.doctreedir).parent / "paper"

    def get_target_uri(self, docname: str, typ: str | None = None) -> str:
        return ""  # what leads to another page is set as text

    def make(self) -> Path:
        """Write the markup and set it; returns the PDF. Raises ExtensionError if Typst refuses it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "title": self.env.titles[PAGES[0]].astext(),
            "author": self.config.author,
            "watermark": f"profile {DEMONSTRATION}" if self.config.paper_profile == DEMONSTRATION else "",
        }
        given = ", ".join(f"{name}: {quoted(value)}" for name, value in settings.items())
        markup = [f'#import "template.typ": *\n#show: paper.with({given})\n']
        for docname in PAGES:
            doctree = self.env.get_and_resolve_doctree(docname, self)
            self.post_process_images(doctree)
            translator = TypstTranslator(doctree, self, docname)
            doctree.walkabout(translator)
            markup += translator.body
        shutil.copyfile(Path(self.srcdir, "book", "paper.typ"), self.folder / "template.typ")
        source = self.folder / "paper.typ"
        source.write_text("".join(markup), encoding="utf-8")
        try:
            typst.compile(source, output=source.with_suffix(".pdf"))
        except typst.TypstError as error:
            raise ExtensionError(f"the PDF cannot be set: {error}") from None
        return source.with_suffix(".pdf")
