import pytest

from attngan.data.findings import Findings
from attngan.data.sources.flickr import read_flickr
from attngan.data.sources.registry import read_source
from attngan.data.splits import split_by_hash
from tests.data.conftest import picture

NAMES = [f"{1000 + number}_{number:x}b0" for number in range(8)]


@pytest.fixture
def flickr(tmp_path):
    """Eight images in a folder of their own, as Flickr8k is unpacked; no list of captions yet."""
    root = tmp_path / "flickr"
    (root / "Flicker8k_Dataset").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        picture(number).save(root / "Flicker8k_Dataset" / f"{name}.jpg")
    return root


def captions(name):
    return tuple(f"a dog , number {k} of {name} ." for k in range(3))


def as_tokens(root, name="Flickr8k_text/Flickr8k.token.txt"):
    lines = [f"{image}.jpg#{k}\t{caption}\n" for image in NAMES for k, caption in enumerate(captions(image))]
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("".join(lines))
    (root / "Flickr8k.lemma.token.txt").write_text("1000_0b0.jpg#0\tlemma be not caption\n")


def as_flickr30k_csv(root):
    lines = [f"{image}.jpg| {k}| {caption}\n" for image in NAMES for k, caption in enumerate(captions(image))]
    (root / "results.csv").write_text("image_name| comment_number| comment\n" + "".join(lines))


def as_kaggle_txt(root):
    lines = [f'{image}.jpg,"{caption}"\n' for image in NAMES for caption in captions(image)]
    (root / "captions.txt").write_text("image,caption\n" + "".join(lines))


def as_flickr30k_tokens(root):
    as_tokens(root, "results_20130124.token")


@pytest.mark.parametrize("layout", [as_tokens, as_flickr30k_csv, as_kaggle_txt, as_flickr30k_tokens])
def test_captions_of_each_list(flickr, layout):
    layout(flickr)
    findings = Findings()
    images = read_flickr(flickr, findings)
    read = {image.name: image.captions for own in images.values() for image in own}
    assert read == {name: captions(name) for name in NAMES}
    assert all(split_by_hash(image.name) == split for split, own in images.items() for image in own)
    assert "a stable hash" in findings.notes["no lists of the splits"][0]
    assert not findings.bad


@pytest.mark.parametrize(
    ("names", "suffix"),
    [
        (("Flickr_8k.trainImages.txt", "Flickr_8k.devImages.txt", "Flickr_8k.testImages.txt"), ".jpg"),
        (("train.txt", "val.txt", "test.txt"), ""),
    ],
)
def test_lists_of_the_splits(flickr, names, suffix):
    as_tokens(flickr)
    for name, members in zip(names, (NAMES[:4], NAMES[4:5], NAMES[5:7]), strict=True):
        (flickr / name).write_text("".join(f"{member}{suffix}\n" for member in members))
    findings = Findings()
    images = read_source("flickr", flickr, findings)
    assert {split: [image.name for image in own] for split, own in images.items()} == {
        "train": NAMES[:4],
        "validation": NAMES[4:5],
        "test": NAMES[5:7],
    }
    assert len(findings.notes["in no split"]) == 1
    (flickr / names[2]).write_text(f"{NAMES[0]}\n")
    with pytest.raises(ValueError, match="in the list of another split too"):
        read_flickr(flickr)


def test_what_is_wrong_with_one_line_is_told_and_leaves_the_others(flickr):
    as_tokens(flickr)
    path = flickr / "Flickr8k_text" / "Flickr8k.token.txt"
    path.write_text(path.read_text() + "no number\tat all\ngone.jpg#0\ta cat\n")
    (flickr / "Flicker8k_Dataset" / f"{NAMES[2]}.jpg").unlink()
    findings = Findings()
    assert sum(map(len, read_flickr(flickr, findings).values())) == 7
    assert "line 25: not NAME.jpg#NUMBER" in findings.bad["malformed row"][0]
    assert len(findings.bad["missing image"]) == 2


def test_lists_that_are_not_there_or_several(flickr):
    with pytest.raises(FileNotFoundError, match="no list of captions"):
        read_flickr(flickr)
    (flickr / "captions.txt").write_text("just some words\n")
    with pytest.raises(FileNotFoundError, match="no list of captions"):
        read_flickr(flickr)
    as_tokens(flickr)
    as_kaggle_txt(flickr)
    with pytest.raises(ValueError, match="several lists of captions"):
        read_flickr(flickr)


def test_images_alone(flickr):
    as_tokens(flickr)
    images = read_source("flickr", flickr, captions=False)
    assert {image.captions for own in images.values() for image in own} == {()}
