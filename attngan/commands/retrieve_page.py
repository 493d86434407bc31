"""The page of a retrieval: captions with the images that were found, images with the captions that were found."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from attngan.files import write_whole
from attngan.pages.page import Answer, Answered, Captioned, Cell, Figure, Page, Row, Section, Table, photo
from attngan.retrieval.retrieve import Found, Ranking, Retrieval

#: Side of an image in pixels; images of a caption and captions of an image that are shown at most.
SIDE, IMAGES, CAPTIONS = 160, 7, 5


def write_page(path: Path, found: Retrieval, checkpoint: str, shown: int) -> Path:
    """Writes the page, which needs no other file.

    Args:
        path: The HTML file.
        found: What was found.
        checkpoint: By whose encoders, for the page's lead.
        shown: Queries of each kind that are shown, spread over all.

    Returns:
        ``path``.
    """
    captions = _spread(len(found.text_to_image), shown)
    images = _spread(len(found.image_to_text), shown) if found.image_to_text is not None else []
    pictures = _pictures(found, captions, images)
    sections = []
    if found.recalls:
        sections.append(
            Section(
                "Recall",
                "How often what belongs together is among the first so many, in percent. Of an image any of its "
                "captions counts. Guessing would find the share beneath.",
                table=_recall_table(found),
            )
        )
    sections.append(
        Section(
            "Images for captions",
            _note(found.text_to_image, captions, "nearest first, with their cosines"),
            captioned=[_of_caption(found.text_to_image, number, pictures) for number in captions],
        )
    )
    if found.image_to_text is not None:
        sections.append(
            Section(
                "Captions for images",
                _note(found.image_to_text, images, "nearest first, with their cosines"),
                answered=[_of_image(found.image_to_text, number, pictures) for number in images],
            )
        )
    counted = f"{len(found.text_to_image.names):,} images of {found.collection.root}"
    lead = f"{len(found.text_to_image):,} captions and {counted}, by the encoders of {checkpoint}."
    write_whole(path, Page("Retrieval", lead, sections).html())
    return path


def _spread(count: int, shown: int) -> list[int]:
    """So many positions of ``count``, evenly."""
    shown = min(count, shown)
    return [position * count // shown for position in range(shown)]


def _note(ranking: Ranking, shown: Sequence[int], what: str) -> str:
    some = "" if len(shown) == len(ranking) else f" {len(shown)} of {len(ranking):,} queries, spread over all."
    known = " Those that belong to the query are marked." if ranking.right is not None else ""
    return f"What was found, {what}.{some}{known}"


def _pictures(found: Retrieval, captions: Sequence[int], images: Sequence[int]) -> dict[int, Image.Image]:
    wanted = [one.position for number in captions for one in found.text_to_image.of(number)[:IMAGES]]
    if found.image_to_text is not None:
        wanted += [found.image_to_text.query_positions[number] for number in images]
    return found.collection.thumbnails(wanted, SIDE)


def _of_caption(ranking: Ranking, number: int, pictures: dict[int, Image.Image]) -> Captioned:
    figures = [_figure(one, pictures) for one in ranking.of(number)[:IMAGES]]
    return Captioned(ranking.queries[number], figures)


def _figure(one: Found, pictures: dict[int, Image.Image]) -> Figure:
    mark = " ✓" if one.right else ""
    name = one.name.rpartition("/")[2]
    return photo(pictures[one.position], f"{one.cosine:.2f}{mark} {name}")


def _of_image(ranking: Ranking, number: int, pictures: dict[int, Image.Image]) -> Answered:
    figure = photo(pictures[ranking.query_positions[number]], ranking.queries[number].rpartition("/")[2])
    found = ranking.of(number)[:CAPTIONS]
    return Answered(figure, [Answer(one.name, f"{one.cosine:.2f}", bool(one.right)) for one in found])


def _recall_table(found: Retrieval) -> Table:
    """Recalls, and what guessing would reach."""
    captions, images = len(found.text_to_image), len(found.text_to_image.names)
    each = captions / images
    rows = []
    for way, label in (("text_to_image", "captions to images"), ("image_to_text", "images to captions")):
        cells = []
        for k in (1, 5, 10):
            guessed = k / images if way == "text_to_image" else 1 - (1 - k / captions) ** each
            value = found.recalls[f"{way}_r{k}"]
            cells.append(Cell(f"{value:.1f}", f"guessing: {100 * min(1.0, guessed):.2g}", main=k == 1))
        rows.append(Row(label, cells))
    return Table(("", "R@1", "R@5", "R@10"), rows)
