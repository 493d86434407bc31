"""The notebook runs from its first cell to its last, and what docs/python.md calls can be called so."""

import ast
import inspect
import re

import nbformat
import pytest
from nbclient import NotebookClient

import attngan
from tests.conftest import REPOSITORY

NOTEBOOK = REPOSITORY / "docs" / "quickstart.ipynb"
GUIDE = (REPOSITORY / "docs" / "python.md").read_text()


@pytest.mark.slow
def test_the_notebook_runs(monkeypatch):
    monkeypatch.setenv("ATTNGAN_TINY", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, 4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(REPOSITORY)}}).execute()
    assert pictures(notebook, "image/png") == 6


def test_the_notebook_was_run_and_shows_it():
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert pictures(notebook, "image/jpeg") == 6
    assert NOTEBOOK.stat().st_size < 1_000_000


def pictures(notebook, kind):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return sum(kind in output.get("data", {}) for output in outputs)


BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
CALLS = [
    node
    for block in BLOCKS
    for node in ast.walk(ast.parse(block))
    if isinstance(node, ast.Call) and re.match(r"(attngan|generator)\.\w", ast.unparse(node.func))
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{ast.unparse(call.func)}-{call.lineno}")
def test_what_the_guide_calls_can_be_called_so(call):
    path = ast.unparse(call.func).split(".")
    if path[0] == "generator":
        path = ["attngan", "Generator", *path[1:]]
    function = attngan
    for name in path[1:]:
        function = getattr(function, name)
    given = [None] * (len(call.args) + (path[1] == "Generator" and not inspect.ismethod(function)))
    inspect.signature(function).bind(*given, **{keyword.arg: None for keyword in call.keywords})


def test_the_guide_shows_every_name():
    for name in set(attngan.__all__) - {"Run", "__version__"}:
        assert f"attngan.{name}" in GUIDE
    assert len(CALLS) > 10
