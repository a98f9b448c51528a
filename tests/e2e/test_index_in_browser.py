"""The index of a session in a real browser: narrow, dark, accessible, filtered, without script."""

from __future__ import annotations

import pytest

from envoyassert.atlas.page import index_page
from tests.browser_page import NARROW, WIDE, opened
from tests.unit.test_atlas import ATLAS

pytestmark = pytest.mark.browser


@pytest.fixture
def index(tmp_path):
    file = tmp_path / "index.html"
    file.write_text(index_page(ATLAS))
    return file


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_index_is_accessible_and_no_wider_than_the_window(chromium, index, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    with opened(chromium, index, width=width, scheme=scheme) as page:
        found = Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_filters_leave_what_is_asked_for(chromium, index):
    with opened(chromium, index) as page:
        rows = page.locator(".matrix tbody tr:visible")
        assert rows.count() == 2
        page.get_by_label("State").select_option("failed")
        assert rows.count() == 1
        page.get_by_label("State").select_option("")
        page.get_by_label("Search").fill("known x#1")
        assert rows.count() == 1
        page.get_by_label("Search").fill("")
        page.get_by_label("Envoy").select_option("1.39.3")
        assert page.locator(".matrix thead th:visible").count() == 2


def test_index_without_its_script_shows_everything(chromium, index):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(index.as_uri())
    assert page.locator(".matrix tbody tr:visible").count() == 2
    assert not page.locator("#filters").is_visible()
    context.close()
