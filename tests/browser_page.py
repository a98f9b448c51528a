"""A page opened in a real browser, for tests and benches that look at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Widths of a desk and of a telephone, in pixels.
WIDE, NARROW = 1280, 400


@contextmanager
def browser() -> Iterator[Browser]:
    """Start the distribution's Chromium without a window, and end it."""
    from playwright.sync_api import sync_playwright

    # Root may not have its sandbox; what is opened is our own file.
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def opened(
    started: Browser, file: Path, *, width: int = WIDE, scheme: str = "light"
) -> Iterator[Page]:
    """Open a page from its file.

    Args:
        started: the browser.
        file: the page.
        width: of the window, in pixels.
        scheme: `light` or `dark`.

    Raises:
        AssertionError: the page asked for something from elsewhere, or its script failed.
    """
    context = started.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    wrong: list[str] = []
    page.on("request", lambda request: wrong.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.goto(file.as_uri())
    if page.locator("#data").count():
        page.wait_for_selector("html[data-ready=yes]")
    yield page
    assert [one for one in wrong if one != file.as_uri()] == []
    context.close()
