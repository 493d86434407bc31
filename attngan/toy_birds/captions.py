"""Captions of generated birds, and the way back: which colours a caption names.

The captions follow the manner of those that Reed et al. collected for CUB ("this small bird has a bright yellow belly,
grey wings and a short pointed bill"); most name only some attributes.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Choice = TypeVar("Choice")

PARTS = ("body", "wing", "belly", "crown")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (204, 32, 36),
    "orange": (243, 128, 22),
    "yellow": (247, 217, 48),
    "green": (44, 146, 62),
    "blue": (36, 84, 204),
    "purple": (142, 52, 170),
    "brown": (112, 66, 36),
    "black": (30, 29, 34),
    "white": (246, 246, 244),
    "grey": (138, 142, 148),
}
MOST_WORDS = 18  # the published limit of training captions: a longer one would lose words at random


class Dice:
    """Choices that depend on nothing but the seed.

    Only ``Generator.random`` is used: unlike ``integers`` and ``permutation`` it is a plain reading of the bit stream,
    which numpy keeps stable.
    """

    def __init__(self, *seed: int) -> None:
        self._random = np.random.default_rng(seed).random

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(self._random())

    def chance(self, probability: float) -> bool:
        return float(self._random()) < probability

    def pick(self, options: Sequence[Choice]) -> Choice:
        return options[int(float(self._random()) * len(options))]

    def shuffled(self, options: Sequence[Choice]) -> list[Choice]:
        return [options[int(i)] for i in np.argsort(self._random(len(options)), kind="stable")]


@dataclass(frozen=True)
class BirdAttributes:
    """What is true of one generated bird. ``colours``: part -> colour, for every part of ``PARTS``."""

    colours: dict[str, str]
    size: str
    bill_length: str
    bill_shape: str
    bill_colour: str
    tail: str
    pose: str
    background: str
    facing: str


SIZES = ("small", "medium", "large")
BILL_LENGTHS = ("short", "medium", "long")
BILL_SHAPES = ("pointed", "cone", "hooked", "curved", "flat")
BILL_COLOURS = ("black", "grey", "orange", "yellow")
TAILS = ("short", "long", "forked", "fanned")
BACKGROUNDS = {  # pose -> where it is seen
    "perched": ("leaves", "sky", "blossom"),
    "standing": ("grass", "sand", "snow"),
    "flying": ("sky", "clouds", "dusk"),
    "swimming": ("lake", "sea"),
}

# --- attributes -> caption -------------------------------------------------------------------------------------------

_SPELLINGS = {"grey": ("grey", "gray"), "purple": ("purple", "purple", "violet")}
_STRENGTHENED = {
    **dict.fromkeys(("red", "orange", "yellow", "green", "blue", "purple"), ("bright", "vivid", "bright")),
    "black": ("jet", "deep"),
    "white": ("pure",),
    "brown": ("dark", "deep"),
}
_NOUNS = {  # (noun, takes "a" and "is")
    "body": (("body", True), ("body", True), ("plumage", False), ("feathers", False)),
    "wing": (("wings", False), ("wings", False), ("wing feathers", False)),
    "belly": (("belly", True), ("breast", True), ("chest", True), ("underside", True), ("abdomen", True)),
    "crown": (("crown", True), ("crown", True), ("cap", True)),
}
_SIZE_WORDS = {"small": ("small", "little", "tiny"), "medium": ("medium sized",), "large": ("large", "big")}
_SHAPE_WORDS = {
    "pointed": ("pointed", "sharp", "pointy"),
    "cone": ("cone shaped", "conical", "thick"),
    "hooked": ("hooked",),
    "curved": ("curved", "downward curved"),
    "flat": ("flat", "broad"),
}
_POSE_WORDS = {
    "perched": ("perched on a branch", "sitting on a branch", "on a branch", "resting on a twig"),
    "standing": ("standing on the {place}", "on the {place}", "walking on the {place}"),
    "flying": ("flying {place}", "in flight {place}", "with spread wings {place}"),
    "swimming": ("swimming on {place}", "floating on {place}", "on the water"),
}
_PLACE_WORDS = {
    "grass": ("grass",),
    "sand": ("sand", "beach"),
    "snow": ("snow",),
    "sky": ("in the sky", "in the air"),
    "clouds": ("among clouds", "under the clouds"),
    "dusk": ("at dusk", "in the evening sky"),
    "lake": ("a lake", "the lake"),
    "sea": ("the sea", "the waves"),
}


def write_captions(bird: BirdAttributes, dice: Dice, count: int) -> list[tuple[str, dict[str, str]]]:
    """``count`` different captions, each with the colours that it names (part -> colour)."""
    captions: dict[str, dict[str, str]] = {}
    while len(captions) < count:
        text, named = _write_caption(bird, dice)
        if len(text.split()) <= MOST_WORDS:
            captions.setdefault(text, named)
    return list(captions.items())


def _write_caption(bird: BirdAttributes, dice: Dice) -> tuple[str, dict[str, str]]:
    number = dice.pick((1, 2, 2, 2, 3, 3, 3, 4))
    parts = dice.shuffled(PARTS)[:number]
    text = dice.pick(_TEMPLATES)(bird, parts, dice)
    text += dice.pick(("", "", "", "."))
    return text, {part: bird.colours[part] for part in parts}


def _listed(bird: BirdAttributes, parts: list[str], dice: Dice) -> str:
    """This small yellow bird has grey wings, a red crown and a short bill."""
    determiner = dice.pick(("this", "this", "the", "a"))
    subject = [dice.pick(_SIZE_WORDS[bird.size])] if dice.chance(0.4) else []
    if "body" in parts and (len(parts) == 1 or dice.chance(0.6)):
        parts = [part for part in parts if part != "body"]
        subject.append(_colour(bird.colours["body"], dice))
    verb = dice.pick(("with", "that has")) if determiner == "a" else dice.pick(("has", "has", "with"))
    items = [_item(part, bird, dice) for part in parts] + _extras(bird, dice, at_least=0 if parts else 1)
    subject_words = " ".join([*subject, "bird"])
    subject_words = _with_article(subject_words) if determiner == "a" else f"{determiner} {subject_words}"
    return f"{subject_words} {verb} {_joined(items)}"


def _is_body(bird: BirdAttributes, parts: list[str], dice: Dice) -> str:
    """This bird is small and yellow in color, with grey wings."""
    if "body" not in parts:
        return _listed(bird, parts, dice)
    colour = _colour(bird.colours["body"], dice)
    text = dice.pick(("this bird is", "the bird is", "this is a bird that is", "it is"))
    text += f" {dice.pick(_SIZE_WORDS[bird.size])} and {colour}" if dice.chance(0.25) else f" {colour}"
    text += dice.pick((" in color", " overall", " all over", "", "", ""))
    items = [_item(part, bird, dice) for part in parts if part != "body"] + _extras(bird, dice)
    return f"{text} {dice.pick(('with', 'and has'))} {_joined(items)}" if items else text


def _parts_of(bird: BirdAttributes, parts: list[str], dice: Dice) -> str:
    """The wings of this bird are grey and its belly is yellow."""
    clauses = [_clause(part, bird, dice) for part in parts]
    clauses = [
        clauses[0].replace("{noun}", "the {noun} of this bird"),
        *(c.replace("{noun}", "its {noun}") for c in clauses[1:]),
    ]
    nouns = [_noun(part, dice) for part in parts]
    text = _joined([_fill(clause, noun, plural) for clause, (noun, plural) in zip(clauses, nouns, strict=True)])
    return f"{text}, with {_bill(bird, dice)}" if dice.chance(0.3) else text


def _whose(bird: BirdAttributes, parts: list[str], dice: Dice) -> str:
    """A small bird whose belly is yellow and whose wings are grey."""
    subject = f"{dice.pick(_SIZE_WORDS[bird.size])} bird" if dice.chance(0.4) else "bird"
    clauses = [_fill(_clause(part, bird, dice), *_noun(part, dice)) for part in parts]
    text = f"{_with_article(subject)} whose " + _joined([clauses[0], *(f"whose {clause}" for clause in clauses[1:])])
    return f"{text}, {_pose(bird, dice)}" if dice.chance(0.3) else text


def _colour_on(bird: BirdAttributes, parts: list[str], dice: Dice) -> str:
    """This bird has yellow on its belly and red on its crown."""
    subject = f"{dice.pick(_SIZE_WORDS[bird.size])} bird" if dice.chance(0.4) else "bird"
    spots = [f"{_colour(bird.colours[part], dice)} on its {_noun(part, dice)[0]}" for part in parts]
    return f"this {subject} has {_joined([*spots, *_extras(bird, dice)])}"


def _seen_somewhere(bird: BirdAttributes, parts: list[str], dice: Dice) -> str:
    """A red bird perched on a branch with a yellow breast."""
    subject = f"{dice.pick(_SIZE_WORDS[bird.size])} " if dice.chance(0.3) else ""
    if "body" in parts:
        subject += f"{_colour(bird.colours['body'], dice)} "
    items = [_item(part, bird, dice) for part in parts if part != "body"]
    text = f"{_with_article(subject + 'bird')} {_pose(bird, dice)}"
    return f"{text}, with {_joined(items)}" if items else text


_TEMPLATES: tuple[Callable[[BirdAttributes, list[str], Dice], str], ...] = (
    _listed, _listed, _listed, _listed, _listed, _is_body, _is_body, _parts_of, _whose, _colour_on, _seen_somewhere,
)  # fmt: skip


def _colour(colour: str, dice: Dice) -> str:
    word = dice.pick(_SPELLINGS.get(colour, (colour,)))
    return f"{dice.pick(_STRENGTHENED[colour])} {word}" if colour in _STRENGTHENED and dice.chance(0.25) else word


def _noun(part: str, dice: Dice) -> tuple[str, bool]:
    """A noun for the part, and whether its verb is plural."""
    noun, _ = dice.pick(_NOUNS[part])
    return noun, noun.endswith("s")


def _item(part: str, bird: BirdAttributes, dice: Dice) -> str:
    noun, counted = dice.pick(_NOUNS[part])
    colour = _colour(bird.colours[part], dice)
    if dice.chance(0.12):
        verb = "are" if noun.endswith("s") else "is"
        return f"{_with_article(noun) if counted else noun} that {verb} {colour}"
    return _with_article(f"{colour} {noun}") if counted else f"{colour} {noun}"


def _clause(part: str, bird: BirdAttributes, dice: Dice) -> str:
    return "{noun} {verb} " + _colour(bird.colours[part], dice)


def _fill(clause: str, noun: str, plural: bool) -> str:
    return clause.replace("{noun}", noun).replace("{verb}", "are" if plural else "is")


def _extras(bird: BirdAttributes, dice: Dice, at_least: int = 0) -> list[str]:
    """Bill and tail, each now and then."""
    extras = []
    if dice.chance(0.4) or at_least:
        extras.append(_bill(bird, dice))
    if dice.chance(0.12):
        extras.append(f"a {bird.tail} tail")
    return extras


def _bill(bird: BirdAttributes, dice: Dice) -> str:
    words = [bird.bill_length] if bird.bill_length != "medium" and dice.chance(0.6) else []
    if dice.chance(0.5):
        words.append(dice.pick(_SHAPE_WORDS[bird.bill_shape]))
    if not words or dice.chance(0.25):
        words.append(dice.pick(_SPELLINGS.get(bird.bill_colour, (bird.bill_colour,))))
    return _with_article(" ".join([*words, dice.pick(("bill", "beak"))]))


def _pose(bird: BirdAttributes, dice: Dice) -> str:
    phrase = dice.pick(_POSE_WORDS[bird.pose])
    return phrase.format(place=dice.pick(_PLACE_WORDS.get(bird.background, ("",))))


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _joined(items: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))


# --- caption -> colours ----------------------------------------------------------------------------------------------


def _table(**words: str) -> dict[str, str]:
    return {word: meaning for meaning, listed in words.items() for word in listed.split()}


_COLOUR_OF = _table(
    red="red crimson scarlet", orange="orange", yellow="yellow golden gold", green="green", blue="blue navy",
    purple="purple violet", brown="brown", black="black", white="white", grey="grey gray",
)  # fmt: skip
_NOUN_OF = _table(
    body="bird birds body bodied plumage feather feathers back backed upperparts",
    wing="wing wings winged",
    belly="belly bellies bellied breast breasted chest chested underside underbelly underparts abdomen stomach tummy",
    crown="crown crowned cap capped head headed forehead crest crested",
    # named so that their colours are not taken for those of a part
    other="bill billed beak beaked eye eyes eyed eyering eyebrow eyebrows leg legs foot feet tail tailed throat "
    "throated face cheek cheeks neck nape bar bars wingbar wingbars tip tips edge edges spot spots stripe stripes "
    "patch mask",
)  # fmt: skip
_ADJECTIVES = set(
    _table(
        degree="a an the its mostly mainly all very quite overall bright brightly vivid pure jet deep dark light pale",
        colour="color colour colored coloured solid beautiful pretty",
        form="small little tiny medium sized large big short long pointed pointy sharp conical cone shaped thick "
        "hooked curved downward flat broad round fluffy spread",
    )
)
_ARTICLES = {"a", "an", "the", "its"}
_COPULAS = {"is", "are", "was", "were", "colored", "coloured"}
_CLAUSE_STARTS = {"with", "has", "have", "and", "but", "whose", "while", ",", ".", ";"} | _COPULAS


def named_colours(caption: str) -> dict[str, str]:
    """The colours that a caption names: part -> colour, both as in ``PARTS`` and ``COLOURS``.

    The inverse of :func:`write_captions`, also meant for captions that a person types. A colour counts when it stands
    before a part ("yellow and black wings": the first), after it ("wings that are grey") or "on" it; that of the whole
    bird is its body's, that of the head its crown's. Colours of bills, eyes, tails and branches are passed over.
    """
    caption = re.sub(r"\bit's\b", "it is", caption.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    caption = re.sub(r"\w+'s\b", "its", caption).replace(":", " is ")
    tokens = re.findall(r"[a-z]+|[,.;]", caption)
    named: dict[str, str] = {}
    for place, token in enumerate(tokens):
        if token not in _COLOUR_OF:
            continue
        for part in _subjects(tokens, place) or _described(tokens, place) or _located(tokens, place):
            if part in PARTS:
                named.setdefault(part, _COLOUR_OF[token])
    return {part: named[part] for part in PARTS if part in named}


def _subjects(tokens: list[str], place: int) -> list[str]:
    """What the colour is said of by a verb before it: "the wings of this bird are bright GREY"."""
    following = place + 1
    while following < len(tokens) and tokens[following] in _ADJECTIVES - _ARTICLES:
        following += 1
    if following < len(tokens) and tokens[following] in _NOUN_OF:
        return []  # "this is a small RED bird"
    verb = place - 1
    while verb >= 0 and (tokens[verb] in _ADJECTIVES - {"colored", "coloured"} or tokens[verb] in ("and", ",")):
        verb -= 1
    if verb < 0 or tokens[verb] not in _COPULAS:
        return []
    start = verb
    while start > 0 and tokens[start - 1] not in _CLAUSE_STARTS:
        start -= 1
    clause = tokens[start:verb]
    subjects = [_NOUN_OF[word] for word in clause if word in _NOUN_OF][:1]  # "the wings of this bird": the wings
    if not subjects:
        return ["body"] if "it" in clause else []
    before = start - 2  # "its wings and crown are RED"
    if tokens[verb] in ("are", "were") and start >= 2 and tokens[start - 1] == "and" and tokens[before] in _NOUN_OF:
        subjects.append(_NOUN_OF[tokens[before]])
    return subjects


def _described(tokens: list[str], place: int) -> list[str]:
    """The noun that the colour stands before: "YELLOW belly and breast", "YELLOW and black wings"."""
    position = place + 1
    while position < len(tokens) and (
        tokens[position] in _ADJECTIVES - _ARTICLES
        or tokens[position] in _COLOUR_OF
        or (tokens[position] in ("and", ",") and _colour_follows(tokens, position))
    ):
        position += 1
    parts: list[str] = []
    while position < len(tokens) and tokens[position] in _NOUN_OF:
        part = _NOUN_OF[tokens[position]]
        while position + 1 < len(tokens) and tokens[position + 1] in _NOUN_OF:  # "wing feathers", "wing bars"
            position += 1
            part = "other" if _NOUN_OF[tokens[position]] == "other" else part
        position += 1
        if parts and tokens[position : position + 1] and tokens[position] in _COPULAS | {"that", "which"}:
            break  # "a YELLOW belly and wings that are grey"
        parts.append(part)
        if position < len(tokens) and tokens[position] in ("and", ","):
            position += 1
    return parts


def _colour_follows(tokens: list[str], position: int) -> bool:
    position += 1
    while position < len(tokens) and tokens[position] in _ADJECTIVES - _ARTICLES:
        position += 1
    return position < len(tokens) and tokens[position] in _COLOUR_OF


def _located(tokens: list[str], place: int) -> list[str]:
    """Where the colour is said to be: "YELLOW on its belly and crown"."""
    position = place + 1
    if position >= len(tokens) or tokens[position] not in ("on", "over", "along"):
        return []
    parts: list[str] = []
    for token in tokens[position + 1 :]:
        if token in _NOUN_OF:
            parts.append(_NOUN_OF[token])
        elif token not in _ARTICLES and token not in ("of", "top", "both", "and"):
            break
    # "on the top of its head": one noun; "on its wing feathers": the wings
    return parts[:1] if parts[1:] == ["body"] else parts
