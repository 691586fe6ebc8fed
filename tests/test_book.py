"""The book is built from staged copies with made-up records: what it shows, and what it refuses."""

import contextlib
import html
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
import report_runs
from book_config import SHOWN_PROFILE
from click.testing import CliRunner
from jupyter_book.cli.main import main as jupyter_book_main
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from paper_material import ARTEFACTS, TABLES, load_material, tables_of

from xnnlib.records import EPOCHS, RECORD, WEIGHTS, load_runs
from xnnlib.report.baselines import figure_9
from xnnlib.report.plots import figure_5, figure_6
from xnnlib.report.speed import latencies
from xnnlib.report.style import save
from xnnlib.spec import BLOCKS
from xnnlib.verify import CHECKSUMS

PROJECT = Path(__file__).parents[1]
PROFILE = "study/made-up"
RUN = f"results/{PROFILE}/se-seed0"
PAPER = sorted((PROJECT / "book").glob("*.md"))
ARXIV = ["1709.01507", "1801.04381", "1807.11626", "1904.04971", "1905.02244", "1905.11946", "2003.13678"]
SHOWN = new_output("stream", text="trained")
SHIPPED, NOT_SHIPPED = (f"small-width-{width}/se-seed0/{WEIGHTS}" for width in (0.75, 1.25))


def write_notebook(path: Path, title: str, *outputs: dict, code: str = "1 + 1") -> None:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(metadata={"kernelspec": kernel})
    cell = new_code_cell(code, execution_count=1, outputs=list(outputs))
    notebook.cells = [new_markdown_cell(f"# {title}\n\nThe text below the title."), cell]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def write_run(root: Path, block: str, profile: str = PROFILE) -> None:
    """A run folder with invented values; B ends at 43.4 % top-1, 3.2 points above A."""
    run = report_runs.write_run(root, block, profile=profile)
    write_notebook(run.path / "train.ipynb", "Training one network", SHOWN, code="figure_5([run])")


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def build(command: str, *arguments: str | Path) -> tuple[int, str]:
    """Exit status and all output of a command in a process of its own."""
    command = [Path(sys.executable).with_name(command), *arguments]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.returncode, without_colours(done.stdout + done.stderr)


