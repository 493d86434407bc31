"""From the captions of a data set to its vocabulary and to word ids, and which images that leaves usable."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from attngan.data.findings import Findings
from attngan.data.sources.registry import Splits
from attngan.data.splits import only_class
from attngan.errors import InputError
from attngan.records import CaptionedImage
from attngan.text.tokenizer import CaptionTokenizer
from attngan.text.vocabulary import Vocabulary

UNKNOWN_SHARE = 0.01  # of the words of the training captions may be missing in a published vocabulary

#: The words of each caption of each image.
Tokens = list[list[list[str]]]


class UsableImage(NamedTuple):
    """An image that can be trained on.

    Attributes:
        image: The image as the source gives it.
        row: Position of the image in the split as the source gives it, which is that of its pixels in the cache.
        captions: The word ids of each caption that is used.
        numbers: Which of the image's own captions these are.
        place: Where its precomputed embeddings are in their file; -1 where there are none.
    """

    image: CaptionedImage
    row: int
    captions: list[list[int]]
    numbers: list[int]
    place: int = -1


def split_into_words(splits: Splits, tokenizer: CaptionTokenizer, captions_per_image: int) -> dict[str, Tokens]:
    """The words of the first captions of every image."""
    shared: dict[str, str] = {}  # one object a word, not one an occurrence

    def of_image(image: CaptionedImage) -> list[list[str]]:
        captions = image.captions[:captions_per_image]
        return [[shared.setdefault(word, word) for word in tokenizer(caption)] for caption in captions]

    return {split: [of_image(image) for image in images] for split, images in splits.items()}


def captions_in(tokens: dict[str, Tokens], splits: Collection[str]) -> list[list[str]]:
    """All captions of some splits, as words."""
    return [words for split in splits for own in tokens.get(split, []) for words in own]


def vocabulary_of(
    tokens: dict[str, Tokens], training: Collection[str], tokenizer: CaptionTokenizer, min_count: int
) -> Vocabulary:
    """The vocabulary of the captions.

    Args:
        tokens: The words of the captions of all splits.
        training: Which splits' captions make it; a published one has the words of the test captions too.
        tokenizer: The tokenizer that split the captions.
        min_count: How often a word must occur.
    """
    if tokenizer.name == "published":
        return Vocabulary.in_published_order([*captions_in(tokens, training), *captions_in(tokens, ["test"])])
    return Vocabulary.from_tokens(captions_in(tokens, training), tokenizer, min_count)


def check_vocabulary(given: Vocabulary, captions: list[list[str]], root: object, captions_per_image: int) -> None:
    """Refuses a vocabulary that is not that of the training captions.

    Raises:
        InputError: Shows both sizes and the first words that differ. A published vocabulary may lack one in a hundred
            words of the captions.
    """
    if not captions_per_image:
        raise InputError(f"captions_per_image is 0: of {root} no caption is read that the checkpoint could encode")
    if given.has_unknown:
        own = Vocabulary.from_tokens(captions, given.tokenizer, given.min_count)
        if own != given:
            raise InputError(
                f"the vocabulary of the checkpoint is not that of the captions in {root}: {own.difference(given)}. It "
                "must have been pretrained on these captions (same files, same captions_per_image, here "
                f"{captions_per_image}). To fine-tune on other captions than a checkpoint was trained on: "
                "--init_from CHECKPOINT (attngan pretrain for the encoders, attngan train for a generator)"
            )
        return
    counts = Counter(word for words in captions for word in words)
    known = set(given.words)
    unknown = {word: count for word, count in counts.items() if word not in known}
    share = sum(unknown.values()) / max(1, counts.total())
    if share > UNKNOWN_SHARE:
        first = ", ".join(sorted(unknown, key=lambda word: (-unknown[word], word))[:10])
        raise InputError(
            f"the published vocabulary does not fit the captions in {root}: data: {len(counts):,} words, vocabulary: "
            f"{len(given):,}; it lacks {share:.1%} of all their words, first: {first}. To fine-tune on other captions "
            "than a checkpoint was trained on: --init_from CHECKPOINT"
        )


def told_of_other_captions(given: Vocabulary, captions: list[list[str]]) -> str:
    """How much of captions a vocabulary of others knows, in a sentence.

    Raises:
        InputError: Nothing.
    """
    counts = Counter(word for words in captions for word in words)
    known = set(given.words)
    unknown = {word: count for word, count in counts.items() if word not in known}
    if len(unknown) == len(counts):
        raise InputError(
            "the checkpoint's vocabulary knows no word of these captions: train the encoders on them first"
        )
    become = "become <unk>" if given.has_unknown else "are left out"
    first = sorted(unknown, key=lambda word: (-unknown[word], word))[:5]
    shown = f" (most often {', '.join(first)})" if first else ""
    share = sum(unknown.values()) / counts.total()
    return (
        f"captions: of {len(counts):,} different words the checkpoint knows {len(counts) - len(unknown):,}, which keep "
        f"their embeddings; {len(unknown):,}{shown} {become}: {share:.1%} of all words"
    )


def usable_images(
    images: Sequence[CaptionedImage],
    undecodable: Collection[int],
    tokens: Tokens,
    vocabulary: Vocabulary,
    findings: Findings,
    captions: bool = True,
) -> list[UsableImage]:
    """The images with pixels and with at least one caption that the vocabulary can encode.

    Args:
        images: Images of one split.
        undecodable: Positions of those without pixels.
        tokens: Words of the images' captions.
        vocabulary: The vocabulary that encodes them.
        findings: Takes images and captions without a known word.
        captions: Whether an image needs a caption to be usable.
    """
    usable = []
    for row, (image, own) in enumerate(zip(images, tokens, strict=True)):
        if row in undecodable:
            continue
        encoded = [(number, ids) for number, words in enumerate(own) if (ids := vocabulary.encode_tokens(words))]
        if captions and not encoded:
            findings.add_bad("no known word", f"{image.path}: its captions have no word that the vocabulary has")
            continue
        if dropped := len(own) - len(encoded):
            findings.add_note("captions without a known word", f"{image.path}: {dropped} dropped")
        _note_unread_letters(image, len(own), vocabulary.tokenizer, findings)
        usable.append(UsableImage(image, row, [ids for _, ids in encoded], [number for number, _ in encoded]))
    return usable


def _note_unread_letters(image: CaptionedImage, used: int, tokenizer: CaptionTokenizer, findings: Findings) -> None:
    """Notes captions of a language that the tokenizer cannot split, or of which it leaves letters out."""
    captions = image.captions[:used]
    if left_out := "".join(dict.fromkeys("".join(map(tokenizer.left_out, captions)))):
        findings.add_note(
            "captions with letters that the tokenizer leaves out",
            f"{image.path}: {left_out[:20]} (tokenizer words reads them)",
        )
    if any(map(tokenizer.joins_clauses, captions)):
        findings.add_note(
            "captions without spaces between words",
            f"{image.path}: each clause counts as one word: put spaces between the words",
        )


def note_one_class(splits: Splits, findings: Findings) -> None:
    """Notes a split whose images are all of one class, which then counts for nothing (`class_ids`)."""
    for split, images in splits.items():
        if (number := only_class(images)) is not None and split == "train":
            findings.add_note("one class for all images, taken as none", f"all {len(images):,} of {split}: {number}")
