"""The book is built from staged copies with made-up records: what it shows, and what it refuses."""

import contextlib
import csv
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import nbformat
import pytest
import report_benchmarks
from click.testing import CliRunner
from jupyter_book.cli.main import main as jupyter_book_main
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from xnnlib.campaign import SMALL_LIST
from xnnlib.report.campaign import load_campaign
from xnnlib.report.curves import figure_5

from xnnlib.records import EPOCH_COLUMNS, EPOCHS, RECORD, load_runs
from xnnlib.report import BESIDE
from xnnlib.report.numbers import numbers, run_source
from xnnlib.report.style import save
from xnnlib.report.tables import fit_table, table_2, table_3
from xnnlib.spec import BLOCKS, recipe_for

PROJECT = Path(__file__).parents[1]
PROFILE = "made-up"
TOP1 = {"standard": 31.4, "se": 35.9, "se_cond": 29.3}
PAPER = sorted((PROJECT / "book").glob("*.md"))
ARXIV = ["1709.01507", "1801.04381", "1807.11626", "1904.04971", "1905.02244", "1905.11946", "2003.13678"]


def write_notebook(path: Path, title: str, *outputs: dict) -> None:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(metadata={"kernelspec": kernel})
    code = new_code_cell("1 + 1", execution_count=1, outputs=list(outputs))
    notebook.cells = [new_markdown_cell(f"# {title}\n\nThe text below the title."), code]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def write_run(results: Path, block: str, seed: int = 0, profile: str = PROFILE) -> None:
    """A run folder with invented values."""
    folder = results / profile / f"{block}-seed{seed}"
    folder.mkdir(parents=True)
    recipe = recipe_for("paper", block)
    record = {
        "profile": profile,
        "block": block,
        "seed": seed,
        "recipe": asdict(recipe) | {"epochs": 3},
        "network": {"num_classes": 7, "reduction": 4, "experts": 4},
        "dataset": {
            "name": "shapes",
            "num_classes": 7,
            "train_images": 1234,
            "val_images": 70,
            "fingerprint": "0123456789abcdef" * 4,
        },
        "device": {"type": "cpu", "name": "a processor for tests", "threads": 1},
        "versions": {"python": "3", "torch": "2", "numpy": "2", "pillow": "1", "xnnlib": "0"},
        "commit": "f" * 40,
        "started": "2000-01-01T00:00:00Z",
        "epochs": 3,
        "last": {"epoch": 3, "top1": TOP1[block], "loss": 1.5},
        "best": {"epoch": 2, "top1": TOP1[block] + 1},
        "train_seconds": 600.0,
        "images_per_second": 100.0,
        "complete": True,
    }
    (folder / "record.json").write_text(json.dumps(record))
    with open(folder / "epochs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(EPOCH_COLUMNS)
        writer.writerows([epoch, 0.1, 2.0, 20.0 + epoch, 1.9, 21.0 + epoch, 200.0] for epoch in (1, 2, 3))
    write_notebook(folder / "train.ipynb", "Training one block", new_output("stream", text="trained"))


def build(book: Path) -> tuple[int, str]:
    """Exit status and all output, without colours, of a plain build in a process of its own."""
    command = [Path(sys.executable).with_name("jupyter-book"), "build", book]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)


