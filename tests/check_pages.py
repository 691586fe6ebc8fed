"""The built book in a real browser, at desktop and phone width; `make test` runs this after the build.

XNNLIB_BOOK names the folder of the built pages. Without Chromium the browser's part is skipped, loudly.
"""

import functools
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from machine_places import place_in
from playwright.sync_api import sync_playwright

HTML = Path(os.environ.get("XNNLIB_BOOK", Path(__file__).parents[1] / "_build" / "html")).resolve()
PAGES = sorted(
    path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html") if "_static" not in path.parts
)
RUNS = [page for page in PAGES if page.startswith("results/")]
# Not the index, which only leads on; of the runs' pages, which are alike, a baseline's and one of each block.
ALIKE = set(RUNS) - {RUNS[0], *{page.split("/")[-2].split("-")[0]: page for page in RUNS}.values()}
OPENED = [page for page in PAGES if page != "index.html" and page not in ALIKE]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
# Each piece of text that ends outside the box that clips it, so that no scrolling shows it.
CUT_OFF = """
() => [...document.querySelectorAll("article :is(p, td, li, h1, h2, h3), footer p")].filter(text => {
  let box = text;
  do box = box.parentElement; while (box && getComputedStyle(box).overflowX === "visible");
  const hides = !box || ["hidden", "clip"].includes(getComputedStyle(box).overflowX);
  const end = box ? box.getBoundingClientRect().right : document.documentElement.clientWidth;
  return hides && text.getClientRects().length && text.getBoundingClientRect().right > end + 1;
}).map(text => text.textContent.trim().slice(0, 40))
"""
# Each of the paper's tables that its box is too narrow for, so that it must be moved to be read.
WIDE_TABLES = """
() => [...document.querySelectorAll("table.paper-table")].filter(table => {
  let box = table;
  do box = box.parentElement; while (getComputedStyle(box).overflowX === "visible");
  return table.getBoundingClientRect().right > box.getBoundingClientRect().right + 1;
}).map(table => (table.caption ?? table).textContent.trim().slice(0, 40))
"""


def test_the_book_is_there():
    assert "index.html" in PAGES and "book/training.html" in PAGES, f"no book in {HTML}; build it first"


@functools.cache
def parsed(page: str) -> BeautifulSoup:
    return BeautifulSoup((HTML / page).read_text(encoding="utf-8"), "html.parser")


@pytest.mark.parametrize("page", PAGES)
def test_every_internal_link_lands(page):
    lost = []
    for link in parsed(page).find_all("a", href=True):
        place, anchor = urldefrag(urljoin(page, link["href"]))
        if "://" in place or place.startswith(("mailto:", "data:")):
            continue
        target = HTML / unquote(place)
        if target.is_dir():
            target /= "index.html"
        if not target.is_file():
            lost.append(link["href"])
        elif anchor and target.suffix == ".html":
            found = parsed(target.relative_to(HTML).as_posix()).find(id=unquote(anchor))
            lost += [] if found else [link["href"]]
    assert not lost


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_no_page_names_a_place_of_one_machine():
    beside = [HTML / "searchindex.js", *HTML.glob("_sources/**/*"), *HTML.glob("_images/*.svg")]
    assert len(beside) > 20
    for file in filter(Path.is_file, [*map(HTML.joinpath, PAGES), *beside]):
        assert not place_in(file.read_text(encoding="utf-8")), file


@pytest.fixture(scope="module")
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=HTML))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: pages were not opened in a browser")
    options = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options.split())
        yield chromium
        chromium.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", OPENED)
def test_a_page_opens_without_complaint(site, browser, page, width):
    columns, rows = WIDTHS[width]
    context = browser.new_context(viewport={"width": columns, "height": rows})
    tab = context.new_page()
    complaints, asked = [], set()
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    tab.on("request", lambda request: asked.add(request.url))
    tab.goto(site + page, wait_until="load")
    broken = tab.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
    complaints += [f"image without a size: {source}" for source in broken]
    # The book must work where there is no network.
    others = (address for address in asked if not address.startswith((site, "data:", "blob:")))
    complaints += [f"asks another host: {address}" for address in others]
    wider = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    if wider > 0:
        complaints.append(f"{wider} pixels wider than the screen")
    if width == "desktop":
        complaints += [f"a table wider than the text: {text!r}" for text in tab.evaluate(WIDE_TABLES)]
    complaints += [f"cut off: {text!r}" for text in tab.evaluate(CUT_OFF)]
    # Colours are the same at every width, and to compare them is most of the work.
    options = {"preload": False, "rules": {"color-contrast": {"enabled": width == "desktop"}}}
    for violation in Axe().run(tab, options=options).response["violations"]:
        if violation["impact"] in ("serious", "critical"):
            places = [node["target"] for node in violation["nodes"][:3]]
            complaints.append(f"{violation['id']}: {violation['help']}: {places}")
    context.close()
    assert not complaints
