"""What the documents say of the code is still there."""

import re

import pytest
import yaml

from tests.conftest import REPOSITORY

HISTORY = REPOSITORY / "docs" / "history.md"
LINKS = re.findall(r"\[`(\w+)`\]\(\.\./([\w/]+\.py)\)", HISTORY.read_text())


@pytest.mark.parametrize(("name", "path"), LINKS)
def test_the_history_points_at_files_that_define_what_it_names(name, path):
    defined = re.findall(r"^\s*(?:class|def) (\w+)\b", (REPOSITORY / path).read_text(), re.MULTILINE)
    assert name in defined, f"docs/history.md: {path} defines no {name}"


def test_the_history_names_every_recipe_of_a_generator():
    named = set(re.findall(r"`(\w+)`", HISTORY.read_text()))
    recipes = {path.stem for path in (REPOSITORY / "configs").glob("*.yaml")}
    assert {name for name in recipes if not name.startswith("damsm")} <= named


def test_there_are_links():
    assert len(LINKS) > 20


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_says_first_what_it_is(path):
    assert path.read_text().startswith("# ")
    assert yaml.safe_load(path.read_text())["data"]["root"].startswith("data/")


DOCUMENTS = [
    REPOSITORY / name
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/method.md", "docs/history.md", "docs/birds.md")
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_files_that_are_there_and_no_line_numbers(document):
    text = document.read_text()
    assert not re.search(r"\.py(:\d|#L\d)", text)
    there = [f"/{path.relative_to(REPOSITORY)}" for path in REPOSITORY.rglob("*.py")]
    named = {name for name in re.findall(r"[\w/]+\.py\b", text) if not name.endswith(("NAME.py", "utils.py"))}
    for name in named:
        if "NAME" in name:  # of whoever follows the document
            continue
        assert any(path.endswith(f"/{name.lstrip('/')}") for path in there), f"{document.name}: no {name}"


@pytest.mark.parametrize("path", sorted((REPOSITORY / "attngan").rglob("*.py")), ids=lambda path: path.stem)
def test_what_a_docstring_says_of_an_argument_reads_without_its_name(path):
    fragments = re.findall(r"^\s+\w+: (?:Of|Its|Their|Likewise)\b.*", path.read_text(), re.MULTILINE)
    assert not fragments, fragments  # a YAML key's help is the docstring of its argument
