"""`accepted_options`: options that were set on connections, not on the socket that listens."""

from __future__ import annotations

from typing import Any

import pytest

from envoyassert.asserts import parse_expectation
from envoyassert.errors import EnvoyAssertError
from envoyassert.judge.judge import judge
from envoyassert.judge.values import Fact
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.testing import TraceBuilder
from envoyassert.texts.facts import text
from envoyassert.trace import Trace
from tests.unit.words.traces import Part, accept, run, shared


def connection(*options: tuple[str, int | None]) -> Part:
    """A worker accepts a connection, waits for it and sets options on it."""

    def part(trace: TraceBuilder) -> None:
        accept(0, 0)(trace)
        accepted = next(e for e in reversed(trace.events) if e.call == "accept4")
        assert accepted.ret is not None
        for name, value in options:
            trace.call(
                trace.worker(0),
                "setsockopt",
                0,
                fd=accepted.ret,
                level="IPPROTO_TCP",
                name=name,
                length=4,
                value=value,
            )

    return part


NODELAY = connection(("TCP_NODELAY", 1))

#: The traces of the word's example.
TRACES = {
    "without_delay": lambda: run(shared(), NODELAY, NODELAY),
    "one_with_delay": lambda: run(shared(), connection(), NODELAY),
}


def judged(trace: Trace, **options: Any) -> Verdict:
    item = {"listener": {"port": 15006}, "accepted_options": options}
    return judge(trace, [(0, parse_expectation(item))], workers=2)


@pytest.mark.parametrize(
    "parts, rule, status",
    [
        ([NODELAY], 1, Status.PASS),
        ([NODELAY], 0, Status.FAIL),
        ([NODELAY], "set", Status.PASS),
        ([NODELAY], "absent", Status.FAIL),
        ([connection(("TCP_NODELAY", 0), ("TCP_NODELAY", 1))], 1, Status.PASS),
        ([connection(("TCP_NODELAY", 1), ("TCP_NODELAY", 0))], 1, Status.FAIL),
        ([connection(("TCP_NODELAY", None))], 1, Status.INCONCLUSIVE),
        ([connection(("TCP_QUICKACK", 1))], "absent", Status.PASS),
        ([], 1, Status.INCONCLUSIVE),
        ([], "absent", Status.INCONCLUSIVE),
    ],
)
def test_last_value_on_each_connection_counts(
    parts: list[Part], rule: int | str, status: Status
) -> None:
    assert judged(run(shared(), *parts), TCP_NODELAY=rule).status is status


def test_failure_names_the_option_and_on_how_many_connections_it_is_otherwise() -> None:
    (finding,) = judged(TRACES["one_with_delay"](), TCP_NODELAY=1).findings
    assert text(finding.wanted) == "TCP_NODELAY = 1 on every connection"
    assert text(finding.seen) == "TCP_NODELAY not set on 1 of 2 connections"
    assert [event.call for event in finding.evidence] == ["accept4"]


def test_option_of_the_listening_socket_is_not_one_of_its_connections() -> None:
    assert judged(run(shared(), NODELAY), SO_REUSEADDR="set").status is Status.FAIL
    assert judged(run(shared(), NODELAY), SO_REUSEADDR="absent").status is Status.PASS


def test_connection_that_was_accepted_last_of_all_is_left_open() -> None:
    trace = TraceBuilder(2)
    shared()(trace)
    listening = next(e for e in trace.events if e.tid == trace.worker(0) and "fd" in e.args)
    trace.reply_live()
    trace.call(trace.worker(0), "accept4", 60, fd=listening.args["fd"], address=None, flags=[])
    (finding,) = judged(trace.build(), TCP_NODELAY=1).findings
    assert finding.status is Status.INCONCLUSIVE
    assert finding.reason == Fact("accepted_at_the_end")


@pytest.mark.parametrize("rule", [1, "set", "absent"])
def test_setsockopt_that_was_lost_leaves_it_open(rule: int | str) -> None:
    trace = TraceBuilder(2)
    shared()(trace)
    NODELAY(trace)
    trace.reply_live()
    lost = next(i for i, e in enumerate(trace.events) if e.args.get("name") == "TCP_NODELAY")
    assert judged(trace.build(lost=(lost,)), TCP_NODELAY=rule).status is Status.INCONCLUSIVE


def test_no_option_at_all_is_refused() -> None:
    with pytest.raises(EnvoyAssertError, match="accepted_options"):
        judged(run(shared()))
