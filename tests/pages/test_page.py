"""A page stands alone, escapes what is written into it, and suits a phone and the dark."""

import re

import pytest
import torch
from PIL import Image

from attngan.pages.page import (
    Badge,
    Cell,
    Fact,
    Page,
    Row,
    Section,
    Table,
    page_images,
    picture,
    pixels_figure,
    plot,
)

MARKUP = "<script>alert('&')</script>"


@pytest.fixture(scope="module")
def page():
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    sections = [
        Section(MARKUP, MARKUP, figures=[pixels_figure(image, MARKUP, MARKUP)], strips=[[pixels_figure(image, "")]]),
        Section("a", pictures=[picture(Image.new("RGB", (4, 4)), MARKUP), plot(lambda panels: None, panels=2)]),
        Section("b", table=Table([MARKUP, "value"], [Row(MARKUP, [Cell(MARKUP, MARKUP, main=True)], MARKUP)])),
        Section("c", facts=[Fact(MARKUP, MARKUP, bad=True)]),
    ]
    return Page(MARKUP, MARKUP, sections, Badge(MARKUP, good=False)).html()


def test_nothing_that_is_written_breaks_it(page):
    assert "<script" not in page
    # heading, window, lead, badge; section: title, note, caption, warning; picture; table: 5; fact: 2
    assert page.count("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;") == 4 + 4 + 1 + 5 + 2


def test_it_needs_no_other_file(page):
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in page
    images = page_images(page)
    assert [uri.partition(";")[0] for uri in images] == ["data:image/jpeg"] * 2 + ["data:image/png"] * 2


def test_it_suits_a_phone_and_the_dark(page):
    assert '<meta name="viewport" content="width=device-width' in page
    assert "prefers-color-scheme: dark" in page
    assert "max-width: 640px" in page
