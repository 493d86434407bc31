"""What the documents say of the code is still there."""

import re
from pathlib import Path

import pytest
import yaml

from attngan import installed
from attngan.cli import COMMANDS, RECIPES
from attngan.option_errors import with_underscores
from attngan.short_help import GROUPS, RUN
from attngan.signatures import documented
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


def test_the_readme_begins_with_what_one_sees_and_does():
    readme = (REPOSITORY / "README.md").read_text()
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme)
    assert pictures[0] == "docs/birds_64.png"  # drawn by the generator that ships
    assert readme.index(pictures[0]) < readme.index("scripts/demo.sh") < readme.index("scripts/test.sh")
    assert all((REPOSITORY / name).is_file() for name in re.findall(r"^(scripts/\S+)", readme, re.MULTILINE))
    documents = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "docs").glob("*.md")}
    assert documents <= set(re.findall(r"\]\(([^)#]+)", readme)), "README.md leads to every page"


def test_there_are_links():
    assert len(LINKS) > 20


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_says_first_what_it_is(path):
    assert path.read_text().startswith("# ")
    assert yaml.safe_load(path.read_text())["data"]["root"].startswith("data/")


DOCUMENTS = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "data/README.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
named_by_place = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))


@named_by_place
def test_a_document_names_files_that_are_there_and_no_line_numbers(document):
    text = document.read_text()
    assert not re.search(r"\.py(:\d|#L\d)", text)
    there = [f"/{path.relative_to(REPOSITORY)}" for path in REPOSITORY.rglob("*.py")]
    named = {name for name in re.findall(r"[\w/]+\.py\b", text) if not name.endswith(("NAME.py", "utils.py"))}
    for name in named:
        if "NAME" in name:  # of whoever follows the document
            continue
        assert any(path.endswith(f"/{name.lstrip('/')}") for path in there), f"{document.name}: no {name}"


#: Recipes that documents name and whoever follows them writes.
YOURS = ("mine", "toy/gatedgan")


def commands_of(document: Path) -> list[list[str]]:
    """Every command line of a document, `attngan COMMAND ...`, in words: of its code, continued lines as one."""
    text = document.read_text().replace("\\\n", " ")
    code = [*re.findall(r"^ *```(?:sh|bash)?\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)]
    code += re.findall(
        r"`([^`\n]+(?:\n[^`\n]+)?)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    lines = [
        line for part in code for line in re.split(r"[;|\n]", part) if re.match(r"\s*(\S+/|srun )?attngan \w", line)
    ]
    return [words[words.index("attngan") + 1 :] for line in lines if "attngan" in (words := in_words(line))]


def in_words(line: str) -> list[str]:
    words = re.sub(r"\s#.*", "", line).replace(".venv/bin/attngan", "attngan").split('"')
    return [word for number, part in enumerate(words) for word in (["TEXT"] if number % 2 else part.split())]


def options_of(command: str) -> set[str]:
    """The options of a command; of a recipe's groups those of the first level."""
    if command not in RECIPES:
        of = COMMANDS[command]
        return {argument.name for argument in documented(of.module, of.function).arguments} - {*of.positional}
    names = {*RUN, "keep"}
    for group, of in GROUPS.items():
        if place := of.get(command) if isinstance(of, dict) else of:
            names |= {f"{group}.{argument.name}" for argument in documented(*place).arguments}
    return names


@named_by_place
def test_the_commands_of_a_document_are_there_with_their_options_and_recipes(document):
    for command, *words in commands_of(document):
        if command in ("COMMAND", "--help", "--version"):
            continue
        assert command in COMMANDS, f"attngan {command}"
        known = options_of(command) | {"help", "help_all"}
        for word, after in zip(words, [*words, ""][1:], strict=True):
            name = with_underscores(word).removeprefix("--").partition("=")[0]
            if not word.startswith("--") or name.startswith("trainer."):
                continue
            first = ".".join(name.split(".")[:2])
            assert first in known, f"attngan {command} {word}"
            recipe = after.removesuffix(".yaml").removeprefix("configs/")
            if name in ("config", "configs") and re.match(r"[a-z]", recipe) and recipe not in YOURS:
                assert recipe in installed.recipes() or "NAME" in recipe, f"attngan {command} --config {after}"


def test_commands_are_found_in_documents():
    found = [words for document in DOCUMENTS for words in commands_of(document)]
    assert len(found) > 100
    assert ["sample", "TEXT", "--samples_per_caption", "4"] in found
    assert any(words[0] == "train" and "--init_from" in words for words in found)


@named_by_place
def test_the_extras_of_a_document_are_declared(document):
    declared = (REPOSITORY / "pyproject.toml").read_text()
    for extras in re.findall(r"(?:attngan|-e '?\.)\[([\w,]+)\]", document.read_text()):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", declared, re.MULTILINE), f"{document.name}: no extra {extra}"


@pytest.mark.parametrize("path", sorted((REPOSITORY / "attngan").rglob("*.py")), ids=lambda path: path.stem)
def test_what_a_docstring_says_of_an_argument_reads_without_its_name(path):
    fragments = re.findall(r"^\s+\w+: (?:Of|Its|Their|Likewise)\b.*", path.read_text(), re.MULTILINE)
    assert not fragments, fragments  # a YAML key's help is the docstring of its argument
