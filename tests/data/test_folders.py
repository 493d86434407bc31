import os
import socket
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

from attngan.data.findings import Findings
from attngan.data.folders import FileFinder, choose_images, folder_with_most, walk, why_no_file
from attngan.data.images import is_marked_overview
from attngan.pictures import ATTENTION, GRID, INTERPOLATION, save_overview


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(root, findings=None):
    return [path.relative_to(root).as_posix() for path in walk(root, findings or Findings())]


def test_all_files_in_the_order_of_their_paths(tmp_path):
    touch(tmp_path / "b" / "c.jpg", tmp_path / "b.txt", tmp_path / "a" / "b" / "c" / "d", tmp_path / "B" / "x")
    assert found(tmp_path) == ["B/x", "a/b/c/d", "b/c.jpg", "b.txt"]
    assert walk(tmp_path, Findings()) == sorted(path for path in tmp_path.rglob("*") if path.is_file())


def test_linked_folders_and_files_are_followed(tmp_path):
    root, other = tmp_path / "data", tmp_path / "elsewhere"
    touch(root / "own.png", other / "deep" / "far.png", other / "near.png", tmp_path / "single.png")
    (root / "link").symlink_to(other)
    (root / "file.png").symlink_to(tmp_path / "single.png")
    findings = Findings()
    assert found(root, findings) == ["file.png", "link/deep/far.png", "link/near.png", "own.png"]
    assert not findings.notes


def test_a_folder_that_is_itself_a_link_is_read(tmp_path):
    touch(tmp_path / "real" / "x.png")
    (tmp_path / "link").symlink_to("real")
    assert found(tmp_path / "link") == ["x.png"]


@pytest.mark.parametrize("target", [".", "..", "../../data/a", "../.."])
def test_links_in_a_circle_end_and_are_told(tmp_path, target):
    root = tmp_path / "data"
    touch(root / "a" / "x.png", tmp_path / "beside.png")
    (root / "a" / "back").symlink_to(target)
    findings = Findings()
    assert found(root, findings) == ["a/x.png"]
    assert len(findings.notes["linked folder passed over"]) == 1


def test_two_folders_that_link_to_each_other_end(tmp_path):
    root = tmp_path / "data"
    for own, other in (("p", "q"), ("q", "p")):
        touch(tmp_path / own / f"{own}.png")
        (tmp_path / own / "other").symlink_to(tmp_path / other)
    root.mkdir()
    (root / "start").symlink_to(tmp_path / "p")
    assert found(root) == ["start/other/q.png", "start/p.png"]


def test_a_folder_with_several_names_is_read_once_by_its_own(tmp_path):
    """Else an image would be in the data set twice, perhaps in training and in test."""
    touch(tmp_path / "m" / "x.png")
    for name in ("a", "z"):
        (tmp_path / name).symlink_to("m")
    findings = Findings()
    assert found(tmp_path, findings) == ["m/x.png"]
    assert len(findings.notes["linked folder passed over"]) == 2