def page(book: Path, name: str) -> str:
    return (book / "_build" / "html" / f"{name}.html").read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """The words of a page's article, without tags."""
    article = re.search(r"<article.*?</article>", page, re.DOTALL)[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", article)).split())


def stage(folder: Path) -> Path:
    """A folder as the book is built from, with made-up records, their notebooks and the paper's figures."""
    for name in ("_toc.yml", "references.bib"):
        shutil.copy(PROJECT / name, folder)
    config = (PROJECT / "_config.yml").read_text()
    config, changed = re.subn(r"paper_profile: .*", f"paper_profile: {PROFILE}", config)
    assert changed == 1
    (folder / "_config.yml").write_text(config)
    shutil.copytree(PROJECT / "profiles", folder / "profiles")
    shutil.copytree(PROJECT / "book", folder / "book", ignore=shutil.ignore_patterns("__pycache__"))
    for block in reversed(BLOCKS):
        write_run(folder / "results", block)
    shutil.copytree(PROJECT / "results" / BESIDE, folder / "results" / BESIDE)
    for run in PROJECT.glob("results/small*/*/"):  # the experiments of a CPU
        copy = folder / run.relative_to(PROJECT)
        write_notebook(copy / "train.ipynb", "Training one block", new_output("stream", text="trained"))
        for file in (RECORD, EPOCHS):
            shutil.copy(run / file, copy)
    return folder


def write_report(folder: Path) -> None:
    """What the three notebooks leave: the committed figures and notebooks, and those of the made-up runs."""
    runs = load_runs(folder / "results", PROFILE)
    shutil.copytree(PROJECT / "figures", folder / "figures", dirs_exist_ok=True)
    save(figure_5(runs), folder / "figures", "figure-5-training")
    for name in ("design", "implementation"):
        path = folder / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / "notebooks" / path.name, path)
    tables = (table_2(runs), table_3(runs), fit_table(load_runs(folder / "results", BESIDE)))
    shown = [new_output("execute_result", data={"text/plain": str(table)}) for table in tables]
    write_notebook(folder / "notebooks" / "results.ipynb", "Results", *shown)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The whole book, built by the plain command, among files that are none of its business."""
    folder = stage(tmp_path_factory.mktemp("whole"))
    write_report(folder)
    write_run(folder / "results", "se", profile="another")
    for name in (
        "README.md",
        ".venv/lib/page.md",
        "tests/page.md",
        "notebooks/train.ipynb",
        "elsewhere/page.md",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("# Not in the book\n\n{num}`nothing`\n")
    before = sorted(folder.rglob("*"))
    status, output = build(folder)
    assert status == 0, output
    after = sorted(path for path in folder.rglob("*") if "_build" not in path.parts)
    assert [path for path in after if "__pycache__" not in path.parts] == before
    return folder


def pages(book: Path) -> list[str]:
    """The names of the pages in reading order."""
    order, name = [], "book/paper"
    while name:
        order.append(name)
        following = re.search(r'class="right-next"\s+href="([^"]+)\.html"', page(book, name))
        name = following and os.path.normpath(f"{os.path.dirname(name)}/{following[1]}")
    return order


def test_the_pages_come_in_the_papers_order(whole):
    experiments = [run for group in load_campaign(whole, SMALL_LIST) for run in group.runs]
    sections = ["introduction", "related-work", "design", "training", "implementation", "conclusion"]
    assert pages(whole) == [
        "book/paper",
        *(f"book/{section}" for section in sections),
        "book/references",
        "book/reproduce",
        "book/experiments",
        "book/speed",
        "book/parallel",
        "book/cluster",
        "book/guarantees",
        "book/checklist",
        "book/status",
        "book/provenance",
        "book/notebooks",
        *(f"notebooks/{name}" for name in ("design", "results", "implementation")),
        "book/runs",
        *(f"results/{name}/{block}-seed0/train" for name in (PROFILE, BESIDE) for block in BLOCKS),
        *(f"{run_source([run])}/train" for run in experiments),
    ]
    assert {path.stem for path in (PROJECT / "book").glob("*.md")} == {
        Path(name).name for name in pages(whole) if name.startswith("book/")
    }
    for number, section in enumerate(sections, 1):
        assert text_of(page(whole, f"book/{section}")).startswith(f"{number}. ")
    for unnumbered in ("references", "reproduce"):
        assert text_of(page(whole, f"book/{unnumbered}")).startswith(unnumbered.capitalize())


def test_references_are_numbered_as_the_paper_has_them(whole):
    entries = re.findall(r'<span class="label">.*?</div>', page(whole, "book/references"), re.DOTALL)
    words = [" ".join(re.sub(r"<[^>]+>", "", entry).split()) for entry in entries]
    assert [entry.split("]")[0] for entry in words] == [f"[{number}" for number in range(1, len(words) + 1)]
    assert [re.search(r"arXiv:([\d.]+\d)", entry)[1] for entry in words[:7]] == ARXIV
    cited = re.findall(r"\[(\d+)\]", " ".join(text_of(page(whole, f"book/{path.stem}")) for path in PAPER))
    assert {int(number) for number in cited} == set(range(1, len(words) + 1))


def test_tables_and_figures_are_numbered_in_reading_order_and_referred_to(whole):
    text = "".join(page(whole, name) for name in pages(whole))
    numbers_shown = re.findall(r'<span class="caption-number">(\w+ \d+) </span>', text)
    tables = [f"Table {number}" for number in range(1, 21)]
    figures = [f"Figure {number}" for number in range(1, 9)]
    assert [caption for caption in numbers_shown if caption.startswith("Table")] == tables
    assert [caption for caption in numbers_shown if caption.startswith("Figure")] == figures
    assert set(re.findall(r'<span class="std std-numref">((?:Table|Figure) \d+)</span>', text)) == {
        *tables,
        *figures,
    }
    files = re.findall(r'<img alt="([^"]+)"[^>]*src="[^"]*_images/((?:figure|shapes|many)[^"]+)"', text)
    assert [re.split("[-.]", name)[1] for _, name in files] == [
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "contact",
        "passes",
    ]


def test_numbers_come_from_the_records_and_say_so(whole):
    runs = load_runs(whole / "results", PROFILE)
    known = numbers(runs)
    pattern = r'<a class="paper-number" href="provenance.html#([^"]+)" title="([^"]+)">([^<]+)</a>'
    shown = re.findall(pattern, page(whole, "book/paper"))
    assert ("number-se-top1", "se.top1: results/made-up/se-seed0", "35.9") in shown
    provenance = page(whole, "book/provenance")
    for anchor, title, text in shown:
        key, _, source = html.unescape(title).partition(": ")
        assert (text.replace("\N{NO-BREAK SPACE}", " "), source) == known[key]
        row = re.search(rf'<tr[^>]* id="{anchor}".*?</tr>', provenance, re.DOTALL)[0]
        assert key in row and known[key].text in row
    row = re.search(r'<tr[^>]* id="number-se-top1".*?</tr>', provenance, re.DOTALL)[0]
    assert 'href="../results/made-up/se-seed0/train.html"' in row
    results = re.search(r"<table[^>]*paper-table-3.*?</table>", page(whole, "book/training"), re.DOTALL)[0]
    rows = [re.findall(r"<t[hd][^>]*>\s*<p>(.*?)</p>", row, re.DOTALL) for row in results.split("<tr")[1:]]
    assert [tuple(rows[0]), *map(tuple, rows[1:])] == [table_3(runs).columns, *table_3(runs).rows]


def test_the_list_of_runs_says_what_an_experiment_changes(whole):
    for run, change in (
        ("small-expansion-2-se-seed0", "se, expansion 2"),
        ("small-recipe-standard-seed0", "weight decay on filters; label smoothing 0.1"),
    ):
        row = re.search(rf'<tr[^>]* id="run-results-{run}".*?</tr>', page(whole, "book/status"), re.DOTALL)[0]
        assert change in re.sub(r"<[^>]+>", "", row)


def test_every_page_says_that_it_is_not_the_papers_result(whole):
    for name in pages(whole):
        banner = re.search(r'bd-header-announcement__content">(.*?)</div>', page(whole, name))[1]
        assert "not the paper" in banner and "7 classes of shapes" in banner
    assert "1,234 training images" in text_of(page(whole, "book/paper"))


def test_the_text_is_whole(whole):
    for name in pages(whole):
        text = text_of(page(whole, name))
        assert not re.search(r"\bTODO\b|placeholder|lorem|to be written|\{\w+\}`", text, re.IGNORECASE), name
        if name.startswith("book/") and name not in ("book/notebooks", "book/runs", "book/status"):
            assert len(text.split()) > 150, name


def test_links_lead_somewhere(whole):
    root = whole / "_build" / "html"
    for name in pages(whole):
        here = (root / f"{name}.html").parent
        for target in re.findall(r'(?:href|src)="([^":?]*)"', page(whole, name)):
            file, _, anchor = target.partition("#")
            found = (here / file) if file else root / f"{name}.html"
            assert found.exists(), f"{name}: {target}"
            if anchor and found.suffix == ".html":
                assert f'id="{anchor}"' in found.read_text(encoding="utf-8"), f"{name}: {target}"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The paper's configuration and extension around one page, `index`, which a test then writes."""
    folder = stage(tmp_path_factory.mktemp("small"))
    for path in (folder / "book").glob("*.md"):
        path.unlink()
    for path in folder.glob(f"results/{BESIDE}/*/train.ipynb"):  # whose colours take a second in each build
        write_notebook(path, "Training one block", new_output("stream", text="trained"))
    for path in folder.glob("results/small*"):  # none of its page's numbers are of the experiments
        shutil.rmtree(path)
    (folder / "book" / "claims.yaml").write_text(
        "close:\n  sentence: B is {se.top1_gain} points ahead.\n  number: se.top1_gain\n  at_least: 4\n"
        "far:\n  sentence: B is far ahead.\n  number: se.top1_gain\n  at_least: 5\n"
        "elsewhere:\n  sentence: B is far ahead.\n  number: se.top1_gain\n  at_least: 5\n"
        "  profiles: [paper]\n  otherwise: It is {se.top1}.\n"
        "alike:\n  sentence: B is like A.\n  number: se.top1_gain\n  interval_has: 0\n"
    )
    (folder / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n- glob: results/*/*/train\n")
    return folder


@pytest.fixture
def book(small, tmp_path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "book"))


