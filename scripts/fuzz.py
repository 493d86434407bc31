#!/usr/bin/env python
"""Damaged and hostile files by the thousand: whatever a file holds, its reader gives it or says what is wrong with it.

Small whole files of every kind that attngan reads are changed at random (bytes, pieces, lengths, words of the format),
and read. An input is told by its kind and its number, so that any of them can be made again:

    python scripts/fuzz.py --count 100000                      # of all kinds together
    python scripts/fuzz.py --kinds pth --start 4711 --count 1  # one again, with its traceback

Only what the docstrings say may be raised: errors of attngan's own (`AttnganError`), and where a reader names another
one, that. Everything else is a fault and makes the exit code 1: another exception, a crash, more than ten seconds of a
processor, more than four gigabytes. Each kind runs in a process of its own, which tells its peak memory.
"""

import argparse
import contextlib
import importlib
import io
import json
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SECONDS, BYTES = 10, 4 << 30  # that one input may take
CAPTIONS = ("a small red bird with a yellow belly", "this bird has grey wings", "the black bird with a white crown")


class Kind(NamedTuple):
    """A kind of file.

    Args:
        whole: Makes whole files, given a folder to work in.
        read: Reads the file at a path, and all that it holds.
        name: What the file is called, within the folder.
        words: What its format says often: put into it at random.
        share: How many of the inputs, beside the other kinds.
        allowed: What may be raised beside errors of attngan's own.
    """

    whole: Callable[[Path], list[bytes]]
    read: Callable[[Path], object]
    name: str
    words: Sequence[bytes] = ()
    share: int = 1
    allowed: tuple[type[Exception], ...] = ()


