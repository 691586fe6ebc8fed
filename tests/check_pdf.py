"""The PDF of the built book, in the folder that XNNLIB_BOOK names; `make test` runs this after the build."""

import os
import re
from pathlib import Path

import pytest
from book_config import SHOWN_PROFILE
from machine_places import place_in
from pypdf import PdfReader

from xnnlib import load_runs
from xnnlib.report.numbers import numbers
from xnnlib.spec import BLOCKS

ROOT = Path(__file__).parents[1]
PDF = Path(os.environ.get("XNNLIB_BOOK", ROOT / "_build" / "html")) / "paper.pdf"


@pytest.fixture(scope="module")
def reader() -> PdfReader:
    return PdfReader(PDF)


@pytest.fixture(scope="module")
def pages(reader) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in reader.pages]


@pytest.fixture(scope="module")
def text(pages) -> str:
    return " ".join(pages)


def test_text_has_four_to_seven_pages_and_references_at_most_two_more(pages):
    number = next(number for number, page in enumerate(pages) if "References [1]" in page)
    before = pages[number].split("References [1]")[0].strip()
    assert 4 <= number + bool(before) <= 7, before
    assert len(pages) <= number + 2


def test_references_to_figures_and_tables_are_not_broken(reader):
    text = "\n".join(page.extract_text() for page in reader.pages)
    assert not re.search(r"(Figure|Table|Section)[ ]*\n\d", text)


def test_metadata(reader):
    assert reader.metadata.title.startswith("Gates and experts")
    assert reader.metadata.author == "The xnnlib contributors"


def test_sections_figures_and_tables_are_there_in_order(reader, text):
    for section in ("Introduction", "Related work", "Design", "Training", "Implementation", "Conclusion"):
        assert re.search(rf"\d\.? ?{section}", text), section
    for number in range(1, 7):
        assert f"Figure {number}." in text
    lines = "\n".join(page.extract_text() for page in reader.pages)
    captions = [int(number) for number in re.findall(r"^Table (\d+)\. [A-Z]", lines, re.MULTILINE)]
    assert captions == [1, 2, 3, 4, 5]
    assert "References" in text and "[7]" in text and "How this was made" not in text


def test_quick_alone_is_marked(pages):
    assert {page.startswith("profile quick") for page in pages} == {SHOWN_PROFILE == "quick"}


def test_headline_numbers_are_those_of_the_records(text):
    known = numbers(load_runs(ROOT / "results", SHOWN_PROFILE))
    for block in BLOCKS:
        assert known[f"{block}.top1"].text in text


def test_fonts_are_embedded(reader):
    fonts = [
        font.get_object() for page in reader.pages for font in page["/Resources"].get("/Font", {}).values()
    ]
    assert fonts
    for font in fonts:
        for descendant in font.get("/DescendantFonts", [font]):
            descriptor = descendant.get_object()["/FontDescriptor"].get_object()
            assert {"/FontFile", "/FontFile2", "/FontFile3"} & descriptor.keys(), font["/BaseFont"]


def test_pdf_names_no_place_of_one_machine(reader, text):
    assert not place_in(text)
    assert not place_in(" ".join(str(value) for value in reader.metadata.values()))
    assert not place_in(PDF.read_bytes().decode("latin-1"))
