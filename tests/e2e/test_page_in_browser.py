"""The page of a run in a real browser: with keys and mouse, narrow, dark, accessible."""

from __future__ import annotations

import pytest

from tests import drawn
from tests.browser_page import NARROW, WIDE, opened

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pages")
    for name, text in drawn.pages().items():
        (directory / f"{name}.html").write_text(text)
    return directory


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", drawn.PAGES)
def test_page_has_no_violation_of_accessibility(chromium, pages, name, scheme):
    from axe_playwright_python.sync_playwright import Axe

    with opened(chromium, pages / f"{name}.html", scheme=scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


@pytest.mark.parametrize("name", drawn.PAGES)
def test_nothing_of_a_page_is_off_screen_on_a_telephone(chromium, pages, name):
    with opened(chromium, pages / f"{name}.html", width=NARROW) as page:
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        beyond = page.evaluate(
            """() => [...document.querySelectorAll("body *:not(.skip)")]
              .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
              .map((one) => one.outerHTML.slice(0, 120))"""
        )
        size = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert beyond == []
    assert size == [NARROW, NARROW]


@pytest.mark.parametrize("name", ["failed", "plan"])
def test_all_that_can_be_used_is_reached_by_the_tabulator(chromium, pages, name):
    with opened(chromium, pages / f"{name}.html") as page:
        wanted = page.evaluate(
            """() => {
              const all = [...document.querySelectorAll("a, button, input, summary, canvas")]
                .filter((one) => one.checkVisibility() && !one.disabled);
              all.forEach((one, place) => { one.dataset.place = place; });
              return all.length;
            }"""
        )
        reached = set()
        for _ in range(wanted + 5):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.dataset.place"))
    assert {str(place) for place in range(wanted)} <= reached


def test_keys_lead_from_call_to_call_and_say_each_as_strace_prints_it(chromium, pages):
    with opened(chromium, pages / "shared.html") as page:
        page.focus("#canvas")
        page.keyboard.press("Home")
        first = page.inner_text("#now")
        assert "main: exec(" in first
        page.keyboard.press("ArrowRight")
        assert page.inner_text("#now") != first
        page.keyboard.press("ArrowLeft")
        assert page.inner_text("#now") == first
        page.keyboard.press("ArrowDown")
        assert "worker_0" in page.inner_text("#now")


def test_failed_expectation_shows_its_calls_and_sockets(chromium, pages):
    with opened(chromium, pages / "failed.html") as page:
        assert page.locator(".lit").count() == 0
        page.click("[data-finding] >> nth=0")
        assert "bind(23, 0.0.0.0:15006) = 0" in page.inner_text("#now")
        assert page.evaluate("document.activeElement.id") == "canvas"
        assert page.locator('.lit[data-socket="s14"]').count() > 0
        page.keyboard.press("Escape")
        assert page.locator(".lit").count() == 0


def test_search_finds_a_call_and_shows_where_it_is(chromium, pages):
    with opened(chromium, pages / "shared.html") as page:
        page.fill("#query", "dup(23)")
        assert page.inner_text("#found") == "1 to 1 of 1 calls"
        page.click("#calls button")
        assert "kernel socket #14: dup(23) = 24" in page.inner_text("#now")
        page.fill("#query", "no such call")
        assert page.inner_text("#found") == "no call has this text"


def test_pointer_over_a_mark_shows_its_call(chromium, pages):
    with opened(chromium, pages / "shared.html") as page:
        page.focus("#canvas")
        page.fill("#query", "dup(23)")
        page.click("#calls button")
        page.locator("#canvas").scroll_into_view_if_needed()
        box = page.locator("#canvas").bounding_box()
        assert box is not None
        # The call is in the middle of the lanes' width; main is the first lane.
        left, rest = 120, box["width"] - 128
        page.mouse.move(box["x"] + left + rest / 2, box["y"] + 61)
        assert "dup(23) = 24" in page.inner_text("#tip")


def test_marks_are_drawn_and_zoom_and_whole_run_change_the_picture(chromium, pages):
    with opened(chromium, pages / "connections.html") as page:
        seen = set()
        for name in ("startup", "in", "all", "others"):
            page.click(f"[data-do={name}]")
            # Drawn in the next frame; two later it surely is.
            page.evaluate(
                "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
            )
            seen.add(page.evaluate("document.getElementById('canvas').toDataURL()"))
    assert len(seen) == 4


def test_without_scripts_all_but_the_timeline_is_there(chromium, pages):
    context = chromium.new_context(
        java_script_enabled=False, viewport={"width": WIDE, "height": 900}
    )
    page = context.new_page()
    page.goto((pages / "failed.html").as_uri())
    text = page.locator("body").inner_text()
    for words in ("FAILED", "What did not hold", "1 kernel socket", "THREADS WAIT", "Certificate"):
        assert words.lower() in text.lower()
    assert "The timeline needs scripts" in text
    context.close()


def test_page_of_a_plan_has_its_pictures_on_paper(chromium, pages):
    with opened(chromium, pages / "plan.html") as page:
        page.emulate_media(media="print")
        assert page.locator(".planned svg.map:visible").count() > 4
        assert page.locator(".planned svg.moves:visible").count() > 4
        assert not page.locator("nav").is_visible()
