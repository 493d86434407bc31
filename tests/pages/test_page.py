"""A page stands alone, escapes what is written into it, and suits a phone and the dark."""

import re

import pytest
import torch
from PIL import Image

from attngan.pages.page import (
    Badge,
    Captioned,
    Cell,
    Fact,
    Page,
    Row,
    Section,
    Table,
    picture,
    pixels_figure,
    plot,
)
from tests.pages.images import page_images

MARKUP = "<script>alert('&')</script>"


@pytest.fixture(scope="module")
def page():
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    sections = [
        Section(MARKUP, MARKUP, figures=[pixels_figure(image, MARKUP, MARKUP)], strips=[[pixels_figure(image, "")]]),
        Section("a", pictures=[picture(Image.new("RGB", (4, 4)), MARKUP), plot(lambda panels: None, panels=2)]),
        Section("b", table=Table([MARKUP, "value"], [Row(MARKUP, [Cell(MARKUP, MARKUP, main=True)], MARKUP)])),
        Section("d", captioned=[Captioned(MARKUP, [pixels_figure(image, "")], MARKUP)]),
        Section("c", facts=[Fact(MARKUP, MARKUP, bad=True)]),
    ]
    return Page(MARKUP, MARKUP, sections, Badge(MARKUP, good=False)).html()


def test_nothing_that_is_written_breaks_it(page):
    assert "<script" not in page
    # heading, window, lead, badge; section: title, note, caption, warning; picture; table: 5; captioned: 2; fact: 2
    assert page.count("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;") == 4 + 4 + 1 + 5 + 2 + 2


def test_it_needs_no_other_file(page):
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in page
    images = page_images(page)
    kinds = ["jpeg", "jpeg", "png", "png", "jpeg"]
    assert [uri.partition(";")[0] for uri in images] == [f"data:image/{kind}" for kind in kinds]


def test_it_suits_a_phone_and_the_dark(page):
    assert '<meta name="viewport" content="width=device-width' in page
    assert "prefers-color-scheme: dark" in page
    assert "max-width: 640px" in page


def test_a_page_that_is_still_being_made_reads_itself_again(page):
    assert "refresh" not in page
    assert '<meta http-equiv="refresh" content="20">' in Page("a", "b", [], refresh=20).html()
