"""Judging has no hidden state: of two expectations neither changes the verdict of the other."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import permutations
from typing import Any

import pytest

from envoyassert.asserts import parse_expectation
from envoyassert.graph.fold import fold
from envoyassert.judge.context import Context
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.symbols import IN_LIBRARY, ObjectFile, Symbols
from envoyassert.testing import TraceBuilder
from envoyassert.trace import STARTUP, Trace

ENVOY, LIBC = "e" * 40, "c" * 40
CALL, MAIN = f"{LIBC}+0x10", f"{ENVOY}+0x22"
#: Two functions of Envoy that bind.
FIRST, SECOND = f"{ENVOY}+0x20", f"{ENVOY}+0x21"


def trace_of_two_call_sites() -> Trace:
    """Return a trace with a bind from one call site at start-up, and from another in a step."""
    builder = TraceBuilder(workers=1)
    for phase, place, port in ((STARTUP, FIRST, 1000), ("change", SECOND, 1001)):
        fd = builder.socket(builder.main)
        builder.bind(builder.main, fd, f"0.0.0.0:{port}")
        builder.events[-1].stack = (CALL, place, MAIN)
        builder.listen(builder.main, fd)
        builder.end_phase(phase)
    trace = builder.build()
    names = {CALL: "bind", FIRST: "Envoy::first()", SECOND: "Envoy::second()", MAIN: "main"}
    files = {ENVOY: ObjectFile("/envoy"), LIBC: ObjectFile("/libc.so.6")}
    trace.symbols = Symbols(names, dict.fromkeys((FIRST, SECOND), IN_LIBRARY), files)
    return trace


SAME_SITE = {"call": "bind", "stack": {"same_as": {"call": "bind"}}}
UNKNOWN_SITE = {"call": "bind", "stack": {"call_site": {"d" * 40: "0123456789ab"}}}
ITEMS: tuple[dict[str, Any], ...] = (
    {"calls": {**SAME_SITE, "times": 1}, "during": "change"},
    {"calls": {**SAME_SITE, "times": 2}, "at_end_of": "change"},
    {"calls": {**UNKNOWN_SITE, "times": 1}, "at_end_of": "change"},
    {"listener": {"port": 1000}, "bound": {"times": 1}},
    {"no_others": True},
)


def found(trace: Trace, items: tuple[int, ...]) -> dict[int, list[Finding]]:
    """Return the findings of each of some items, judged in this order."""
    expectations = [(index, parse_expectation(ITEMS[index])) for index in items]
    # A place in the scenario is the order in which it is judged.
    findings = judge(trace, expectations, workers=1).findings
    return {index: [f for f in findings if f.path[1] == index] for index in items}


def test_items_are_judged_in_the_same_way_in_any_order():
    trace = trace_of_two_call_sites()
    whole = found(trace, tuple(range(len(ITEMS))))
    assert {index: findings[0].status for index, findings in whole.items()} == {
        0: Status.PASS,
        1: Status.PASS,
        2: Status.SKIPPED,
        3: Status.PASS,
        4: Status.FAIL,
    }
    for order in permutations(range(len(ITEMS))):
        assert found(trace, order) == whole


def test_items_that_name_no_socket_to_another_are_judged_in_the_same_way_alone():
    trace = trace_of_two_call_sites()
    whole = found(trace, tuple(range(len(ITEMS))))
    for index in range(4):
        assert found(trace, (index,)) == {index: whole[index]}


def test_context_cannot_be_changed():
    trace = trace_of_two_call_sites()
    context = Context(trace, fold(trace), 1)
    with pytest.raises(FrozenInstanceError):
        context.doubt = None  # type: ignore[misc]  # what mypy refuses, too