@dataclass
class Table:
    """What came of the inputs of one kind."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    slowest_input: int = 0
    peak_megabytes: float = 0.0

    def fault(self, what: str, number: int) -> None:
        self.faults[what] += 1
        self.first.setdefault(what, number)

    def add(self, other: "Table") -> None:
        for name in ("inputs", "read", "refused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults.update(other.faults)
        self.first = {**other.first, **self.first}
        if other.slowest > self.slowest:
            self.slowest, self.slowest_input = other.slowest, other.slowest_input
        self.peak_megabytes = max(self.peak_megabytes, other.peak_megabytes)


# --- whole files, and what reads them ---------------------------------------------------------------------------------


def captions(folder: Path) -> list[bytes]:
    text = "\n".join(CAPTIONS)
    return [text.encode(), ("\ufeff" + text).encode(), "café ﬁnch\r\n\r\nİstanbul\r鳥が飛ぶ".encode(), b""]


def read_captions(path: Path) -> None:
    from attngan.data.findings import Findings
    from attngan.data.sources.caption_files import read_caption_file
    from attngan.text.tokenizer import Tokenizer
    from attngan.text.vocabulary import Vocabulary

    own = read_caption_file(path, Findings()) or ()
    for name in ("words", "published"):
        vocabulary = Vocabulary.from_captions(own, Tokenizer(name))
        for caption in own:
            vocabulary.encode(caption)


def _pictures(folder: Path) -> None:
    from PIL import Image

    for number in range(4):
        path = folder / f"{number}.png"
        if not path.exists():
            Image.new("RGB", (20, 18), (40 * number, 90, 200)).save(path)


def metadata(folder: Path) -> list[bytes]:
    _pictures(folder)
    rows = [
        {"file_name": "0.png", "text": CAPTIONS[0], "class": 1, "bbox": [1, 2, 10, 10], "split": "train"},
        {"file_name": "1.png", "texts": list(CAPTIONS), "class": "b", "bbox": "1 2 3 4", "split": "test"},
        {"file_name": "2.png", "text": CAPTIONS[1], "split": "validation"},
    ]
    return ["\n".join(map(json.dumps, rows)).encode(), json.dumps(rows[0]).encode()]


def table(folder: Path) -> list[bytes]:
    _pictures(folder)
    rows = ["file_name,text,class,bbox,split", f'0.png,"{CAPTIONS[0]}",1,"1 2 10 10",train', "1.png,a bird,2,,test"]
    texts = ["file_name,texts", '0.png,"[""a bird"", ""a red bird""]"', '1.png,"one\ntwo"', "2.png,\"['a', 'b']\""]
    return ["\n".join(rows).encode(), "\r\n".join(texts).encode()]


def read_folder_with(path: Path) -> None:
    from attngan.data.sources.folder import read_folder

    read_folder(path.parent)


def coco(folder: Path) -> list[bytes]:
    _pictures(folder)
    images = [{"id": i, "file_name": f"{i}.png", "width": 20, "height": 18} for i in range(3)]
    captions = [{"id": 10 + i, "image_id": i % 3, "caption": c} for i, c in enumerate(CAPTIONS * 2)]
    return [json.dumps({"info": {}, "images": images, "annotations": captions}).encode()]


def read_coco_file(path: Path) -> None:
    from attngan.data.sources.coco import read_coco

    read_coco(path.parent.parent, "train")


def pickles(folder: Path) -> list[bytes]:
    words = {0: "<end>", 1: "a", 2: "red", 3: "bird"}
    contents: list[Any] = [
        [[[1, 2, 3], [1, 3]], [[1, 3]], words, {word: number for number, word in words.items()}],
        ["001.A/a_0", "001.A/b_1"],
        [1, np.int64(2), 3],
        [np.zeros((2, 4), np.float32), np.ones((2, 4), np.float32)],
        {"x": (1, 2.5, None, b"raw", True)},
    ]
    return [pickle.dumps(content, protocol) for content in contents for protocol in (0, 2, 4)]


def read_pickles(path: Path) -> None:
    from attngan.data.published_pickles import published_vocabulary, read_published_pickle

    read_published_pickle(path)
    published_vocabulary(path)


def npy(folder: Path) -> list[bytes]:
    arrays = [
        np.zeros((2, 3, 4), np.float32),
        np.ones((3, 4), np.float16),
        np.arange(6),
        np.array(["ab"]),
        np.ones((1, 1, 2), ">f8"),
    ]
    return [_saved(lambda file, array=array: np.save(file, array)) for array in arrays]


def _saved(save: Callable[[io.BytesIO], Any]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def read_npy(path: Path) -> None:
    from attngan.commands.sample import read_embeddings
    from attngan.data.sentence_embeddings import EmbeddingFile
    from attngan.errors import AttnganError

    with contextlib.suppress(AttnganError):
        EmbeddingFile(path, path).first_not_finite()
    read_embeddings(path)


def npz(folder: Path) -> list[bytes]:
    arrays = {"mu": np.zeros(4), "sigma": np.eye(4)}
    return [_saved(lambda file: np.savez(file, **arrays)), _saved(lambda file: np.savez_compressed(file, **arrays))]


def read_npz(path: Path) -> None:
    from attngan.evaluation.reference import published_statistics

    published_statistics(path)


def _networks() -> tuple[Any, Any]:
    """A tiny generator, and the text encoder and image encoder that it goes with."""
    import torch

    from attngan.networks.damsm import DAMSM
    from attngan.networks.image_encoder import ImageEncoder
    from attngan.networks.image_trunks import ConvTrunk
    from attngan.networks.multistage import AttnGANGenerator
    from attngan.networks.text_encoder import TextEncoder
    from attngan.text.vocabulary import Vocabulary

    torch.manual_seed(0)
    vocabulary = Vocabulary.from_captions(CAPTIONS)
    encoder = TextEncoder(len(vocabulary), embed_dim=8, word_dim=4)
    damsm = DAMSM(encoder, ImageEncoder(ConvTrunk(16, 1), 8), vocabulary)
    return AttnGANGenerator(1, 2, 8, 4, 4, 1, base_size=8), damsm


def checkpoint(folder: Path) -> list[bytes]:
    from attngan.checkpoint import CaptionReader, write_generator

    generator, damsm = _networks()
    made = []
    for text in (damsm, CaptionReader(damsm.text_encoder, damsm.vocabulary)):
        write_generator(folder / "made.ckpt", generator, text, 12, 3, 4)
        made.append((folder / "made.ckpt").read_bytes())
    return made


def safetensors(folder: Path) -> list[bytes]:
    from attngan.checkpoint import write_generator

    generator, damsm = _networks()
    write_generator(folder / "made.safetensors", generator, damsm, 12, 3, 4)
    return [(folder / "made.safetensors").read_bytes()]


def read_checkpoint_file(path: Path) -> None:
    from attngan.checkpoint import open_checkpoint
    from attngan.errors import AttnganError

    opened = open_checkpoint(path)
    for part in (opened.generator, opened.damsm, opened.caption_reader):
        with contextlib.suppress(AttnganError):
            part()
    _ = opened.word_limit, opened.vocabulary


def pth(folder: Path) -> list[bytes]:
    import torch

    from attngan.networks.published_names import ATTNGAN_GENERATOR, TEXT_ENCODER, published_names

    generator, damsm = _networks()
    made = []
    for network, names in ((generator, ATTNGAN_GENERATOR), (damsm.text_encoder, TEXT_ENCODER)):
        weights = {published_names(name, names)[0]: value for name, value in network.state_dict().items()}
        for contents in (weights, {"state_dict": weights, "epoch": 3}):
            for new in (True, False):
                made.append(_saved(lambda f, c=contents, n=new: torch.save(c, f, _use_new_zipfile_serialization=n)))
    return made


def read_pth(path: Path) -> None:
    from attngan.errors import AttnganError
    from attngan.networks import published

    loaders = (published.load_published_text_encoder, published.load_published_discriminator)
    for load in loaders:
        with contextlib.suppress(AttnganError):
            load(path)
    published.load_published_generator(path)


def cache(folder: Path) -> list[bytes]:
    from attngan.data.image_cache import open_or_build
    from attngan.records import CaptionedImage

    _pictures(folder)
    (folder / "broken.png").write_bytes(b"none")
    paths = [*sorted(folder.glob("[0-9].png")), folder / "broken.png"]
    images = [CaptionedImage(path.stem, path, CAPTIONS[:1]) for path in paths]
    path = folder / "made.cache"
    open_or_build(path, images, 16, processes=1)
    return [path.read_bytes()]


def read_cache(path: Path) -> None:
    from attngan.data.image_cache import ImageCache

    opened = ImageCache(path)
    opened.damaged()
    for position in range(min(len(opened), 100)):
        with contextlib.suppress(KeyError):  # of an image that could not be decoded, by its docstring
            opened[position].sum()


def recipe(folder: Path) -> list[bytes]:
    root = Path(__file__).parents[1] / "configs"
    made = [(root / name).read_bytes() for name in ("toy/attngan.yaml", "toy/damsm.yaml", "attngan_cub.yaml")]
    return [*made, b"a: &a [1, 2]\nb: &b {x: *a, y: *a}\nc: {<<: *b, z: [*a, *b]}\n"]


def read_recipe_file(path: Path) -> None:
    from attngan.commands.renamed_keys import refuse_renamed_keys
    from attngan.commands.trust import refuse_untrusted

    refuse_untrusted(["--config", str(path)], [])
    refuse_renamed_keys(["--config", str(path)])


def shards(folder: Path) -> list[bytes]:
    from attngan.data.sources.shards import write_shards
    from attngan.records import CaptionedImage

    _pictures(folder)
    images = [
        CaptionedImage(path.stem, path, CAPTIONS[:2], 1, (0.0, 0.0, 9.0, 9.0)) for path in sorted(folder.glob("?.png"))
    ]
    write_shards({"train": images}, folder / "shards")
    return [(folder / "shards" / "index.json").read_bytes()]


def shard_lines(folder: Path) -> list[bytes]:
    shards(folder)
    return [(folder / "shards" / "train.jsonl").read_bytes()]


def shard_file(folder: Path) -> list[bytes]:
    shards(folder)
    return [(folder / "shards" / "train-000000.tar").read_bytes()]


def read_shards_with(path: Path) -> None:
    from attngan.data.sources.shards import read_shards

    _splits, stream, _held_out = read_shards(path.parent, path.parent.parent / "scratch")
    for _ in stream.in_order():
        pass


JSON = (
    b'{"',
    b'": ',
    b"[[[[",
    b"]",
    b"null",
    b"1e999",
    b"NaN",
    b"-0",
    b'"\\ud800"',
    b"9" * 5000,
    b"[" * 3000,
    b"\\u0000",
)
TEXT = (
    b"\0",
    b"\xff\xfe",
    b"\r",
    b"\n\n",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    "é".encode("latin-1"),
    b"\x1b[31m",
    b"[red]",
)
PICKLE = (
    b"r\xff\xff\xff\x7f",
    b"2\x86",
    b"cos\nsystem\n",
    b"R",
    b"b",
    b"(",
    b"\x81",
    b"\x93",
    b"h\x00",
    b"0",
    b"}",
    b"\x96",
)
NPY = (
    b"'shape': (999999999999,)",
    b"'<f8'",
    b"'|O'",
    b"'fortran_order': True",
    b"(",
    b"None",
    b"'|V9'",
    b"'<U99999999'",
)
TORCH = (
    *PICKLE,
    b"data.pkl",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"FloatStorage",
    b"state_dict",
)
SAFE = (
    *JSON,
    b'"F64"',
    b'"BOOL"',
    b'"data_offsets":[0,9]',
    b"__metadata__",
    b'\\"class_path\\"',
    b'"shape":[99999999999]',
)
YAML = (
    b"*a",
    b"&a ",
    b"<<: ",
    b"!!python/name:os.system",
    b"!!binary ",
    b"- " * 200,
    b"{" * 200,
    b"class_path: os.x",
    b"? ",
    b"|",
)

KINDS = {
    "captions": Kind(captions, read_captions, "a.txt", TEXT, 12),
    "metadata": Kind(metadata, read_folder_with, "metadata.jsonl", (*JSON, *TEXT), 8),
    "csv": Kind(table, read_folder_with, "metadata.csv", (b'"', b",", b'""', *TEXT, *JSON), 8),
    "coco": Kind(coco, read_coco_file, "annotations/captions_train2017.json", (*JSON, *TEXT), 12),
    "pickle": Kind(pickles, read_pickles, "a.pickle", PICKLE, 14),
    "npy": Kind(npy, read_npy, "a.npy", NPY, 8),
    "npz": Kind(npz, read_npz, "a.npz", NPY, 6),
    "pth": Kind(pth, read_pth, "a.pth", TORCH, 6),
    "checkpoint": Kind(checkpoint, read_checkpoint_file, "a.ckpt", TORCH, 3),
    "safetensors": Kind(safetensors, read_checkpoint_file, "a.safetensors", SAFE, 5),
    "cache": Kind(cache, read_cache, "a.cache", JSON, 6),
    "yaml": Kind(recipe, read_recipe_file, "a.yaml", (*YAML, *TEXT), 4),
    "shard index": Kind(shards, read_shards_with, "shards/index.json", JSON, 4),
    "shard lines": Kind(shard_lines, read_shards_with, "shards/train.jsonl", (*JSON, *TEXT), 2),
    "shard tar": Kind(shard_file, read_shards_with, "shards/train-000000.tar", TEXT, 2),
}


# --- changes ----------------------------------------------------------------------------------------------------------

NUMBERS = (
    0,
    1,
    -1,
    127,
    128,
    255,
    1 << 15,
    (1 << 16) - 1,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    (1 << 63) - 1,
    1 << 63,
)


def changed(wholes: Sequence[bytes], words: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """One of the whole files with one to eight changes; one in two hundred is noise alone."""
    if rng.random() < 0.005:
        return rng.bytes(int(rng.integers(0, 300)))
    data = bytearray(wholes[int(rng.integers(len(wholes)))])
    for _ in range(int(rng.integers(1, 9)) if rng.random() < 0.5 else 1):
        _change(data, wholes, words, rng)
    return bytes(data)


def _change(data: bytearray, wholes: Sequence[bytes], words: Sequence[bytes], rng: np.random.Generator) -> None:
    # half of the changes fall where formats keep what they say of themselves: the first and the last 400 bytes
    length = len(data)
    at = int(rng.integers(length + 1))
    if length > 800 and rng.random() < 0.5:
        at = int(rng.integers(400)) if rng.random() < 0.5 else length - int(rng.integers(400))
    size = int(min(rng.integers(1, 65), max(0, length - at)))
    what = int(rng.integers(9))
    if what == 0 and size:
        data[at] ^= 1 << int(rng.integers(8)) if at < length else 0
    elif what == 1:
        data[at : at + 1] = rng.bytes(1)
    elif what == 2:
        del data[at : at + size]
    elif what == 3:
        del data[at:]
    elif what == 4:
        data[at:at] = data[at : at + size] * int(rng.integers(1, 40))
    elif what == 5:
        other = wholes[int(rng.integers(len(wholes)))]
        begin = int(rng.integers(len(other) + 1))
        data[at : at + size] = other[begin : begin + int(rng.integers(1, 200))]
    elif what == 6:
        width = int(rng.choice([1, 2, 4, 8]))
        number = NUMBERS[int(rng.integers(len(NUMBERS)))] % (1 << 8 * width)
        data[at : at + width] = number.to_bytes(width, "little" if rng.random() < 0.7 else "big")
    elif what == 7 and words:
        word = words[int(rng.integers(len(words)))]
        data[at : at + (0 if rng.random() < 0.5 else len(word))] = word
    else:
        digits = [i for i in range(at, min(length, at + 200)) if 48 <= data[i] < 58]
        if digits:
            place = digits[int(rng.integers(len(digits)))]
            data[place : place + 1] = str(NUMBERS[int(rng.integers(len(NUMBERS)))]).encode()


# --- one kind ---------------------------------------------------------------------------------------------------------


class TooLong(BaseException):
    """An input took longer than one may; no reader may catch it."""


def _stop(*_: Any) -> None:
    raise TooLong


def inputs(kind: str, seed: int, start: int, count: int, folder: Path) -> Iterator[tuple[int, Path]]:
    """The inputs of a kind with these numbers, each at the same path until the next one."""
    own = KINDS[kind]
    wholes, path = own.whole(folder), folder / own.name
    path.parent.mkdir(parents=True, exist_ok=True)
    for whole in wholes:  # once before the clock runs: packages are imported at their first use
        path.write_bytes(whole)
        with contextlib.suppress(Exception):
            own.read(path)
    for number in range(start, start + count):
        rng = np.random.default_rng((seed, zlib.crc32(kind.encode()), number))
        path.write_bytes(changed(wholes, own.words, rng))
        yield number, path


def run(kind: str, seed: int, start: int, count: int, show: bool, told: Connection | None = None) -> Table:
    """Reads inputs of one kind, and tells what came of them."""
    from attngan.errors import AttnganError

    warnings.simplefilter("ignore")
    result, own = Table(), KINDS[kind]
    signal.signal(signal.SIGPROF, _stop)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        for number, path in inputs(kind, seed, start, count, Path(folder)):
            if told is not None and number % 200 == 0:
                told.send((number, result))
            elif told is not None:
                told.send((number, None))
            result.inputs += 1
            began = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                own.read(path)
                result.read += 1
            except (AttnganError, *own.allowed):
                result.refused += 1
            except TooLong:
                result.fault(f"more than {SECONDS} s", number)
            except (Exception, SystemExit) as error:
                result.fault(_described(error), number)
                if show:
                    traceback.print_exc()
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            if (took := time.process_time() - began) > result.slowest:
                result.slowest, result.slowest_input = took, number
            result.peak_megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def _described(error: BaseException) -> str:
    """The exception and the last place of ours that it went through."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "attngan/" in frame.filename]
    place = f"{ours[-1].filename.partition('attngan/')[2]}:{ours[-1].lineno}" if ours else "?"
    return f"{type(error).__name__} at {place}: {str(error).splitlines()[0][:80] if str(error) else ''}"