def build_here(book: Path) -> tuple[int, str]:
    """As `build`, in this process, which spares the imports. An uncaught exception is exit status 1."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        result = CliRunner().invoke(jupyter_book_main, ["build", str(book)])
    return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def crash(book: Path) -> None:
    error = new_output("error", ename="ZeroDivisionError", evalue="division by zero", traceback=["..."])
    write_notebook(book / "results" / PROFILE / "se-seed0" / "train.ipynb", "Training one block", error)


def strip(book: Path) -> None:
    write_notebook(book / "results" / PROFILE / "se-seed0" / "train.ipynb", "Training one block")


def lengthen_toc(book: Path) -> None:
    with open(book / "_toc.yml", "a") as file:
        file.write("- file: missing-page\n")


def redraw_never(book: Path) -> None:
    save(figure_5(load_runs(book / "results", PROFILE)), book / "figures", "figure-5-training")
    record = book / "results" / PROFILE / "se-seed0" / "epochs.csv"
    record.write_text(record.read_text().replace("23.0", "23.5"))


def draw_half(book: Path) -> None:
    save(figure_5(load_runs(book / "results", PROFILE)), book / "figures", "figure-5-training")
    (book / "figures" / "figure-5-training.pdf").unlink()


def draw_by_hand(book: Path) -> None:
    (book / "figures").mkdir()
    (book / "figures" / "figure-5-training.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')


def keep_old_results(book: Path) -> None:
    write_report(book)
    record = book / "results" / PROFILE / "se-seed0" / "record.json"
    record.write_text(record.read_text().replace("35.9", "36.7"))
    with open(book / "_toc.yml", "a") as file:
        file.write("- file: notebooks/results\n")


def lose_a_run(book: Path) -> None:
    (book / "results" / PROFILE / "se-seed0" / "epochs.csv").unlink()


def lose_a_notebook(book: Path) -> None:
    (book / "results" / PROFILE / "se-seed0" / "train.ipynb").unlink()


def type_a_number(book: Path) -> None:
    (book / "book" / "page.md").write_text(
        "# Page\n\nB reaches 35.9&nbsp;% in {num}`epochs` epochs of 3×3.\n"
    )
    with open(book / "_toc.yml", "a") as file:
        file.write("- file: book/page\n")


def break_the_claims(book: Path) -> None:
    (book / "book" / "claims.yaml").write_text("close:\n  sentence: B is ahead.\n  number: se.top1_gain\n")


def publish(book: Path, address: str = "https://example.org/paper") -> None:
    config = book / "_config.yml"
    config.write_text(config.read_text().replace('  url: ""\n', f"  url: {address}\n"))


FIGURE = "```{figure} figures/figure-5-training.*\nCaption\n```"

LAUNCH = "```{paper-launch}\n```"

# What is wrong: the page's text, what is done to the other files, and what the build must say.
CORRUPTIONS = {
    "number": ("{num}`se.top2`", None, "index.md:3: unknown number 'se.top2'; the nearest keys are: se.top1"),
    "table": ("```{paper-table} 9\nCaption\n```", None, "unknown table '9'; choose one of 1, 2, 3, 4, costs"),
    "figure": ("```{figure} figures/nothing.*\nCaption\n```", None, "not found: figures/nothing.*"),
    "citation": ("{cite}`nobody1999`", None, 'could not find bibtex key "nobody1999"'),
    "reference": ("{numref}`table-nowhere`", None, "table-nowhere"),
    "link": ("[](nowhere.md)", None, "nowhere.md"),
    "crashed notebook": ("Text.", crash, "the notebook crashed: ZeroDivisionError: division by zero"),
    "notebook without outputs": ("Text.", strip, "the notebook has no outputs"),
    "old figure": (FIGURE, redraw_never, "figures/figure-5-training.svg is older than its data"),
    "half a figure": (
        FIGURE,
        draw_half,
        "index.md:3: figures/figure-5-training.pdf is missing; draw it again",
    ),
    "foreign figure": (FIGURE, draw_by_hand, "figure-5-training.svg was not saved by this project"),
    "old table": ("Text.", keep_old_results, "notebooks/results: table 3 is not the one of the records"),
    "alternative text": (FIGURE, draw_by_hand, "figures/figure-5-training.* has no alternative text"),
    "typed number": (
        "Text.",
        type_a_number,
        "book/page.md:3: the number '35.9' is typed by hand; bind it: {num}`se.top1`",
    ),
    "false claim": ("{claim}`far`", None, "'B is far ahead.' no longer holds: se.top1_gain is +4.5, not at"),
    "claim of no difference": ("{claim}`alike`", None, "se.top1_gain is +4.5, not an interval with 0 in it"),
    "unknown claim": ("{claim}`nothing`", None, "unknown claim 'nothing'"),
    "claim without a margin": ("Text.", break_the_claims, "claims.yaml: claim 'close' has no margin"),
    "record": ("Text.", lose_a_run, "epochs.csv is missing"),
    "notebook of a run": ("Text.", lose_a_notebook, f"results/{PROFILE}/se-seed0/train"),
    "address": (LAUNCH, publish, "repository.url is 'https://example.org/paper'; it must be"),
    "page of the contents": ("Text.", lengthen_toc, "missing-page"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_book_is_refused(book, name):
    text, corrupt, message = CORRUPTIONS[name]
    (book / "index.md").write_text(f"# Title\n\n{text}\n")
    if corrupt:
        corrupt(book)
    status, output = build_here(book)
    assert status != 0
    assert message in output.partition("\nerror: ")[2]


def test_a_claim_is_said_with_its_numbers_or_otherwise(book):
    (book / "index.md").write_text("# Title\n\n{claim}`close` {claim}`elsewhere`\n")
    assert build_here(book)[0] == 0
    assert "B is +4.5 points ahead. It is 35.9." in text_of(page(book, "index"))


def test_an_experiment_whose_notebook_is_to_come_has_numbers_and_no_page(book):
    run = "results/small-expansion-2/se-seed0"
    shutil.copytree(PROJECT / run, book / run, ignore=shutil.ignore_patterns("train.ipynb"))
    (book / "index.md").write_text("# Title\n\nB ends at {num}`small-expansion-2.se.top1`.\n")
    status, output = build_here(book)
    assert status == 0 and f"{run}/train" not in output


def test_records_open_in_a_browser_and_commits_have_a_link_once_there_is_an_address(book):
    (book / "index.md").write_text(f"# Title\n\n{LAUNCH}\n\n```{{paper-provenance}} runs\n```\n")
    assert build_here(book)[0] == 0
    assert "launch-button" not in page(book, "index") and "github.com" not in page(book, "index")
    publish(book, "https://github.com/owner/a-paper.git")
    release = re.search(r"branch: (v.*)", (book / "_config.yml").read_text())[1]
    assert build_here(book)[0] == 0
    assert re.findall(r'<a class="launch-button[^"]*" href="([^"]+)"', page(book, "index")) == [
        f"https://mybinder.org/v2/gh/owner/a-paper/{release}?urlpath=lab/tree/notebooks/explore.ipynb",
        f"https://colab.research.google.com/github/owner/a-paper/blob/{release}/notebooks/explore.ipynb",
    ]
    commit = f'href="https://github.com/owner/a-paper/commit/{"f" * 40}">{"f" * 10}</a>'
    assert page(book, "index").count(commit) == len(BLOCKS)
    record = book / "results" / PROFILE / "se-seed0" / "record.json"
    record.write_text(record.read_text().replace("f" * 40, "unknown"))  # trained from a copy without git
    assert build_here(book)[0] == 0
    assert page(book, "index").count(commit) == len(BLOCKS) - 1 and "commit/unknown" not in page(
        book, "index"
    )


def corrupt_pages(book: Path, pattern: str, replacement: str) -> set[str]:
    """Replace in every page of the paper; returns what the pattern's group found."""
    found = set()
    for path in (book / "book").glob("*.md"):
        text = path.read_text()
        found |= set(re.findall(pattern, text))
        path.write_text(re.sub(pattern, replacement, text))
    return found