def test_a_maze_of_links_takes_no_time(tmp_path):
    """Two links on each of forty levels: 2^40 paths, forty folders."""
    outside = tmp_path / "outside"
    for level in range(40):
        touch(outside / f"{level}" / "x.png")
        if level:
            for name in ("left", "right"):
                (outside / f"{level - 1}" / name).symlink_to(outside / f"{level}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "in").symlink_to(outside / "0")
    assert len(found(tmp_path / "data")) >= 10


def test_hidden_files_and_folders_are_passed_over_and_told(tmp_path):
    touch(tmp_path / "x.png", tmp_path / ".ipynb_checkpoints" / "x-checkpoint.png", tmp_path / "b" / "._x.png")
    touch(tmp_path / "__MACOSX" / "y.png", tmp_path / ".attngan_cache" / "z.png", tmp_path / ".DS_Store")
    findings = Findings()
    assert found(tmp_path, findings) == ["x.png"]
    told = {Path(message).name for message in findings.notes["hidden, passed over"]}
    assert told == {".ipynb_checkpoints", "._x.png", "__MACOSX"}  # not our own cache, nor what is no picture


def test_what_is_no_file_is_passed_over_and_told(tmp_path):
    touch(tmp_path / "x.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "self.png").symlink_to("self.png")
    (tmp_path / "zeros.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(tmp_path)  # the name of a socket may not be long
        listening.bind("s.png")
        os.chdir(here)
        findings = Findings()
        assert found(tmp_path, findings) == ["x.png"]
    names = {kind: sorted(Path(message).name for message in of_kind) for kind, of_kind in findings.notes.items()}
    assert names == {
        "no regular file, passed over": ["pipe.png", "s.png", "zeros.png"],
        "link that leads nowhere, passed over": ["gone.png", "self.png"],
    }


def test_a_folder_that_may_not_be_read_stops(tmp_path, monkeypatch):
    touch(tmp_path / "x.png", tmp_path / "locked" / "y.png")
    scandir = os.scandir

    def refusing(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)  # tests may run as root, who may read all
    findings = Findings()
    assert found(tmp_path, findings) == ["x.png"]
    with pytest.raises(ValueError, match=r"unreadable folder: .*locked: Permission denied"):
        findings.stop_if_bad()


# Which of the files are images


def chosen(names, findings=None, marked=lambda _name: False):
    return [str(name) for name in choose_images(map(PurePosixPath, names), findings or Findings(), marked)]


def test_images_by_suffixes_of_any_case():
    names = [
        "a.jpg",
        "b.JPG",
        "c.JpEg",
        "d.PNG",
        "e.webp",
        "f.TIFF",
        "g.Gif",
        "h.BMP",
        "i.jfif",
        "j.txt",
        "k",
        "l.jpg.part",
    ]
    assert chosen(names) == names[:9]


def test_pictures_that_are_not_read_are_named():
    findings = Findings()
    assert chosen(["a.HEIC", "b.svg", "c.png", "d.npy"], findings) == ["c.png"]
    assert [m.split(":")[0] for m in findings.notes["pictures of a kind that is not read"]] == ["a.HEIC", "b.svg"]


def test_what_shows_samples_is_none_by_name_and_neighbours():
    names = ["grid.png", "00001_000.png", "00001_000_attention.png", "interpolation.png", "interpolation_000_001.png"]
    findings = Findings()
    assert chosen(names, findings) == ["00001_000.png", "interpolation_000_001.png"]
    assert len(findings.notes["no sample (grid, attention), passed over"]) == 3
    assert chosen(["grid.png", "00007.png"]) == ["00007.png"]  # of a generator that reads no text


def test_other_peoples_pictures_of_such_names_stay():
    names = ["grid.png", "self_attention.png", "window.png", "x/00001_000.png", "samples_2.png"]
    assert chosen(names) == names


def test_what_shows_samples_is_none_by_its_mark(tmp_path):
    for name in (GRID, INTERPOLATION, f"00001_red-bird{ATTENTION}", "samples_0000100.png", "attention_0000100.png"):
        save_overview(Image.new("RGB", (4, 4)), tmp_path / name)
    Image.new("RGB", (4, 4)).save(tmp_path / "00001_red-bird.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "samples_7.png")
    images = choose_images(walk(tmp_path, Findings()), Findings(), is_marked_overview)
    assert [path.name for path in images] == ["00001_red-bird.png", "samples_7.png"]


# Looking for one file


def test_files_are_found_by_suffixes_of_any_case(tmp_path):
    touch(tmp_path / "a.b" / "Mt._Fuji_1.JpG", tmp_path / "a.b" / "two.PNG", tmp_path / "a.b" / "two.Jpeg")
    finder = FileFinder()
    suffixes = (".jpg", ".jpeg", ".png")
    assert finder.find(tmp_path / "a.b" / "Mt._Fuji_1", suffixes).name == "Mt._Fuji_1.JpG"
    assert finder.find(tmp_path / "a.b" / "two", suffixes).name == "two.Jpeg"  # the first of the suffixes
    assert finder.find(tmp_path / "a.b" / "mt._fuji_1", suffixes) is None
    assert finder.find(tmp_path / "nowhere" / "two", suffixes) is None
    assert finder.exact(tmp_path / "a.b" / "two.png").name == "two.PNG"
    assert finder.exact(tmp_path / "a.b" / "two.gif") is None


def test_names_that_no_system_has_are_not_found(tmp_path):
    finder = FileFinder()
    for name in ("x" * 5000, "a\0b", "\ud800"):
        assert finder.find(tmp_path / name, (".jpg",)) is None
        assert finder.exact(tmp_path / f"{name}.jpg") is None


def test_what_is_said_of_a_path_that_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert why_no_file(tmp_path / "pipe") == f"{tmp_path / 'pipe'} is no regular file"
    for name in ("gone", "x" * 300, "a\0b"):
        assert why_no_file(tmp_path / name) == f"no file {tmp_path / name}"


def test_the_folder_that_holds_most_of_the_names(tmp_path):
    names = [f"{i}.jpg" for i in range(200)]
    touch(*(tmp_path / "few" / name for name in names[:20]), *(tmp_path / "most" / name for name in names[20:]))
    assert folder_with_most(names, [tmp_path, tmp_path / "few", tmp_path / "most"]) == tmp_path / "most"
    assert folder_with_most(["no.jpg"], [tmp_path, tmp_path / "few"]) == tmp_path
    assert folder_with_most([], [tmp_path]) == tmp_path
