"""The documentation's site: built without a warning, whole, and nothing in it is loaded from outside."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest

from tests.conftest import REPOSITORY

#: What a browser fetches by itself, or on a click: element and its attribute.
LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}
CLICKED = {("a", "href")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    built = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert built.returncode == 0, built.stderr
    return out


class Addresses(HTMLParser):
    """Collects the addresses of a page."""

    def __init__(self, wanted: set[tuple[str, str]]) -> None:
        super().__init__()
        self.wanted, self.found = wanted, list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if value and (tag, name) in self.wanted]


def addresses(site: Path, wanted: set[tuple[str, str]]) -> Iterator[tuple[Path, str]]:
    for page in site.rglob("*.html"):
        parser = Addresses(wanted)
        parser.feed(page.read_text(encoding="utf-8"))
        yield from ((page, address) for address in parser.found)


def test_nothing_is_loaded_from_outside(site: Path) -> None:
    loaded = list(addresses(site, LOADED))
    assert len(loaded) > 100
    assert not [(page.name, address) for page, address in loaded if re.match(r"(https?:)?//", address)]
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_every_address_within_it_is_there(site: Path) -> None:
    missing = set()
    for page, address in addresses(site, LOADED | CLICKED):
        place = unquote(urldefrag(address)[0])
        if place and not re.match(r"[a-z]+:", place) and page.name != "404.html":  # which has addresses of its server
            target = page.parent / place
            if not (target.is_file() or (target / "index.html").is_file()):
                missing.add((str(page.relative_to(site)), address))
    assert not missing


def test_the_notebooks_page_shows_what_it_drew(site: Path) -> None:
    page = (site / "quickstart.ipynb.html").read_text(encoding="utf-8")
    cells = json.loads((REPOSITORY / "docs" / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    drawn = [output["data"]["image/jpeg"].strip() for cell in cells for output in cell.get("outputs", [])
             if "image/jpeg" in output.get("data", {})]  # fmt: skip
    assert len(drawn) > 3
    assert all(f"data:image/jpeg;base64,{picture}" in page for picture in drawn)
    assert "R-precision of real test birds" in page
    assert "\x1b" not in page


def test_the_first_page_is_the_readme(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    assert 'src="birds_64.png"' in page
    assert 'href="repository/checkpoints/cub_64.html"' in page
    assert "scripts/demo.sh" in page


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("history.html", 'href="repository/attngan/networks/fusion.py.html"'),  # code that a document links to
        ("repository/attngan/networks/fusion.py.html", '<span class="nc">MemoryFusion</span>'),
        ("repository/checkpoints/cub_64.html", 'href="../../birds.html"'),  # back from outside of docs/
        ("api/losses.html", 'id="attngan.losses.matching.matching_loss"'),
        ("api/networks.html", 'id="attngan.networks.multistage.AttnGANGenerator"'),
    ],
)  # fmt: skip
def test_files_outside_of_docs_and_the_api_are_pages(site: Path, page: str, told: str) -> None:
    assert told in (site / page).read_text(encoding="utf-8")


def test_private_parts_are_not_in_the_api(site: Path) -> None:
    assert not re.findall(
        r'id="(attngan[\w.]*\._(?!_)[\w.]*)"', "".join(p.read_text() for p in (site / "api").glob("*"))
    )


def test_it_is_searched_where_it_is_opened_from_a_folder(site: Path, browser: Any) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.click(".md-search__input")
    page.keyboard.type("truncation")
    page.wait_for_selector(".md-search-result__item", timeout=20_000)
    assert "Sample" in page.locator(".md-search-result__item h1").all_inner_texts()
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    page.close()