def test_every_binding_of_the_paper_is_guarded(tmp_path):
    """Each key, claim and figure of the paper's own pages is corrupted, and each must be named."""
    book = stage(tmp_path)
    write_report(book)
    keys = corrupt_pages(book, r"\{num\}`([^`]+)`", r"{num}`\1-gone`")
    claims = corrupt_pages(book, r"\{claim\}`([^`]+)`", r"{claim}`\1-gone`")
    alternatives = corrupt_pages(book, r":alt: (.*)\n", r":class: none\n")
    for file in (book / "figures").glob("*.svg"):
        file.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", file.read_text()))
    status, output = build_here(book)
    assert status != 0
    output = output.partition("\nerror: ")[2]
    assert len(keys) > 60 and len(claims) >= 5 and len(alternatives) == 9
    for key in keys:
        assert f"unknown number '{key}-gone'" in output
    for claim in claims:
        assert f"unknown claim '{claim}-gone'" in output and f"no page makes the claim '{claim}'" in output
    for block in BLOCKS:
        assert f"no page quotes the headline number 'macs.{block}'" in output
    assert output.count("has no alternative text") == 8
    for file in (book / "figures").glob("*.svg"):
        assert f"figures/{file.name} is older than its data" in output


def test_every_claim_of_the_paper_can_fail(tmp_path):
    book = stage(tmp_path)
    write_report(book)
    path = book / "book" / "claims.yaml"
    text = re.sub(r"(at_least|interval_has): .*", r"\1: 1.0e+9", path.read_text())
    path.write_text(re.sub(r"at_most: .*", "at_most: -1.0e+9", text))
    status, output = build_here(book)
    assert status != 0
    sentences = re.findall(r"sentence: \"(.*)\"", text)
    profiles = text.count("profiles:")
    assert (
        sum(f"the claim {sentence!r} no longer holds" in output for sentence in sentences)
        >= len(sentences) - profiles
    )


