"""Pictures of one file in a real browser: wide and narrow, light and dark, nothing cut off."""

from __future__ import annotations

import pytest

from envoyassert.graph.fold import fold
from envoyassert.picture.socket_map import socket_map
from envoyassert.picture.svg import map_svg, pair_svg, sequence_svg
from envoyassert.testing import TraceBuilder
from tests import drawn
from tests.browser_page import NARROW, WIDE, opened

pytestmark = pytest.mark.browser
#: Texts and boxes that stand out of the drawing, and the colours of paper and ink.
LOOK = """() => {
  const svg = document.querySelector("svg"), paper = svg.getBoundingClientRect();
  const out = [...svg.querySelectorAll("text, rect, path")].filter(one => {
    const box = one.getBoundingClientRect();
    return box.left < paper.left - 1 || box.right > paper.right + 1
      || box.top < paper.top - 1 || box.bottom > paper.bottom + 1;
  }).map(one => one.textContent || one.outerHTML);
  const fill = name => getComputedStyle(svg.querySelector(name)).fill;
  const texts = svg.querySelectorAll("text").length;
  return {out, texts, paper: fill(".paper"), ink: fill("text")};
}"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pictures")
    for name in drawn.RUNS:
        picture = drawn.run_of(name)
        (directory / f"{name}.map.svg").write_text(map_svg(picture.map, title=name))
        (directory / f"{name}.sequence.svg").write_text(sequence_svg(picture))
    (directory / "pair.svg").write_text(pair_svg(drawn.pair_of()))
    return directory


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize(
    "name", ["pair", *(f"{name}.{part}" for name in drawn.RUNS for part in ("map", "sequence"))]
)
def test_picture_is_whole_and_has_colours_of_its_own(chromium, pictures, name, width):
    colours = {}
    for scheme in ("light", "dark"):
        file = pictures / f"{name}.svg"
        with opened(chromium, file, width=width, scheme=scheme) as page:
            seen = page.evaluate(LOOK)
        assert seen["out"] == []
        assert seen["texts"] > 4
        colours[scheme] = (seen["paper"], seen["ink"])
    assert colours["light"] == ("rgb(255, 255, 255)", "rgb(27, 31, 36)")
    assert colours["dark"] == ("rgb(15, 20, 26)", "rgb(230, 237, 243)")


def test_copy_that_is_closed_is_drawn_as_closed_and_hides_what_is_behind_it(chromium, tmp_path):
    build = TraceBuilder(2)
    for descriptor in build.shared_listener("0.0.0.0:80"):
        build.close(build.main, descriptor)
    trace = build.build()
    (tmp_path / "closed.svg").write_text(map_svg(socket_map(trace, fold(trace))))
    with opened(chromium, tmp_path / "closed.svg") as page:
        style = "(one) => [getComputedStyle(one).stroke, getComputedStyle(one).strokeDasharray]"
        outlines = page.locator(".dup rect").evaluate_all(f"all => all.map({style})")
        inside = page.locator(".dup .fd").evaluate("(one) => getComputedStyle(one).fill")
    assert len(outlines) == 2
    assert outlines[0] == outlines[1]
    assert "4" in outlines[0][1]
    assert inside == "rgb(255, 255, 255)"
