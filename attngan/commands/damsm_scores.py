"""The scores of a DAMSM on the test split, as people read them."""

import re
from collections.abc import Mapping

from attngan.metrics.declaration import ScoreKind
from attngan.terminal import console, say

#: What is logged of a split, without its name before the stroke: to what it is.
KINDS = {
    "loss": ScoreKind("matching loss", "smaller"),
    "words_to_caption": ScoreKind("loss of an image's caption, by words", "smaller"),
    "words_to_image": ScoreKind("loss of a caption's image, by words", "smaller"),
    "sentence_to_caption": ScoreKind("loss of an image's caption, by sentence", "smaller"),
    "sentence_to_image": ScoreKind("loss of a caption's image, by sentence", "smaller"),
    "r_precision_100": ScoreKind("R-precision of the real images", "larger", "%"),
}


def title_of(name: str) -> str:
    """Label, arrow and unit of what is logged as ``test/image_to_text_r5``; the name itself where it has none."""
    short = name.partition("/")[2]
    if found := re.fullmatch(r"(image|text)_to_(image|text)_r(\d+)", short):
        asked, wanted = ("image", "caption") if found[1] == "image" else ("caption", "image")
        return ScoreKind(f"{asked} finds its {wanted}, recall at {found[3]}", "larger", "%").title
    return KINDS[short].title if short in KINDS else name


def print_scores(scores: Mapping[str, float]) -> None:
    """A table of the scores; an error stands beside its score.

    Args:
        scores: By the names that they are logged under.
    """
    from rich.table import Table

    if not scores:
        say("nothing was scored")
        return
    table = Table("score", "value", "name")
    for name, value in scores.items():
        if not name.endswith("_std"):
            error = scores.get(f"{name}_std")
            table.add_row(title_of(name), f"{value:.2f}" + (f" ± {error:.2f}" if error is not None else ""), name)
    console().print(table)