def test_a_corrupted_book_ends_the_command_with_a_status(book):
    (book / "index.md").write_text("# Title\n\n{num}`se.top2`\n")
    status, output = build(book)
    assert status == 1
    assert output.splitlines()[-1].startswith("  index.md:3: unknown number 'se.top2'")
    assert "Traceback" not in output


def test_a_broken_book_is_refused_again_and_a_mended_one_built(book):
    (book / "index.md").write_text("# Title\n\nSee {numref}`other-page` and {num}`se.top1`.\n")
    other = book / "other.md"
    other.write_text("(other-page)=\n# Other\n")
    toc = "format: jb-book\nroot: index\nparts:\n- numbered: true\n  chapters:\n  - file: other\n"
    (book / "_toc.yml").write_text(toc + "  - glob: results/*/*/train\n")
    assert build_here(book)[0] == 0
    # Sphinx would not look again at the index, which loses what it refers to.
    other.write_text("# Other\n")
    for _ in range(2):
        status, output = build_here(book)
        assert status != 0
        assert "index.md:3: " in output and "other-page" in output
    other.write_text("(other-page)=\n# Other\n")
    assert build_here(book)[0] == 0


def test_numbers_follow_the_records_on_a_second_build(book):
    (book / "index.md").write_text("# Title\n\nIt is {num}`se.top1`.\n")
    assert build_here(book)[0] == 0
    assert "It is 35.9." in text_of(page(book, "index"))
    record = book / "results" / PROFILE / "se-seed0" / "record.json"
    record.write_text(record.read_text().replace("35.9", "36.7"))
    assert build_here(book)[0] == 0
    assert "It is 36.7." in text_of(page(book, "index"))


