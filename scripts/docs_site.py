"""What mkdocs is told of the repository: README.md is the site's first page, and files outside of docs/ become pages.

The documents link to each other and to the code as they lie in the repository, so that they can be read there. On the
site a link that leaves docs/ leads to a page made of the file that it names: Markdown as it is, code with its colours.
So does one to a notebook.
"""

import json
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

REPOSITORY = Path(__file__).parents[1]
START, DOCS, ELSEWHERE = "README.md", "docs/", "repository/"
#: ``](target#anchor)`` of a link or picture, not of another site or of the page itself.
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")
#: What turns a terminal's text bold or coloured.
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the first page, and those of the files that documents link to, of these in turn what they link to."""
    files.append(File.generated(config, "index.md", content=_text(START)))
    waiting = [START, *(DOCS + file.src_uri for file in files.documentation_pages() if file.src_uri != "index.md")]
    waiting += [name.removeprefix(ELSEWHERE) for name in _named(config.nav) if name.startswith(ELSEWHERE)]
    waiting = [*dict.fromkeys(waiting)]
    seen = set(waiting)
    for name in waiting:  # grows while it is gone through
        place = _place(name)
        if files.get_file_from_path(place) is None:
            files.append(File.generated(config, place, **_content(name)))
        if name.endswith(".md"):
            new = {target for target in _targets(name) if (REPOSITORY / target).is_file()} - seen
            seen |= new
            waiting += sorted(new)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are in the repository become those of the site; others stay, and mkdocs tells of them."""
    here = _name(page.file.src_uri)

    def on_site(link: re.Match[str]) -> str:
        target = _target(here, link[1])
        if not (REPOSITORY / target).is_file():
            return link[0]
        return f"]({get_relative_url(_place(target), page.file.src_uri)}{link[2] or ''})"

    return _outside_of_fences(markdown, lambda text: LINK.sub(on_site, text))


def _outside_of_fences(markdown: str, change: Callable[[str], str]) -> str:
    done, parts = 0, []
    for fence in FENCE.finditer(markdown):
        parts += [change(markdown[done : fence.start()]), fence[0]]
        done = fence.end()
    return "".join([*parts, change(markdown[done:])])


def _targets(name: str) -> Iterator[str]:
    """Files that a document links to, as they are named from the repository's root."""
    for link in LINK.finditer(FENCE.sub("", _text(name))):
        yield _target(name, link[1])


def _target(name: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), link))


def _place(name: str) -> str:
    """Where a file of the repository is on the site."""
    if name == START:
        return "index.md"
    place = name.removeprefix(DOCS) if name.startswith(DOCS) else ELSEWHERE + name
    return place if _as_it_is(name) else f"{place}.md"


def _name(place: str) -> str:
    """The file of the repository that a page of the site is made of."""
    if place == "index.md":
        return START
    name = place.removeprefix(ELSEWHERE) if place.startswith(ELSEWHERE) else DOCS + place
    return name if (REPOSITORY / name).is_file() else name.removesuffix(".md")


def _as_it_is(name: str) -> bool:
    """Whether a file is a page or a picture already; others are shown as code."""
    return name.endswith((".md", ".png", ".jpg", ".svg"))


def _content(name: str) -> dict[str, str]:
    if name.endswith(".md"):
        return {"content": _text(name)}
    if name.endswith(".ipynb"):
        return {"content": "\n\n".join(_of_cells(json.loads(_text(name))["cells"]))}
    if _as_it_is(name):
        return {"abs_src_path": str(REPOSITORY / name)}
    return {"content": f"# {name}\n\n````{Path(name).suffix.lstrip('.')}\n{_text(name)}\n````\n"}


def _of_cells(cells: list[dict[str, Any]]) -> Iterator[str]:
    """A notebook's cells, and what they gave when it ran: pictures within the page, text."""
    for cell in cells:
        source = "".join(cell["source"])
        yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
        for output in cell.get("outputs", []):
            given = output.get("data", {})
            picture = next((kind for kind in given if kind.startswith("image/")), None)
            if picture:
                yield f"![what the cell above draws](data:{picture};base64,{''.join(given[picture]).strip()})"
            elif told := "".join(output.get("text", given.get("text/plain", ""))).strip("\n"):
                yield f"```text\n{COLOUR.sub('', told)}\n```"


def _text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def _named(nav: object) -> Iterator[str]:
    """The files that the navigation names."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, list | dict):
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _named(part)
