"""What `attngan prepare` tells on the screen: a table of the splits, what the captions say, and every finding."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from attngan.data.findings import SHOWN
from attngan.terminal import console, printable


def print_report(report: dict[str, Any], folder: Path) -> None:
    """The report in short; all of it is in prepare_report.json.

    Args:
        report: What is written to prepare_report.json.
        folder: Where that file and the preview are.
    """
    with_captions = report["captions_per_image"] > 0
    screen = console()
    screen.print(_table(report, with_captions))
    for line in (*_held_out(report), *_texts(report, with_captions), _decoding(report)):
        screen.print(printable(line))
    lines = [*_findings(report), (f"{folder / 'prepare_report.json'}, {folder / 'prepare_preview.png'}", "")]
    lines += [("ready to train", "bold green")] if report["ok"] else []
    lines += [(f"not ready: {reason}", "bold red") for reason in report["reasons_to_fail"]]
    for line, style in lines:
        screen.print(Text(printable(line), style), soft_wrap=True)


def _table(report: dict[str, Any], with_captions: bool) -> Table:
    """A split a row."""
    table = Table(title=Text(printable(f"{report['source']} in {report['root']}")))
    of_captions = ("captions", "per image", "words", "longer than limit") if with_captions else ()
    for column in ("split", "images", "classes", *of_captions):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split, own in report["splits"].items():
        each, longer = own["captions_an_image"], own["captions_longer_than_limit"]
        row = [
            split,
            f"{own['images']:,}",
            f"{own['classes']:,}" if own["classes"] else "-",
            f"{own['captions']:,}",
            f"{each['fewest']}" if each["fewest"] == each["most"] else f"{each['fewest']} to {each['most']}",
            f"{own['words_a_caption']['mean']:.1f}, most {own['words_a_caption']['most']:,}",
            f"{longer['captions']:,} (of {longer['limit']})",
        ]
        table.add_row(*row[: len(table.columns)])
    return table


def _held_out(report: dict[str, Any]) -> Iterator[str]:
    held_out = report["held_out_for_validation"]
    if held_out["images"]:
        of_classes = f" of {held_out['classes']:,} classes" if held_out["classes"] else ""
        yield f"training holds out {held_out['images']:,} of its images{of_classes} to validate on"


def _texts(report: dict[str, Any], with_captions: bool) -> Iterator[str]:
    """Embeddings and vocabulary."""
    for split, shape in (report["text_embeddings"] or {}).items():
        yield f"embeddings of {split}: {shape[0]:,} images, {shape[1]} captions each, {shape[2]:,} dimensions"
    words = report["vocabulary"]
    share = words["unknown_share_of_test_words"]
    unknown = "" if share is None else f"; {share:.2%} of the words of the test captions are unknown"
    if with_captions:
        yield f"vocabulary: {words['size']:,} words ({words['tokenizer']}){unknown}"
    else:
        yield "images alone: no caption is read (captions_per_image 0)"


def _decoding(report: dict[str, Any]) -> str:
    speed = report["decoding"]
    if not speed["images"]:
        return "the caches are up to date: nothing was decoded"
    per_second = speed["images_per_second"]
    return f"decoded {speed['images']:,} images in {speed['seconds']:,.1f} s ({per_second:,.0f} a second)"


def _findings(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Counts by kind, with the first messages of each: lines, and how they look."""
    for title, kinds, style in (
        ("cannot be used", report["cannot_be_used"], "bold red"),
        ("noticed", report["noticed"], "yellow"),
    ):
        for kind, messages in kinds.items():
            yield f"{title}: {kind}: {len(messages):,}", style
            yield from ((f"  {message}", "") for message in messages[:SHOWN])
            if len(messages) > SHOWN:
                yield f"  and {len(messages) - SHOWN:,} more, all in the report", ""
