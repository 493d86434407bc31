import os
import pickle

import numpy as np
import pytest

from attngan.data.published_pickles import read_published_pickle

# What Python 2 wrote: a list of numpy scalars (class_info.pickle), as found in the published metadata.
PYTHON_2_SCALARS = (
    b"(lp0\ncnumpy.core.multiarray\nscalar\np1\n(cnumpy\ndtype\np2\n(S'i8'\np3\nI0\nI1\ntp4\nRp5\n(I3\nS'<'\np6\nNNN"
    b"I-1\nI-1\nI0\ntp7\nbS'\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00'\np8\ntp9\nRp10\na."
)


def written(tmp_path, content: bytes):
    path = tmp_path / "some.pickle"
    path.write_bytes(content)
    return path


def test_python_2_scalars(tmp_path):
    assert read_published_pickle(written(tmp_path, PYTHON_2_SCALARS)) == [2]


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize(
    "array", [np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array(["ab", "c"])]
)
def test_plain_arrays(tmp_path, protocol, array):
    read = read_published_pickle(written(tmp_path, pickle.dumps({"x": [array]}, protocol=protocol)))["x"][0]
    assert read.dtype == array.dtype
    assert (read == array).all()


@pytest.mark.parametrize("protocol", range(5))
def test_text_numbers_and_big_endian_scalars(tmp_path, protocol):
    content = (["a/b", "c"], {"x": 1, "y": 2.5}, np.int64(7), np.dtype(">i4").type(5), b"raw\xff")
    assert read_published_pickle(written(tmp_path, pickle.dumps(content, protocol=protocol))) == content


class RunsCode:
    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", range(5))
def test_a_pickle_that_tries_to_run_code_is_refused_and_runs_nothing(tmp_path, protocol):
    bomb = RunsCode()
    bomb.target = tmp_path / "was_run"
    path = written(tmp_path, pickle.dumps(["fine", bomb], protocol=protocol))
    with pytest.raises(ValueError, match=r"some\.pickle.*mkdir.*nothing was run"):
        read_published_pickle(path)
    assert not bomb.target.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"c__builtin__\ngetattr\n(S'1'\nS'x'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n(S'x'\ntR.",
        b"cattngan.data.published_pickles\nread_published_pickle\n(S'x'\ntR.",
    ],
)
def test_names_off_the_list_are_refused(tmp_path, content):
    with pytest.raises(ValueError, match="no published file does"):
        read_published_pickle(written(tmp_path, content))


def test_arrays_of_pointers_are_refused(tmp_path):
    """With numpy's own dtype this crashes the interpreter: an object array built of raw bytes."""
    forged = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\nI00\nI01\n"
        b"tR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'AAAAAAAA'\ntb."
    )
    with pytest.raises(ValueError, match="only numbers and text"):
        read_published_pickle(written(tmp_path, forged))


@pytest.mark.parametrize("content", [b"", b"not a pickle", PYTHON_2_SCALARS[:60], b"\x80\x04r\xff\xff\xff\xff."])
def test_damaged_files_are_named(tmp_path, content):
    with pytest.raises(ValueError, match=r"some\.pickle: cannot be read"):
        read_published_pickle(written(tmp_path, content))


def test_other_codecs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="only latin1"):
        read_published_pickle(written(tmp_path, b"c_codecs\nencode\n(Vabc\nVrot13\ntR."))


@pytest.mark.real
def test_the_published_file_lists(real_cub):
    names = read_published_pickle(real_cub / "train" / "filenames.pickle")
    classes = read_published_pickle(real_cub / "train" / "class_info.pickle")
    assert len(names) == len(classes) == 8855
    assert names[0].startswith("002.Laysan_Albatross/")
    assert all(isinstance(number, int) for number in classes)
    assert len(set(classes)) == 150
