import os

import pytest

from attngan.data.names import NameOutsideError, path_inside, without_suffix


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    return tmp_path / "data"


@pytest.mark.parametrize(
    "name",
    [
        *("sub/a b.jpg", "sub\\a b.jpg", "./sub//a b.jpg", "sub/../sub/a b.jpg"),
        *("{root}/sub/a b.jpg", "{root}/./sub/x/../a b.jpg"),
    ],
)
def test_spellings_of_one_file(root, name):
    assert path_inside(name.format(root=root), root) == root / "sub" / "a b.jpg"


def test_relative_to_another_folder_than_the_root(root):
    assert path_inside("a.jpg", root / "sub", root) == root / "sub" / "a.jpg"
    assert path_inside("..\\a.jpg", root / "sub", root) == root / "a.jpg"
    with pytest.raises(NameOutsideError):
        path_inside("../a.jpg", root / "sub")


def test_from_the_home_folder(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert path_inside("~/data/sub/x.png", root) == root / "sub" / "x.png"
    assert path_inside("~x.png", root) == root / "~x.png"  # a name as any other


def test_a_relative_root(root, monkeypatch):
    monkeypatch.chdir(root)
    here = type(root)(".")
    assert path_inside("sub/x.png", here) == here / "sub" / "x.png"
    assert path_inside(str(root / "sub" / "x.png"), here) == here / "sub" / "x.png"
    with pytest.raises(NameOutsideError):
        path_inside("../x.png", here)


def test_absolute_through_a_link(root):
    link = root.parent / "link"
    link.symlink_to(root)
    assert path_inside(f"{link}/sub/x.png", root) == root / "sub" / "x.png"
    assert path_inside(f"{root}/sub/x.png", link) == link / "sub" / "x.png"


def test_a_linked_file_belongs_where_the_link_is(root):
    (root.parent / "far.png").write_bytes(b"x")
    (root / "near.png").symlink_to(root.parent / "far.png")
    assert path_inside("near.png", root) == root / "near.png"
    assert path_inside(str(root / "near.png"), root) == root / "near.png"


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "sub/../../x",
        "..\\x",
        "/etc/passwd",
        "{root}2/x",
        "C:\\x",
        "c:/x",
        "a\0b",
        "",
        "  ",
        ".",
        None,
        7,
        ["x"],
    ],
)
def test_what_is_no_name_or_leads_out(root, name):
    name = name.format(root=root) if isinstance(name, str) else name
    with pytest.raises(NameOutsideError):
        path_inside(name, root)


def test_suffixes_of_images_alone_are_taken_off():
    names = ["a/b.JPG", "b.jpeg", "Mt._Fuji_1", "v1.5", "x.tar", ".jpg"]
    assert [without_suffix(name) for name in names] == ["a/b", "b", "Mt._Fuji_1", "v1.5", "x.tar", ".jpg"]
    assert os.path.splitext("v1.5")[1]  # which is why not every suffix is
