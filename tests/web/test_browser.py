"""The page of `attngan serve` in Chromium: what a visitor does, and what appears."""

import base64
import io
import shutil

import numpy as np
import pytest
from PIL import Image
from playwright import sync_api as playwright

from attngan.checkpoint import file_sha256
from tests.tiny import CAPTIONS
from tests.web.serving import served

PATIENCE = 20_000  # milliseconds


@pytest.fixture(scope="module")
def url(checkpoint):
    with served(checkpoint) as (_, url):
        yield url


@pytest.fixture
def open_page(browser, url):
    """Opens the page; afterwards nothing may have gone wrong in it, and nothing been asked for elsewhere."""
    contexts, wrong, elsewhere = [], [], []

    def open_page(fragment="", url=url, **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request", lambda asked: elsewhere.append(asked.url) if not asked.url.startswith((url, "data:")) else None
        )
        page.goto(url + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong
    assert not elsewhere


def draw(page, caption, count="2"):
    page.fill("#draw [name=caption]", caption)
    page.fill("#draw [name=count]", count)
    page.click("#draw button.main")


def shown(image):
    """The PNG that an image of the page shows."""
    return Image.open(io.BytesIO(base64.b64decode(image.get_attribute("src").partition(",")[2])))


def overlay(page, number=0):
    """Opacity of what lies over a picture, place by place; None where nothing is shown there."""
    canvas = page.locator("#drawn .attending canvas").nth(number)
    if not canvas.count():
        return None
    pixels = canvas.evaluate("c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)")
    return np.array(pixels).reshape(-1, 4)[:, 3]


def test_a_caption_becomes_pictures(open_page, checkpoint):
    page = open_page()
    draw(page, CAPTIONS[0], "3")
    pictures = page.locator("#drawn figure img")
    pictures.nth(2).wait_for()
    assert pictures.count() == 3
    assert pictures.first.evaluate("i => i.complete && i.naturalWidth") == 16
    with page.expect_download() as download:
        page.locator("#drawn figure a").nth(1).click()
    assert download.value.suggested_filename.startswith("a-small-red-bird-with-a-yellow-belly_0_001")
    facts = Image.open(download.value.path()).text
    assert facts["caption"] == CAPTIONS[0]
    assert (facts["seed"], facts["number"]) == ("0", "1")
    assert facts["checkpoint"] == file_sha256(checkpoint)


def test_a_bad_caption_gives_a_message(open_page):
    page = open_page()
    message = page.get_by_role("alert").first
    draw(page, "xylophone")
    message.wait_for()
    assert "no word of 'xylophone' is known" in message.inner_text()
    assert page.locator("#drawn figure").count() == 0
    draw(page, "")
    playwright.expect(message).to_contain_text("there is no caption")
    draw(page, CAPTIONS[0])
    page.locator("#drawn figure img").first.wait_for()
    assert message.is_hidden()


def test_unknown_words_are_named(open_page):
    page = open_page()
    draw(page, "a small <b>xylophone</b> bird")  # and no markup comes of it
    page.locator("#drawn .remark").wait_for()
    assert page.locator("#drawn .remark").inner_text() == "unknown words: b, xylophone"
    assert page.locator("#drawn .words .unknown").all_inner_texts() == ["b", "xylophone", "b"]


def test_a_word_shows_where_it_acted(open_page):
    page = open_page()
    draw(page, CAPTIONS[0])
    page.locator("#drawn figure img").first.wait_for()
    assert overlay(page) is None
    words = page.locator("#drawn .words button")
    assert words.all_inner_texts() == CAPTIONS[0].split()
    words.nth(2).hover()
    first = overlay(page)
    assert first.min() < first.max()  # darker where the word has little weight
    assert "“red” has" in page.locator("#drawn .hint").inner_text()
    words.nth(3).hover()
    assert (overlay(page) != first).any()
    page.mouse.move(1, 1)
    assert overlay(page) is None
    words.nth(2).click()
    page.mouse.move(1, 1)
    assert (overlay(page) == first).all()  # it stays


def test_one_word_changed_keeps_the_noise(open_page):
    page = open_page()
    draw(page, "the black bird with the black crown")
    page.locator("#drawn .words button").nth(5).click()
    page.fill(".change input", "red")
    page.click(".change button")
    page.locator(".changed figure img").nth(1).wait_for()
    assert page.locator(".changed h4").inner_text() == "the black bird with the red crown"
    facts = shown(page.locator(".changed figure img").nth(1)).text
    before = shown(page.locator("#drawn > .result > .pictures img").nth(1)).text
    assert facts["caption"] == "the black bird with the red crown"
    assert {k: v for k, v in facts.items() if k != "caption"} == {k: v for k, v in before.items() if k != "caption"}
    # a word acts in the pictures beneath it alone
    page.locator(".changed .words button").nth(1).hover()
    assert page.locator(".changed .attending canvas").count() == 2
    page.locator("#drawn > .result > .words button").nth(1).hover()
    assert page.locator(".changed .attending").count() == 0
    assert page.locator("#drawn > .result > .pictures.attending canvas").count() == 2


def test_a_slider_goes_from_one_caption_to_another(open_page):
    page = open_page()
    page.fill("[name=first]", CAPTIONS[0])
    page.fill("[name=second]", CAPTIONS[3])
    page.click("#interpolate button.main")
    slider = page.locator("#interpolated input[type=range]")
    slider.wait_for()
    large = page.locator("#interpolated figure img")
    seen = []
    for step in ("0", "4", "8"):
        slider.fill(step)
        seen.append(np.asarray(shown(large)))
        assert shown(large).text["step"] == step
        assert f"{int(step) * 100 // 8} %" in page.locator("#interpolated figcaption").inner_text()
    assert (seen[0] != seen[1]).any()
    assert (seen[1] != seen[2]).any()
    page.locator(".film img").nth(3).click()
    assert shown(large).text["step"] == slider.input_value() == "3"


def test_a_phone_needs_no_sideways_scrolling(open_page):
    page = open_page(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    draw(page, " ".join(CAPTIONS))
    page.locator("#drawn figure img").first.wait_for()
    page.fill("[name=first]", CAPTIONS[0])
    page.fill("[name=second]", CAPTIONS[1])
    page.click("#interpolate button.main")
    page.locator("#interpolated input[type=range]").wait_for()
    page.locator("#drawn .words button").nth(2).tap()
    assert overlay(page) is not None
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for button in page.locator("button.main").all():
        assert button.bounding_box()["height"] >= 38  # a finger's width


def test_the_address_says_what_is_shown(open_page):
    page = open_page()
    page.fill("#draw [name=seed]", "5")
    draw(page, CAPTIONS[1], "1")
    page.locator("#drawn figure img").wait_for()
    fragment = page.url.partition("#")[2]
    again = open_page(f"#{fragment}")
    again.locator("#drawn figure img").wait_for()
    facts = shown(again.locator("#drawn figure img")).text
    assert (facts["caption"], facts["seed"]) == (CAPTIONS[1], "5")


def test_several_generators_side_by_side(open_page, checkpoint, tmp_path):
    other = tmp_path / "other.ckpt"
    shutil.copy(checkpoint, other)
    with served(checkpoint, other) as (_, url):
        page = open_page(url=url)
        draw(page, CAPTIONS[0], "1")
        page.locator("#drawn figure img").nth(1).wait_for()
        assert page.locator("#drawn .result h3").count() == 2
        boxes = [result.bounding_box() for result in page.locator("#drawn .result").all()]
        assert boxes[0]["y"] == boxes[1]["y"]
        assert boxes[0]["x"] < boxes[1]["x"]
        page.locator("[name=generator]").first.uncheck()
        page.click("#draw button.main")
        playwright.expect(page.locator("#drawn .result")).to_have_count(1)
        page.locator("#drawn figure img").wait_for()
        assert page.locator("#drawn .result h3").inner_text().startswith("other")
