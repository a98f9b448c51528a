"""Two records of one recorded run: whatever is changed in either of them is noticed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from envoyassert.asserts import parse_expectation
from envoyassert.calls import KERNEL_FACTS
from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.judge.certificate import SECOND_CHECK, certify, reconcile
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.report.story import story_of
from envoyassert.texts.facts import text
from envoyassert.texts.findings import words_of
from envoyassert.trace import Trace
from envoyassert.trace_file import parse_trace, read_trace, trace_lines

RECORDED = Path(__file__).parents[1] / "traces" / "witnessed" / "reuse_port_on-1.40.0.ndjson"
UNRETURNED = {*KERNEL_FACTS, "epoll_wait"}
RIGHT = {"listener": {"port": 10000}, "bound": {"times": 2, "by": "main"}}
WRONG = {"listener": {"port": 10000}, "bound": {"times": 3}}


@pytest.fixture
def trace() -> Trace:
    return read_trace(RECORDED)


def verdict(trace: Trace, item: dict[str, Any]) -> Verdict:
    return judge(trace, [(0, parse_expectation(item))], workers=2)


def theirs(trace: Trace) -> list[Event]:
    assert trace.second is not None
    return trace.second.events


def differences(trace: Trace) -> list[str]:
    assert trace.second is not None
    return [*map(text, reconcile(trace, trace.second)[0])]


def test_records_of_a_real_run_agree(trace: Trace) -> None:
    assert trace.second is not None
    found, compared = reconcile(trace, trace.second)
    assert found == []
    assert compared > 100
    check = certify(trace, fold(trace)).checks[-1]
    assert (check.name, check.ok) == (SECOND_CHECK, True)
    assert verdict(trace, RIGHT).status is Status.PASS


def test_second_record_survives_the_trace_file(trace: Trace) -> None:
    assert parse_trace(list(trace_lines(trace))) == trace


def test_call_that_differs_stands_in_the_results_with_both_sides(trace: Trace) -> None:
    first = next(event for event in theirs(trace) if event.call == "bind")
    shown = Event(first.ts_ns, first.pid, first.tid, "bind", -98, first.args)
    theirs(trace)[theirs(trace).index(first)] = shown

    graph = fold(trace)
    checks = {
        one["name"]: one for one in story_of(trace, graph, certify(trace, graph))["certificate"]
    }

    found = json.loads(json.dumps(checks[SECOND_CHECK]["found"]))
    assert found["code"] == "call_differs"
    assert [found[side]["ret"] for side in ("probe", "other")] == [0, -98]
    assert found["other"] == {
        "kind": "event",
        "call": "bind",
        "tid": first.tid,
        "ret": -98,
        "args": {"fd": first.args["fd"], "address": str(first.args["address"])},
    }


def test_lost_call_of_either_side_is_noticed_and_named(trace: Trace) -> None:
    lost = 0
    for side in (trace.events, theirs(trace)):
        # The last call of a thread may be in flight.
        ends = {event.tid: event for event in side if event.call not in UNRETURNED}
        for index, event in enumerate(list(side)):
            if event.call in ("rename", "exit") or ends.get(event.tid) is event:
                continue
            del side[index]
            found = differences(trace)
            assert found, event
            side.insert(index, event)
            lost += 1
    assert lost > 200
    assert differences(trace) == []


def test_any_changed_argument_or_result_is_noticed(trace: Trace) -> None:
    changed = 0
    for event in theirs(trace):
        if event.call in UNRETURNED:
            continue
        result, args = event.ret, event.args
        assert result is not None
        event.ret = result + 1
        assert differences(trace), event
        event.ret = result
        for name, value in args.items():
            if value is None or (name == "events" and args["op"] == "EPOLL_CTL_DEL"):
                continue
            event.args = {**args, name: "changed"}
            assert differences(trace), (event, name)
            changed += 1
        event.args = args
    assert changed > 200


def test_difference_leaves_the_verdict_open_and_shows_both_sides(trace: Trace) -> None:
    bind = next(
        event
        for event in theirs(trace)
        if event.call == "bind" and getattr(event.args["address"], "port", 0) == 10000
    )
    bind.ret = -98
    found = verdict(trace, RIGHT)
    assert found.status is Status.INCONCLUSIVE
    reason = words_of(found.findings[0]).reason
    assert f"bind(fd={bind.args['fd']}, address={bind.args['address']}) = 0 by the probe" in reason
    assert f"address={bind.args['address']}) = EADDRINUSE by strace" in reason


def test_line_that_was_not_understood_leaves_the_verdict_open(trace: Trace) -> None:
    assert trace.second is not None
    trace.second.problems = ("not a line of strace: what",)
    assert (
        "not understood: not a line of strace" in words_of(verdict(trace, RIGHT).findings[0]).reason
    )


def test_call_that_returned_after_the_ring_was_read_may_be_missing_there(trace: Trace) -> None:
    assert trace.second is not None
    last = theirs(trace)[-1]
    for number in (1, 2):
        late = copy.copy(last)
        late.call, late.args, late.ret = "dup", {"fd": 3}, 90 + number
        late.tid, late.ts_ns = trace.events[0].tid, trace.second.until_ns + number
        theirs(trace).append(late)
    assert differences(trace) == []
    trace.second.until_ns += 10
    (found,) = differences(trace)
    assert found == f"dup(fd=3) = 91 of thread {late.tid} by strace is unknown to the probe"


def test_trace_of_strace_alone_answers_all_but_durations(trace: Trace) -> None:
    trace.second = None
    trace.header = type(trace.header)(
        **{
            **{name: getattr(trace.header, name) for name in trace.header.__dataclass_fields__},
            "unobserved": ("socket_states", "stacks", "durations"),
            "tracer": "strace",
        }
    )
    assert verdict(trace, RIGHT).status is Status.PASS
    assert verdict(trace, WRONG).status is Status.FAIL
    for item, reason in (
        ({"process": {"live": True, "within": "0.001ms"}}, "slows Envoy down"),
        ({"startup": {"first_listen": {"at_most": "9s"}}}, "slows Envoy down"),
        ({"never": {"call": "tcp_state"}}, "states of TCP sockets were not observed"),
    ):
        findings = {f.path[-1]: f for f in verdict(trace, item).findings}
        open_ones = [f for f in findings.values() if f.status is Status.INCONCLUSIVE]
        assert len(open_ones) == 1, findings
        assert reason in words_of(open_ones[0]).reason
    assert verdict(trace, {"process": {"live": True, "within": "9s"}}).status is Status.PASS