def _child(told: Connection, kind: str, seed: int, start: int, count: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        told.send((-1, run(kind, seed, start, count, False, told)))


def watched(kind: str, seed: int, start: int, count: int) -> Table:
    """As `run`, in a process of its own, started again behind an input that ended it."""
    total, end = Table(), start + count
    while start < end:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(
            target=_child, args=(theirs, kind, seed, start, end - start)
        )
        process.start()
        theirs.close()
        last, kept = start, Table()
        with contextlib.suppress(EOFError):
            while last >= 0:
                last, state = ours.recv()
                kept = state or kept
        process.join()
        total.add(kept)
        if last < 0:
            break
        total.inputs += last + 1 - start - kept.inputs
        total.fault(f"the process ended ({process.exitcode})", last)
        start = last + 1
    return total


# --- all kinds --------------------------------------------------------------------------------------------------------


def shares(kinds: Sequence[str], count: int) -> dict[str, int]:
    """How many inputs of each kind: quick ones get more."""
    whole = sum(KINDS[kind].share for kind in kinds)
    return {kind: max(1, count * KINDS[kind].share // whole) for kind in kinds}


def show(tables: dict[str, Table], seconds: float) -> None:
    heads = ("inputs", "read", "refused", "faults", "slowest", "of number", "MB")
    print(
        "kind         "
        + " ".join(f"{head:>{width}}" for head, width in zip(heads, (9, 8, 9, 7, 10, 10, 6), strict=True))
    )
    for kind, told in tables.items():
        faults = sum(told.faults.values())
        print(
            f"{kind:<12} {told.inputs:>9,} {told.read:>8,} {told.refused:>9,} {faults:>7,} {told.slowest:>8.2f} s "
            f"{told.slowest_input:>10,} {told.peak_megabytes:>6,.0f}"
        )
    print(f"{sum(told.inputs for told in tables.values()):,} inputs in {seconds / 60:.1f} minutes")
    for kind, told in tables.items():
        for what, times in told.faults.most_common():
            print(f"{kind}: {times:,} x {what} (first: --kinds '{kind}' --start {told.first[what]} --count 1)")


def _preload() -> None:
    """What every process of a kind has need of: imported here, it is there when it begins."""
    for name in ("nltk.tokenize", "scipy.io", "attngan.commands.sample", "attngan.evaluation.reference"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="inputs, of all kinds together")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--start", type=int, default=0, help="number of each kind's first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1, help="go round the kinds so often, with the table after each")
    parser.add_argument("--json", type=Path, help="file for the table, written after each round")
    given = parser.parse_args()
    if given.count == 1:
        alone = run(given.kinds[0], given.seed, given.start, 1, show=True)
        show({given.kinds[0]: alone}, alone.slowest)
        return 1 if alone.faults else 0
    _preload()
    began = time.monotonic()
    tables = {kind: Table() for kind in given.kinds}
    starts = dict.fromkeys(given.kinds, given.start)
    for _ in range(given.rounds):
        for kind, count in shares(given.kinds, given.count // given.rounds).items():
            tables[kind].add(watched(kind, given.seed, starts[kind], count))
            starts[kind] += count
        show(tables, time.monotonic() - began)
        sys.stdout.flush()
        if given.json:
            given.json.write_text(json.dumps({kind: vars(told) for kind, told in tables.items()}, indent=1))
    return 1 if any(told.faults for told in tables.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
