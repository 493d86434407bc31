"""The scores of a finished pretraining, as people read them."""

from attngan.commands.damsm_scores import KINDS, print_scores, title_of
from attngan.losses.matching import MatchingLoss


def test_titles():
    assert title_of("test/image_to_text_r5") == "image finds its caption, recall at 5 ↑ (%)"
    assert title_of("test/text_to_image_r1") == "caption finds its image, recall at 1 ↑ (%)"
    assert title_of("test/r_precision_100") == "R-precision of the real images ↑ (%)"
    assert title_of("test/loss") == "matching loss ↓"
    assert set(MatchingLoss._fields) <= set(KINDS)
    assert title_of("test/new") == "test/new"


def test_the_table_fits_and_has_no_loader(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = [
        "loss",
        *MatchingLoss._fields,
        *(f"{way}_r{k}" for way in ("image_to_text", "text_to_image") for k in (1, 10)),
    ]
    scores = {f"test/{name}": 3.4000000953674316 for name in names}
    print_scores(scores | {"test/r_precision_100": 25.0, "test/r_precision_100_std": 1.25})
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "DataLoader" not in printed
    assert "3.40" in printed
    assert "3.4000" not in printed
    assert "25.00 ± 1.25" in printed
    assert all(f"test/{name}" in printed for name in names)


def test_nothing_scored(capsys):
    print_scores({})
    assert capsys.readouterr().out == "nothing was scored\n"
