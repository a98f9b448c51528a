"""Hints about how many sockets there are answer the count that was not met."""

from __future__ import annotations

import pytest

from envoyassert.judge.context import cause_of_count
from envoyassert.judge.interval import Interval
from envoyassert.texts.facts import text


@pytest.mark.parametrize(
    ("shape", "seen", "wanted", "ends"),
    [
        ("reuse_port", 2, Interval(1, 1), "for one socket set enable_reuse_port: false"),
        ("reuse_port", 2, Interval(3, 3), "each with SO_REUSEPORT"),
        ("reuse_port", 2, Interval(3, None), "each with SO_REUSEPORT"),
        ("dup", 1, Interval(2, 2), "for a socket per worker set enable_reuse_port: true"),
        ("dup", 2, Interval(1, 1), "dup()ed for each worker"),
        ("dup", 1, Interval(0, 0), ""),
        ("shared_fd", 1, Interval(2, 2), "up to about 1.18"),
    ],
)
def test_hint_shows_the_way_to_what_is_wanted_and_not_away_from_it(shape, seen, wanted, ends):
    hint = text(cause_of_count(shape, seen, wanted))
    assert hint.endswith(ends)
    assert bool(hint) is bool(ends)
