"""A real browser, for pages that people see: Chromium through its driver."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

#: Without these Chromium looks for its maker's hosts at every start.
FLAGS = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
         "disable-component-update", "disable-sync")  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A `playwright.sync_api.Browser`."""
    from playwright import sync_api as playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no browser: neither chromium nor google-chrome is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=[f"--{flag}" for flag in FLAGS])
        yield browser
        browser.close()