def build_here(book: Path, *options: str) -> tuple[int, str]:
    """As `jupyter-book build`, in this process, which spares the imports; only a refusal may end it early."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        result = CliRunner().invoke(jupyter_book_main, ["build", str(book), *options])
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, without_colours(result.output)


def page(book: Path, name: str) -> str:
    return (book / "_build" / "html" / f"{name}.html").read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """The words of a page's article, without tags."""
    article = re.search(r"<article.*?</article>", page, re.DOTALL)[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", article)).split())


def stage(folder: Path) -> Path:
    """A folder as the book is built from: made-up records and the committed ones, without the notebooks."""
    for name in ("_toc.yml", "references.bib"):
        shutil.copy(PROJECT / name, folder)
    show_profile(folder, PROFILE)
    for name in ("profiles", "book", "benchmarks/results"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for block in reversed(BLOCKS):
        write_run(folder, block)
    shutil.copy(PROJECT / "results" / SHOWN_PROFILE / "analysis.json", folder / "results" / PROFILE)
    for found in (*PROJECT.glob("results/*/analysis.json"), PROJECT / "results/routing/study.json"):
        (folder / found.parent.relative_to(PROJECT)).mkdir()
        shutil.copy(found, folder / found.relative_to(PROJECT))
    for record in PROJECT.glob(f"results/[brs]*/**/{RECORD}"):
        copy = folder / record.parent.relative_to(PROJECT)
        write_notebook(copy / "train.ipynb", "Training one network", SHOWN)
        for name in (RECORD, EPOCHS):
            shutil.copy(record.with_name(name), copy)
    return folder


def show_profile(folder: Path, profile: str) -> None:
    config = (PROJECT / "_config.yml").read_text()
    (folder / "_config.yml").write_text(re.sub("paper_profile: .*", f"paper_profile: {profile}", config))


def write_report(folder: Path) -> None:
    """What the notebooks leave: the committed figures and notebooks, and those of the made-up runs."""
    material = load_material(folder, "results", PROFILE)
    shutil.copytree(PROJECT / "figures", folder / "figures")
    shutil.copytree(PROJECT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns("train.ipynb"))
    save(figure_5(material.runs), folder / "figures", "figure-5-training")
    save(figure_6(material.runs, latencies(material.benchmarks)), folder / "figures", "figure-6-costs")
    save(figure_9(material.experiments, material.benchmarks), folder / "figures", "figure-9-baselines")
    for name in {notebook for notebook, _ in ARTEFACTS.values() if notebook}:
        shown = [str(TABLES[which](material)) for which in tables_of(name)]
        outputs = [new_output("execute_result", data={"text/plain": table}) for table in shown]
        write_notebook(folder / f"{name}.ipynb", name, *outputs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The whole book, built by the plain command, among files that are none of its business."""
    folder = stage(tmp_path_factory.mktemp("whole"))
    write_report(folder)
    write_run(folder, "se", profile="another")
    for name in SHIPPED, NOT_SHIPPED:
        (folder / "results" / name).touch()
    profile, _, file = SHIPPED.partition("/")
    (folder / "results" / profile / CHECKSUMS).write_text(f"{'0' * 64}  {file}\n")
    for name in ("README.md", ".venv/lib/page.md", "tests/page.md", "notebooks/train.ipynb", "other/page.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("# Not in the book\n\n{num}`nothing`\n")
    before = sorted(folder.rglob("*"))
    status, output = build("jupyter-book", "build", folder)
    assert status == 0, output
    after = sorted(path for path in folder.rglob("*") if "_build" not in path.parts)
    assert [path for path in after if "__pycache__" not in path.parts] == before
    return folder


def pages(book: Path) -> list[str]:
    """The names of the pages in reading order; the runs' notebooks are beside it."""
    order, name = [], "book/paper"
    while name:
        order.append(name)
        following = re.search(r'class="right-next"\s+href="([^"]+)\.html"', page(book, name))
        name = following and os.path.normpath(f"{os.path.dirname(name)}/{following[1]}")
    return order


@pytest.mark.slow
def test_pages_come_in_order(whole):
    sections = ["introduction", "related-work", "design", "training", "implementation", "conclusion"]
    order = pages(whole)
    assert order[:8] == [f"book/{name}" for name in ("paper", *sections, "references")]
    assert order.index("book/supplement") < order.index("book/how-it-works") and len(order) <= 20
    assert {f"book/{path.stem}" for path in PAPER} == {name for name in order if name.startswith("book/")}
    for number, section in enumerate(sections, 1):
        assert text_of(page(whole, f"book/{section}")).startswith(f"{number}. ")
    for name in order:
        assert not re.search(r"\bTODO\b|placeholder|lorem|\{\w+\}`", text_of(page(whole, name)), re.I), name


@pytest.mark.slow
def test_references_are_numbered_as_the_paper_has_them(whole):
    entries = re.findall(r'<span class="label">.*?</div>', page(whole, "book/references"), re.DOTALL)
    words = [" ".join(re.sub(r"<[^>]+>", "", entry).split()) for entry in entries]
    assert [entry.split("]")[0] for entry in words] == [f"[{number}" for number in range(1, len(words) + 1)]
    assert [re.search(r"arXiv:([\d.]+\d)", entry)[1] for entry in words[:7]] == ARXIV
    cited = re.findall(r"\[(\d+)\]", " ".join(text_of(page(whole, f"book/{path.stem}")) for path in PAPER))
    assert {int(number) for number in cited} == set(range(1, len(words) + 1))


@pytest.mark.slow
def test_tables_and_figures_are_numbered_in_reading_order_and_referred_to(whole):
    text = "".join(page(whole, name) for name in pages(whole))
    captions = re.findall(r'<span class="caption-number">(\w+ \d+) </span>', text)
    for kind in ("Table", "Figure"):
        of_kind = [caption for caption in captions if caption.startswith(kind)]
        assert of_kind == [f"{kind} {number}" for number in range(1, len(of_kind) + 1)]
    referred = re.findall(r'<span class="std std-numref">((?:Table|Figure)\s\d+)</span>', text)
    assert set(captions) == set(referred)


@pytest.mark.slow
def test_numbers_come_from_the_records_and_say_so(whole):
    known = load_material(whole, "results", PROFILE).numbers
    pattern = r'<a class="paper-number[^"]*" href="provenance.html#([^"]+)" title="([^"]+)">([^<]+)</a>'
    shown = re.findall(pattern, page(whole, "book/training"))
    assert ("number-se-top1", f"se.top1: {RUN}", "43.4") in shown
    provenance = page(whole, "book/provenance")
    for anchor, title, text in shown:
        key, _, source = html.unescape(title).partition(": ")
        assert text.replace("\N{NO-BREAK SPACE}", " ") in known[key].text
        assert source == ", ".join(known[key].sources)
        row = re.search(rf'<tr[^>]* id="{anchor}".*?</tr>', provenance, re.DOTALL)[0]
        assert key in row and known[key].text in row
    assert f'href="../{RUN}/train.html"' in provenance


@pytest.mark.slow
def test_runs_are_listed_with_their_result_and_shown_with_it(whole):
    assert f"{PROFILE} B 0 3 43.40 notebook" in text_of(page(whole, "book/supplement"))
    run = page(whole, f"{RUN}/train")
    assert text_of(run).startswith("Block B, seed 0: 43.40 % top-1")
    assert run.index("tag_hide-input") < run.rindex("The notebook")  # the curve comes first, its code folded


@pytest.mark.slow
def test_download_has_the_weights_that_are_shipped_and_no_other(whole):
    with zipfile.ZipFile(whole / "_build" / "html" / "records.zip") as archive:
        names = archive.namelist()
    assert [name for name in names if WEIGHTS in name] == [f"records/{SHIPPED}"]
    assert f"records/{RUN.removeprefix('results/')}/{RECORD}" in names


@pytest.mark.slow
def test_book_of_a_profile_that_was_not_looked_into_has_no_page_on_it(whole, tmp_path):
    book = Path(shutil.copytree(whole, tmp_path / "book", ignore=shutil.ignore_patterns("_build")))
    (book / "results" / PROFILE / "analysis.json").unlink()
    status, output = build("jupyter-book", "build", book, "-W", "--keep-going")
    assert status == 0, output
    assert "book/analysis" not in pages(book)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The paper's configuration and extension around one page, `index`, which a test then writes."""
    folder = stage(tmp_path_factory.mktemp("small"))
    tops = ("small*/*", "routing/*/*", "baselines/*/*")
    others = (path for top in tops for path in folder.glob(f"results/{top}/*"))
    for path in (*(folder / "book").glob("*.md"), *others):
        path.unlink()
    ahead = "sentence: B is {se.top1_gain:size} points ahead.\n  number: se.top1_gain"
    far = "sentence: B is far ahead.\n  number: se.top1_gain\n  at_least: 5"
    (folder / "book" / "claims.yaml").write_text(
        f"close:\n  {ahead}\n  at_least: 3\nfar:\n  {far}\nelsewhere:\n  {far}\n  profiles: [paper]\n"
    )
    (folder / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    return folder


@pytest.fixture
def book(small, tmp_path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "book"))


def write_page(book: Path, text: str) -> None:
    (book / "index.md").write_text(f"# Title\n\n{text}\n")


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, old
    file.write_text(text.replace(old, new))


FIGURE = "```{figure} ../figures/figure-5-training.*\nCaption\n```"
# What a page of the book may not hold, and what the build must say of it.
WRONG_TEXTS = {
    "{num}`se.top2`": "unknown number 'se.top2'; the nearest keys are: se.top1",
    "```{paper-table} 9\nCaption\n```": "unknown table '9'; choose one of network, recipe, results",
    "```{figure} ../figures/nothing.*\nCaption\n```": "not found: figures/nothing.*",
    "{cite}`nobody1999`": 'could not find bibtex key "nobody1999"',
    "{numref}`table-nowhere`": "table-nowhere",
    "[](nowhere.md)": "nowhere.md",
    "{claim}`far`": "'B is far ahead.' no longer holds: se.top1_gain is +3.2, not at least 5",
    "{claim}`nothing`": "unknown claim 'nothing'",
    FIGURE: "figures/figure-5-training.* has no alternative text",
    "Reaches 43.4&nbsp;% in {num}`epochs` epochs of 3×3.": "'43.4' is typed by hand; bind it: {num}`se.top1`",
    "```{table} T\n:class: cited\n| a | b |\n| - | - |\n| nobody | 77.7 |\n```": "'77.7' is typed by hand",
}


def test_each_wrong_text_is_named(book):
    save(figure_5(load_runs(book / "results", PROFILE)), book / "figures", "figure-5-training")
    replace(book / RUN / "epochs.csv", "41.5", "41.6")
    (book / "figures" / "figure-5-training.pdf").write_text("drawn by hand")
    toc = "format: jb-book\nroot: index\nchapters:\n- file: book/page\n- file: book/provenance\n"
    (book / "_toc.yml").write_text(toc)
    write_page(book, "Text.")
    (book / "book" / "page.md").write_text("# Page\n\n" + "\n\n".join(WRONG_TEXTS))
    (book / "book" / "provenance.md").write_text("# The page of a whole paper\n")
    for name, outputs in (("se", [new_output("error", ename="Error", evalue="no")]), ("standard", [])):
        write_notebook(book / f"results/{PROFILE}/{name}-seed0/train.ipynb", "Training", *outputs)
    status, output = build_here(book)
    assert status == 1
    problems = output.partition("\nerror: ")[2]
    wrong = [*WRONG_TEXTS.values(), "the notebook crashed: Error: no", "the notebook has no outputs"]
    wrong += ["figure-5-training.svg is older than its data", "training.pdf was not saved by this project"]
    wrong += ["no page makes the claim 'close'", "no page quotes the headline number 'macs.se_cond'"]
    assert [message for message in wrong if message not in problems] == []
    assert "book/page.md:3: unknown number" in problems


# What is done to the other files, and what the build must say.
DAMAGE = {
    "record": (lambda book: (book / RUN / "epochs.csv").unlink(), "epochs.csv is missing"),
    "notebook": (lambda book: (book / RUN / "train.ipynb").unlink(), f"{RUN}/train.ipynb is missing"),
    "one block": (lambda book: shutil.rmtree(book / RUN), f"results/{PROFILE} has no run of block se;"),
    "claims": (lambda book: (book / "book/claims.yaml").write_text("a: {number: b}"), "sentence is missing"),
    "syntax": (lambda book: (book / "book/claims.yaml").write_text("a: ["), "claims.yaml: line 1: "),
    "exceptions": (lambda book: (book / "book/typed-numbers.yaml").write_text("- a"), "cannot be read"),
    "contents": (lambda book: replace(book / "_toc.yml", "index", "index\nchapters:\n- file: gone"), "gone"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_file_is_refused(book, name):
    damage, message = DAMAGE[name]
    write_page(book, "Text.")
    damage(book)
    status, output = build_here(book)
    assert status != 0
    assert message in output.partition("error: ")[2]


def test_builder_with_dead_links_is_refused_before_reading(book):
    write_page(book, "{num}`unknown`")
    status, output = build_here(book, "--builder", "latex")
    assert status != 0 and "error: the book has no form 'latex'" in output
    assert "unknown number" not in output


def test_claim_is_said_with_its_numbers_or_left_out(book):
    write_page(book, "{claim}`close` {claim}`elsewhere` So it is.\n\n{claim}`elsewhere`")
    assert build_here(book)[0] == 0
    text = text_of(page(book, "index"))
    assert "B is 3.2 points ahead. So it is." in text and "far ahead" not in text


def test_broken_book_is_refused_again_and_a_mended_one_follows_its_records(book):
    write_page(book, "See {numref}`other-page` and {num}`se.top1`.")
    other = book / "other.md"
    other.write_text("(other-page)=\n# Other\n")
    toc = "format: jb-book\nroot: index\nparts:\n- numbered: true\n  chapters:\n  - file: other\n"
    (book / "_toc.yml").write_text(toc)
    assert build_here(book)[0] == 0
    # Sphinx would not look again at the index, which loses what it refers to.
    other.write_text("# Other\n")
    for _ in range(2):
        status, output = build_here(book)
        assert status != 0
        assert "index.md:3: " in output and "other-page" in output
    other.write_text("(other-page)=\n# Other\n")
    replace(book / RUN / "record.json", "43.4", "44.1")
    assert build_here(book)[0] == 0
    assert "and 44.1." in text_of(page(book, "index"))


def test_quick_alone_is_marked(book):
    write_page(book, "Text.")
    shutil.copytree(book / "results" / PROFILE, book / "results" / "quick")
    for profile in (PROFILE, "quick"):
        show_profile(book, profile)
        assert build_here(book)[0] == 0
        assert ("Profile quick, on procedural images" in page(book, "index")) == (profile == "quick")
