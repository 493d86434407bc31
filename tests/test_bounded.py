"""Bounded work: what is larger than it looks is refused, what is not is read."""

import io
import pickle
import time
from collections import OrderedDict

import pytest

from attngan.bounded import (
    MOST_NESTED,
    BoundedUnpickler,
    read_json,
    read_recipe,
    require_bounded,
    require_bounded_pickles,
)
from attngan.data.published_pickles import read_published_pickle


def test_values_are_counted_wherever_they_stand():
    row = list(range(9))
    require_bounded([row] * 9, most=91)  # 9 rows of 9 numbers and the row itself, and the list
    with pytest.raises(ValueError, match="named again and again"):
        require_bounded([row] * 9, most=90)
    require_bounded({"a": [1, (2, 3)], "b": OrderedDict(c={4})})


def test_what_holds_itself_or_lies_deep_is_refused():
    own: list = []
    own.append({"x": own})
    with pytest.raises(ValueError, match="holds itself"):
        require_bounded(own)
    deep: list = []
    for _ in range(MOST_NESTED + 5):
        deep = [deep]
    with pytest.raises(ValueError, match="nested more than"):
        require_bounded(deep)


@pytest.mark.parametrize("levels", [60, 2000])
def test_doubled_lists_take_no_time(levels):
    value: object = 1
    for _ in range(levels):
        value = [value, value]
    began = time.process_time()
    with pytest.raises(ValueError, match=r"named again|nested more"):
        require_bounded(value)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 5000, "[" * 150 + "]" * 150, "nul", '"\\ud800', "1" * 6000])
def test_json_of_any_kind_is_read_or_refused(text):
    with pytest.raises(ValueError, match=r"not JSON|nested more than"):
        read_json(text)


def test_json_is_read():
    assert read_json(b'{"a": [1, 2.5, null, "\xc3\xa9"]}') == {"a": [1, 2.5, None, "é"]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: 1\nb: [1, 2\nc: 3\n", "line 3: not YAML"),
        (b"a: 1\nb: caf\xe9\n", "line 2: not UTF-8"),
        (b"a: 2001-99-99\n", "month"),
        (b"a: " + b"[" * 3000, "nested more than"),
        (b"a: &a [*a]\n", "holds itself"),
        (b"a: x" + b"x" * 1_000_000, "longer than a recipe"),
        (b"a: !!python/object/apply:os.system [ls]\n", "line 1: not YAML: could not determine a constructor"),
        (b"a: \x00\n", "special characters"),
    ],
)
def test_a_recipe_that_is_none_is_told_with_its_place(tmp_path, content, told):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"r\.yaml.*{told}"):
        read_recipe(path)


def test_merged_keys_without_end_are_refused(tmp_path):
    levels = [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}], k{i}: 1}}" for i in range(1, 12)]
    (tmp_path / "r.yaml").write_text("a0: &a0 {k: 1}\n" + "\n".join(levels))
    with pytest.raises(ValueError, match="named again and again"):
        read_recipe(tmp_path / "r.yaml")


def test_aliases_are_read(tmp_path):
    (tmp_path / "r.yaml").write_text("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n")
    assert read_recipe(tmp_path / "r.yaml") == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}


@pytest.mark.parametrize("value", [{"a": [1, 2.5, "x", None, True, b"y"], (1, "b"): (2,)}, [[]], "text", 3])
@pytest.mark.parametrize("protocol", range(5))
def test_plain_pickles_are_read(value, protocol):
    require_bounded_pickles(io.BytesIO(pickle.dumps(value, protocol)))
    if not isinstance(value, dict) or protocol > 2:  # before, bytes are made by a function
        assert BoundedUnpickler(io.BytesIO(pickle.dumps(value, protocol))).load() == value


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8f(K\x01\x90.",
        b"\x80\x05\x96\xff\xff\xff\xff\x01\x00\x00\x00.",
        b"cos\nsystem\n(S'ls'\ntR.",
        b"\x80\x02]}(K\x01K\x02ub.",
    ],
    ids=["a set", "a large bytearray", "a name", "a state for a list"],
)
def test_what_no_published_pickle_has_is_refused(tmp_path, content):
    (tmp_path / "x.pickle").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.pickle: cannot be read as a published pickle"):
        read_published_pickle(tmp_path / "x.pickle")


def test_a_pickle_cannot_change_its_reader(tmp_path):
    """The state of a class would set its attributes."""
    forged = b"\x80\x02cnumpy\ndtype\n(N}X\x05\x00\x00\x00valueK\x01st\x86b."
    (tmp_path / "x.pickle").write_bytes(forged)
    with pytest.raises(ValueError, match="cannot be read"):
        read_published_pickle(tmp_path / "x.pickle")
    (tmp_path / "y.pickle").write_bytes(pickle.dumps([1], 2))
    assert read_published_pickle(tmp_path / "y.pickle") == [1]