def test_benchmarks_are_shown_on_a_second_build_with_their_source(book):
    page_source = "# Title\n\n```{paper-table} speed\n:name: table-speed\nSpeed.\n```\n"
    (book / "index.md").write_text(page_source + "\nIt is {num}`speed.cpu.rounds`.\n")
    assert build_here(book)[0] == 0
    assert "No benchmark has been run" in text_of(page(book, "index"))
    report_benchmarks.write(book, report_benchmarks.example())
    assert build_here(book)[0] == 0
    text = text_of(page(book, "index"))
    assert "B plain model float32 20.0" in text and "It is 3." in text
    assert "No benchmark" not in text and "InductorError: no compiler in 3 places" in text


def test_a_damaged_benchmark_is_refused(book):
    (book / "index.md").write_text("# Title\n\nText.\n")
    report_benchmarks.write(book, {"device": {}})
    status, output = build_here(book)
    assert status != 0
    assert "throughput.json is damaged (device.type is missing)" in output.partition("\nerror: ")[2]


def test_only_the_paper_profile_has_no_banner(book):
    (book / "index.md").write_text("# Title\n\n```{paper-profile}\n```\n")
    assert build_here(book)[0] == 0
    shown = page(book, "index")
    assert "7 classes of shapes; 1,234 training images" in text_of(shown)
    assert "bd-header-announcement" in shown
    for block in BLOCKS:
        write_run(book / "results", block, profile="paper")
    config = book / "_config.yml"
    config.write_text(config.read_text().replace(f"paper_profile: {PROFILE}", "paper_profile: paper"))
    assert build_here(book)[0] == 0
    shown = page(book, "index")
    assert "training images" not in text_of(shown)
    assert "bd-header-announcement" not in shown
    assert (book / "_build/html/results/paper/se-seed0/train.html").exists()
