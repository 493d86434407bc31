"""``attngan retrieve``: images by captions, captions by images; tables, and a page that shows them."""

import csv
import json
from pathlib import Path
from typing import Any

from attngan.commands.retrieve_page import write_page
from attngan.data.text_files import read_captions
from attngan.files import replacing, write_whole
from attngan.retrieval.retrieve import Ranking, Retrieval
from attngan.retrieval.retrieve import retrieve as search
from attngan.terminal import say


def retrieve(
    checkpoint: Path,
    captions: list[str] | None = None,
    file: Path | None = None,
    images: Path | None = None,
    data: Path | None = None,
    source: str = "cub",
    split: str = "test",
    top: int = 10,
    shown: int = 24,
    out: Path = Path("retrieval"),
    image_size: int | None = None,
    skip_bad: bool = False,
    image_column: str | None = None,
    caption_column: str | None = None,
    batch_size: int = 64,
    device: str | None = None,
    progress: bool = True,
) -> int:
    """Finds the images that captions describe, and the captions that describe images.

    A trained DAMSM places both in one space; what is nearest by cosine is found. OUT gets text_to_image.csv and
    image_to_text.csv with all that was found, retrieval.json, and index.html, which shows some of it. Of a data set's
    own captions, recall at 1, 5 and 10 is told: how often what belongs together is among the first so many.

    Args:
        checkpoint: Checkpoint of `attngan pretrain`, or of `attngan train`, which holds its DAMSM.
        captions: What to look for; by default all captions of the data set.
        file: Text file with one caption a line, beside those.
        images: Folder of images to search (or give --data).
        data: Root of a data set to search.
        source: Layout of the data set: cub, coco, folder ... as in training.
        split: Which of its images: test, validation or train.
        top: How many are found for each.
        shown: Queries of each kind that the page shows, spread over all.
        out: Folder for the results.
        image_size: Side in pixels that images are prepared at; by default what the DAMSM's image network takes. For one
            that was trained on images of 64 px, 64.
        skip_bad: Leave out images that cannot be used (missing, damaged) instead of stopping.
        image_column: For a folder with a table: the column with the images' names, as in training.
        caption_column: Column of such a table with the captions.
        batch_size: Images looked at together.
        device: cpu, cuda ...; by default cuda where there is one.
        progress: Show a progress bar.

    Returns:
        The exit code: 0, or 1 when a given caption could not be read.
    """
    given = [*(captions or []), *(read_captions(file) if file is not None else [])]
    found = search(
        checkpoint,
        given,
        images=images,
        data=data,
        source=source,
        split=split,
        top=top,
        image_size=image_size,
        skip_bad=skip_bad,
        image_column=image_column,
        caption_column=caption_column,
        batch_size=batch_size,
        device=device,
        progress=progress,
    )
    for caption in found.unread[:10]:
        say(f"the vocabulary knows no word of {caption!r}: not looked for", error=True)
    if len(found.unread) > 10:
        say(f"and so for {len(found.unread) - 10:,} more captions", error=True)
    _write_table(found.text_to_image, out / "text_to_image.csv", ("caption", "image"))
    if found.image_to_text is not None:
        _write_table(found.image_to_text, out / "image_to_text.csv", ("image", "caption"))
    write_whole(out / "retrieval.json", json.dumps(_summary(found, checkpoint), indent=1))
    page = write_page(out / "index.html", found, str(checkpoint), shown)
    _tell(found, bool(given))
    say(f"written: {page}, and tables with all that was found")
    return 1 if given and found.unread else 0


def _write_table(ranking: Ranking, path: Path, titles: tuple[str, str]) -> None:
    """A row for each that was found: the query, its rank from 1, what it is, the cosine, and whether it is right."""
    known = ranking.right is not None
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as table:
        rows = csv.writer(table)
        rows.writerow([titles[0], "rank", titles[1], "cosine", *(["right"] if known else [])])
        for number, query in enumerate(ranking.queries):
            for rank, one in enumerate(ranking.of(number), start=1):
                rows.writerow([query, rank, one.name, f"{one.cosine:.6f}", *([int(bool(one.right))] if known else [])])


def _summary(found: Retrieval, checkpoint: Path) -> dict[str, Any]:
    return {
        "checkpoint": str(checkpoint),
        "sha256": found.sha256,
        "searched": str(found.collection.root),
        "images": len(found.text_to_image.names),
        "captions": len(found.text_to_image),
        "captions_not_read": list(found.unread),
        "image_size": found.image_size,
        "score": "cosine of the image encoder's global feature and the sentence feature",
        "recall_percent": found.recalls,
    }


def _tell(found: Retrieval, given: bool) -> None:
    """Recalls; of captions that were given, the first images of each."""
    for way in ("text_to_image", "image_to_text"):
        recalls = {name.rpartition("_r")[2]: value for name, value in found.recalls.items() if name.startswith(way)}
        if recalls:
            told = ", ".join(f"R@{k} {value:.1f} %" for k, value in recalls.items())
            say(f"{way.replace('_', ' ')}: {told}")
    if given:
        for number in range(min(len(found.text_to_image), 10)):
            images = ", ".join(f"{one.name} ({one.cosine:.2f})" for one in found.text_to_image.of(number)[:3])
            say(f"{found.text_to_image.queries[number]}: {images}")
