"""Stacks in patterns of calls: what is sure, what is possible, and what is skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.judge.certificate import certify
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.report.failure import failure_lines
from envoyassert.report.headline import headline
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.scenario.pattern import CallPattern
from envoyassert.symbols import (
    DEPTH,
    IN_LIBRARY,
    ObjectFile,
    Symbols,
    call_site,
)
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import Trace
from envoyassert.trace_file import parse_trace, read_trace, trace_lines
from envoyassert.words.calls import CallsExpectation
from envoyassert.words.never import NeverExpectation

TRACES = Path(__file__).parents[1] / "traces"
ENVOY, LIBC = "e" * 40, "c" * 40
NAMES = {
    f"{LIBC}+0x10": "bind",
    f"{ENVOY}+0x20": "Envoy::Sockets::bind(int)",
    f"{ENVOY}+0x21": "Envoy::ListenerImpl::start()",
    f"{ENVOY}+0x22": "main",
}
#: The call, two functions of Envoy, main, and what the C library has below it.
STACK = (*NAMES, f"{LIBC}+0x99")
FILES = {ENVOY: ObjectFile("/envoy"), LIBC: ObjectFile("/libc.so.6", "has no symbols")}
WHOLE = Symbols(NAMES, {STACK[1]: IN_LIBRARY}, FILES)
STRIPPED = Symbols({STACK[0]: "bind"}, {}, {**FILES, ENVOY: ObjectFile("/envoy", "has no symbols")})


def trace_of(symbols: Symbols, *stacks: tuple[str, ...], lost: tuple[int, ...] = ()) -> Trace:
    """Return a trace with one bind for each stack."""
    builder = TraceBuilder(workers=1)
    for port, stack in enumerate(stacks, 1000):
        fd = builder.socket(builder.main)
        builder.bind(builder.main, fd, f"0.0.0.0:{port}")
        builder.events[-1].stack = stack
    trace = builder.build(lost)
    trace.symbols = symbols
    return trace


def judged(trace: Trace, word: str = "calls", **pattern: Any) -> Verdict:
    form = CallsExpectation if word == "calls" else NeverExpectation
    item = form.model_validate({word: {"call": "bind", **pattern}})
    return judge(trace, [(0, item)], workers=1)


def status_of(trace: Trace, text: str, word: str = "calls", **pattern: Any) -> Status:
    (finding,) = judged(trace, word, stack={"contains": text}, **pattern).findings
    return finding.status


@pytest.mark.parametrize("text", ["ListenerImpl::start", "Envoy::Sockets", "main", "bind"])
def test_function_on_the_stack_is_found(text):
    trace = trace_of(WHOLE, STACK)
    assert status_of(trace, text, times=1) is Status.PASS
    assert status_of(trace, text, "never") is Status.FAIL


def test_function_on_no_stack_is_known_to_be_absent():
    trace = trace_of(WHOLE, STACK)
    assert status_of(trace, "Admin") is Status.FAIL
    assert status_of(trace, "Admin", "never") is Status.PASS


def test_absent_function_is_reported_with_what_is_there_instead():
    (finding,) = judged(trace_of(WHOLE, STACK), stack={"contains": "Admin"}).findings
    assert words_of(finding).expected == 'bind() from "Admin" at least 1 time'
    assert (
        "from bind < Envoy::Sockets::bind(int) < Envoy::ListenerImpl::start()"
        in words_of(finding).closest
    )


def test_hidden_caller_of_the_c_library_counts_as_on_the_stack():
    stack = (STACK[0], *STACK[2:])
    symbols = Symbols(NAMES, {stack[1]: "Envoy::Sockets::hidden()"}, FILES)
    assert status_of(trace_of(symbols, stack), "hidden", times=1) is Status.PASS
    assert status_of(trace_of(symbols, stack), "hidden", "never") is Status.FAIL


UNKNOWN = {
    "no stack": (WHOLE, ()),
    "frame whose file the kernel did not name": (WHOLE, (*STACK[:2], "ip+0x7f00", STACK[3])),
    "function without a name": (WHOLE, (*STACK[:2], f"{ENVOY}+0x77", STACK[3])),
    "caller that was called through a pointer": (Symbols(NAMES, {}, FILES), STACK),
    "callers further out": (WHOLE, (*STACK[:2], *[STACK[2]] * (DEPTH - 2))),
}


@pytest.mark.parametrize("symbols, stack", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_absence_is_inconclusive_where_the_stack_does_not_show(symbols, stack):
    trace = trace_of(symbols, stack)
    for word in ("calls", "never"):
        (finding,) = judged(trace, word, stack={"contains": "Admin"}).findings
        assert finding.status is Status.INCONCLUSIVE
        assert words_of(finding).reason not in ("", "the trace does not show it")


def test_start_of_the_c_library_may_have_any_of_its_names():
    trace = trace_of(WHOLE, STACK)
    assert status_of(trace, "__libc_start", "never") is Status.SKIPPED


def test_stack_of_a_blocking_socket_is_nobodys():
    trace = trace_of(WHOLE, STACK)
    event = next(event for event in trace.events if event.call == "socket")
    event.stack = STACK
    assert call_site(event) is not None
    event.args["flags"] = []
    assert call_site(event) is None
    item = CallsExpectation.model_validate(
        {"calls": {"call": "socket", "stack": {"contains": "ListenerImpl"}}}
    )
    assert judge(trace, [(0, item)], workers=1).status is Status.INCONCLUSIVE


@pytest.mark.parametrize("word", ["calls", "never"])
def test_without_symbols_it_is_skipped_with_the_reason(word):
    verdict = judged(trace_of(STRIPPED, STACK), word, stack={"contains": "ListenerImpl"})
    (finding,) = verdict.findings
    assert finding.status is Status.SKIPPED
    assert words_of(finding).reason == f"/envoy (build id {ENVOY}) has no symbols"
    assert verdict.status is Status.INCONCLUSIVE


def test_skipped_alone_is_reported_where_a_person_reads_it():
    trace = trace_of(STRIPPED, STACK)
    verdict = judged(trace, stack={"contains": "ListenerImpl"})
    assert "skipped: /envoy" in headline(verdict)
    assert any("skipped" in line for line in failure_lines(verdict, trace, fold(trace)))


def test_skipped_beside_what_holds_is_a_pass_that_says_so():
    trace = trace_of(STRIPPED, STACK)
    items = [{"call": "bind", "times": 1}, {"call": "bind", "stack": {"contains": "ListenerImpl"}}]
    verdict = judge(
        trace,
        [(n, CallsExpectation.model_validate({"calls": item})) for n, item in enumerate(items)],
        workers=1,
    )
    assert str(verdict) == "PASS (1 skipped)"


def test_without_symbols_after_a_loss_it_is_inconclusive_and_not_skipped():
    trace = trace_of(STRIPPED, STACK, STACK)
    last = len(trace.events) - 1
    lost = trace_of(STRIPPED, STACK, STACK, lost=(last,))
    assert status_of(lost, "ListenerImpl") is Status.INCONCLUSIVE


def test_file_that_was_not_found_is_a_reason_to_skip():
    files = {ENVOY: ObjectFile("", "was not found once the run was over")}
    (finding,) = judged(
        trace_of(Symbols(files=files), STACK[1:4]), stack={"contains": "x"}
    ).findings
    assert finding.status is Status.SKIPPED
    assert "was not found" in words_of(finding).reason


def test_variable_of_calls_that_may_come_from_there_is_inconclusive():
    trace = trace_of(STRIPPED, STACK, STACK)
    verdict = judged(trace, stack={"contains": "ListenerImpl"}, let={"sockets": "socket"})
    assert {finding.status for finding in verdict.findings} == {Status.SKIPPED}


def site_of(event: Event) -> str:
    site = call_site(event)
    assert site is not None
    return site[1]


def test_call_site_is_judged_for_the_builds_that_are_listed():
    trace = trace_of(STRIPPED, STACK)
    site = site_of(trace.events[-1])
    for table, expected in (
        ({ENVOY: site}, Status.PASS),
        ({ENVOY: ["0" * 12, site]}, Status.PASS),
        ({ENVOY: "0" * 12}, Status.FAIL),
        ({"0" * 40: site}, Status.SKIPPED),
    ):
        (finding,) = judged(trace, stack={"call_site": table}, times=1).findings
        assert finding.status is expected


def test_call_site_is_the_same_wherever_libraries_differ():
    trace = trace_of(STRIPPED, STACK)
    here = call_site(trace.events[-1])
    trace.events[-1].stack = (f"{'d' * 40}+0x5", *STACK[1:4])
    assert call_site(trace.events[-1]) == here
    trace.events[-1].stack = (STACK[0], STACK[1], STACK[3])
    assert call_site(trace.events[-1]) != here


@pytest.mark.parametrize("word, expected", [("calls", Status.PASS), ("never", Status.FAIL)])
def test_listeners_of_a_real_envoy_come_from_one_call_site_and_the_admin_from_another(
    word, expected
):
    trace = read_trace(TRACES / "reuse_port_on-1.40.0.ndjson")
    form = CallsExpectation if word == "calls" else NeverExpectation

    def status(call: str, there: str) -> Status:
        pattern = {
            "call": call,
            "listener": {"name": "ingress"},
            "stack": {"same_as": {"call": call, "listener": {"name": there}}},
        }
        item = form.model_validate({word: pattern})
        return judge(trace, [(0, item)], workers=2).status

    opposite = Status.FAIL if expected is Status.PASS else Status.PASS
    assert status("listen", "ingress") is expected
    assert status("listen", "admin") is opposite


def test_call_sites_of_calls_that_were_not_made_are_no_answer():
    trace = trace_of(WHOLE, STACK)
    source = {"call": "listen"}
    assert judged(trace, "never", stack={"same_as": source}).status is Status.INCONCLUSIVE


def test_story_shows_from_where_listening_sockets_were_made():
    builder = TraceBuilder(workers=1)
    builder.shared_listener("0.0.0.0:80")
    bind = next(event for event in builder.events if event.call == "bind")
    bind.stack = STACK
    trace = builder.build()
    trace.symbols = WHOLE
    graph = fold(trace)
    lines = story_lines(story_of(trace, graph, certify(trace, graph)))
    at = lines.index(f"Called from, in build id {ENVOY}")
    assert " ".join(lines[at + 1 : at + 3]).split() == [
        *("bind()", "call", "site", site_of(bind), "#0", "Envoy::Sockets::bind(int)", "<"),
        *("Envoy::ListenerImpl::start()", "<", "main"),
    ]


def test_names_are_part_of_a_trace_file():
    trace = trace_of(WHOLE, STACK)
    assert parse_trace(trace_lines(trace)).symbols == WHOLE


@pytest.mark.parametrize(
    "pattern, message",
    [
        ({"call": "close", "stack": {"contains": "x"}}, "no stack is recorded of `close`"),
        ({"call": "bind", "stack": {"same_as": {"call": "close"}}}, "no stack is recorded"),
        ({"call": "bind", "stack": {}}, "give contains, same_as or call_site"),
        (
            {"call": "bind", "stack": {"contains": "x", "same_as": {"call": "bind"}}},
            "exclude each other",
        ),
        ({"call": "bind", "stack": {"contains": []}}, "at least 1"),
        ({"call": "bind", "stack": {"call_site": {"9e55": "0" * 12}}}, "should match"),
    ],
)
def test_pattern_that_no_stack_could_match_is_refused(pattern, message):
    with pytest.raises(ValidationError, match=message):
        CallPattern.model_validate(pattern)
