"""Colour on a terminal: when, of what, and that nothing else changes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envoyassert.report.colour import coloured, wants_colour
from envoyassert.shown import shown

SGR = re.compile(r"\x1b\[\d+m")


def plain(text: str) -> str:
    return SGR.sub("", text)


@pytest.mark.parametrize(
    ("environ", "is_terminal", "wanted"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm"}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": ""}, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_colour_is_where_a_terminal_or_the_environment_asks_for_it(environ, is_terminal, wanted):
    assert wants_colour(environ, is_terminal=is_terminal) is wanted


@given(st.lists(st.text().map(shown)))
def test_colour_changes_no_text_and_no_line(lines):
    assert [plain(line) for line in coloured(lines)] == lines


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("FAIL one: listener http: expected 2", "FAIL"),
        ("INCONCLUSIVE one: lost", "INCONCLUSIVE"),
        ("  +1.000ms  main  #1  bind(5, 0.0.0.0:80) = -1 EADDRINUSE", "-1 EADDRINUSE"),
        ("  ok   marked  traced from its exec", "  ok"),
        ("  MISSING  received  3 lost", "  MISSING"),
        ("> 8 |     bound: {times: 1}", "> 8 |     bound: {times: 1}"),
        ("    |             ^", "    |             ^"),
        ("  expected  2 bind() calls", "  expected"),
        ("  tcp    LISTEN  4096     0.0.0.0:80     #1      ingress", "LISTEN"),
    ],
)
def test_what_a_reader_looks_for_is_coloured(line, part):
    _, found = coloured(["x", line])
    assert re.search(r"(?:\x1b\[\d+m)+" + re.escape(part) + r"\x1b\[0m", found)


def test_a_title_is_bold_and_other_lines_are_not():
    shown_lines = [*coloured(["Process and threads", "  process 1", "", "Certificate", "trace: x"])]
    assert [line.startswith("\x1b[1m") for line in shown_lines] == [True, False, False, True, False]
