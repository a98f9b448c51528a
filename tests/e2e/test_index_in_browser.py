"""The index of a session in a real browser: narrow, dark, accessible, filtered, without script."""

from __future__ import annotations

from dataclasses import replace

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


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_whatever_the_names_each_result_is_in_the_window_and_over_no_other(
    chromium, tmp_path, width
):
    name = "_".join(["a_name_that_goes_on"] * 5)
    path = "/".join(["a-folder-with-a-long-name"] * 9)
    runs = [replace(run, scenario=name, reason=run.reason and path) for run in ATLAS.runs]
    file = tmp_path / "index.html"
    file.write_text(index_page(replace(ATLAS, runs=tuple(runs))))
    with opened(chromium, file, width=width) as page:
        found = page.locator(".matrix th[scope=row], .matrix td, .matrix .reason").all()
        boxes = [box for one in found if (box := one.bounding_box())]
        assert len(boxes) == len(found) > 3
        for box in boxes:
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        # What a cell holds is in it.
        for one in found:
            assert one.evaluate("(cell) => cell.scrollWidth <= cell.clientWidth")


def test_narrow_page_names_the_envoy_of_each_result(chromium, index):
    label = "(cell) => getComputedStyle(cell, '::before').content"
    for width, is_named in ((WIDE, False), (NARROW, True)):
        with opened(chromium, index, width=width) as page:
            cells = page.locator(".matrix td").all()
            assert [one.get_attribute("data-envoy") in one.evaluate(label) for one in cells] == (
                [is_named] * len(cells)
            )
            assert page.locator(".matrix thead").is_visible() is not is_named
            page.get_by_label("Envoy").select_option("1.39.3")
            assert page.locator(".matrix td:visible").count() == len(cells) // 2


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
