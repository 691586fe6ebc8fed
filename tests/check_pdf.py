"""The PDF of the built book, in the folder that XNNLIB_BOOK names; `make test` runs this after the build."""

import os
import re
from pathlib import Path

import pytest
from machine_places import place_in
from pypdf import PdfReader

from xnnlib import load_runs
from xnnlib.report.numbers import numbers
from xnnlib.spec import BLOCKS

ROOT = Path(__file__).parents[1]
PROFILE = re.search(r"paper_profile: (\S+)", (ROOT / "_config.yml").read_text())[1]
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


def test_the_text_has_four_to_six_pages_and_the_references_at_most_two_more(pages):
    number = next(number for number, page in enumerate(pages) if "References [1]" in page)
    before = pages[number].split("References [1]")[0].removeprefix(f"profile {PROFILE}").strip()
    assert 4 <= number + bool(before) <= 6, before
    assert 5 <= len(pages) <= number + 2


def test_metadata(reader):
    assert reader.metadata.title.startswith("Gates and experts")
    assert reader.metadata.author == "The xnnlib contributors"


def test_sections_figures_tables_and_references_are_there(text):
    for section in ("Introduction", "Related work", "Design", "Training", "Implementation", "Conclusion"):
        assert re.search(rf"\d\.? ?{section}", text), section
    for number in range(1, 7):
        assert f"Figure {number}." in text
    for number in range(1, 6):
        assert f"Table {number}." in text
    assert "References" in text and "[7]" in text and "How this was made" not in text


def test_every_page_says_that_another_profile_is_not_the_papers(pages):
    other = PROFILE != "paper"
    assert {page.startswith(f"profile {PROFILE}") for page in pages} == {other}
    assert ("not the paper’s full-scale result" in pages[0]) == other


def test_the_headline_numbers_are_those_of_the_records(text):
    known = numbers(load_runs(ROOT / "results", PROFILE))
    for block in BLOCKS:
        assert known[f"{block}.top1"].text in text


def test_all_fonts_are_embedded(reader):
    fonts = [
        font.get_object() for page in reader.pages for font in page["/Resources"].get("/Font", {}).values()
    ]
    assert fonts
    for font in fonts:
        for descendant in font.get("/DescendantFonts", [font]):
            descriptor = descendant.get_object()["/FontDescriptor"].get_object()
            assert {"/FontFile", "/FontFile2", "/FontFile3"} & descriptor.keys(), font["/BaseFont"]


def test_the_pdf_names_no_place_of_one_machine(reader, text):
    assert not place_in(text)
    assert not place_in(" ".join(str(value) for value in reader.metadata.values()))
    assert not place_in(PDF.read_bytes().decode("latin-1"))
