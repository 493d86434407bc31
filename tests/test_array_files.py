"""Arrays of strangers: read, or refused with what the file is."""

import zipfile

import numpy as np
import pytest

from attngan.array_files import read_array, read_arrays


@pytest.mark.parametrize("mapped", [False, True])
def test_an_array_is_read(tmp_path, mapped):
    np.save(tmp_path / "x.npy", np.arange(6.0).reshape(2, 3))
    assert (read_array(tmp_path / "x.npy", mapped) == np.arange(6.0).reshape(2, 3)).all()


def header(shape: str, kind: str = "'<f8'") -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        header("(999999999999, 9)") + bytes(80),
        header("(-1,)") + bytes(80),
        header("(2, 5)", "'|O'") + bytes(80),
        header("(True or 1,)"),
        header("(2, 5)") + bytes(79),
        b"\x93NUMPY\x01\x00\xff\xff",
        b"PK\x03\x04 nothing",
        b"",
        b"plain words",
    ],
)
def test_what_is_no_whole_array_is_refused(tmp_path, content, mapped):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npy: not an array"):
        read_array(tmp_path / "x.npy", mapped)


def test_arrays_by_name(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", mu=np.zeros(2), sigma=np.eye(2))
    mean, covariance = read_arrays(tmp_path / "x.npz", "mu", "sigma")
    assert (mean == 0).all()
    assert (covariance == np.eye(2)).all()
    with pytest.raises(ValueError, match=r"x\.npz: it has no array m, but 'mu', 'sigma'"):
        read_arrays(tmp_path / "x.npz", "m", "mu")


def test_a_member_of_gigabytes_is_refused_unseen(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mu.npy", header("(20000000,)") + bytes(160_000_000))
    with pytest.raises(ValueError, match=r"'mu\.npy' in it would be 160"):
        read_arrays(tmp_path / "x.npz", "mu")
