"""Expectations that are scoped to a phase of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envoyassert.accounts import Witness, WitnessSocket
from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.judge.judge import judge
from envoyassert.judge.scopes import listeners_over
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.testing import TraceBuilder
from envoyassert.texts.facts import text
from envoyassert.texts.findings import words_of
from envoyassert.trace import (
    ATTACHED,
    STARTUP,
    ConnectionAttempt,
    ListenerRecord,
    Member,
    Outcome,
    Trace,
    UpdateResult,
)
from envoyassert.trace_file import parse_trace, trace_lines

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
PORT = {"listener": {"port": 15006}}
PLACE = "0.0.0.0:15006"


def two_phases(**facts: Any) -> TraceBuilder:
    """Start a listener, and in a step `change` close it and open one at another port."""
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener(PLACE)
    trace.end_phase(STARTUP, STARTUP)
    trace.epoll_delete(trace.worker(0), fd)
    trace.close(trace.main, fd)
    trace.shared_listener("0.0.0.0:15007")
    trace.end_phase("change", **facts)
    return trace


def verdict(trace: Trace, *items: dict[str, Any]) -> Verdict:
    expectations = [(index, parse_expectation(item)) for index, item in enumerate(items)]
    return judge(trace, expectations, workers=1)


def status(trace: TraceBuilder, item: dict[str, Any], lost: tuple[int, ...] = ()) -> Status:
    return verdict(trace.build(lost), item).status


@pytest.mark.parametrize(
    "item, wanted",
    [
        ({**PORT, "served_by": "workers"}, PASS),
        ({**PORT, "at_end_of": "startup", "served_by": "workers"}, PASS),
        ({**PORT, "at_end_of": "change", "served_by": "workers"}, FAIL),
        ({**PORT, "at_end_of": "change", "served_by": "none", "sockets": {"live": 0}}, PASS),
        ({**PORT, "served_by": "none"}, FAIL),
        ({"listener": {"port": 15007}, "bound": {"times": "none"}}, PASS),
        ({"listener": {"port": 15007}, "at_end_of": "change", "bound": {"times": 1}}, PASS),
        ({"listener": {"port": 15007}, "during": "change", "bound": {"times": 1}}, PASS),
        ({**PORT, "during": "change", "bound": {"times": "none"}}, PASS),
        ({**PORT, "during": "change", "bound": {"times": 1}}, FAIL),
        ({**PORT, "during": "startup", "listen_calls": 1}, PASS),
        ({"never": {"call": "close"}, "during": "change"}, FAIL),
        ({"never": {"call": "close"}, "at_end_of": "startup"}, PASS),
        ({"never": {"call": "close"}, "during": "startup"}, PASS),
        ({"calls": {"call": "listen", "times": 1}, "during": "change"}, PASS),
        ({"calls": {"call": "listen", "times": 2}, "at_end_of": "change"}, PASS),
        ({"always": {**PORT, "served": True}, "during": "change"}, FAIL),
        ({"always": {"listener": {"port": 15006}, "served": True}}, PASS),
        ({"in_order": [{"call": "close"}, {"call": "bind"}], "during": "change"}, PASS),
        ({"in_order": [{"call": "close"}, {"call": "bind"}], "at_end_of": "change"}, FAIL),
    ],
)
def test_expectation_is_judged_in_its_phase(item: dict[str, Any], wanted: Status) -> None:
    assert status(two_phases(), item) is wanted


@pytest.mark.parametrize(
    "item",
    [
        {**PORT, "served_by": "workers"},
        {**PORT, "at_end_of": "change", "served_by": "none"},
        {"never": {"call": "close"}, "at_end_of": "startup"},
        {"never": {"call": "dup"}},
        {"no_others": True},
        {"calls": {"call": "listen", "times": 1}, "during": "change"},
    ],
)
def test_loss_in_any_phase_leaves_no_pass_in_another(item: dict[str, Any]) -> None:
    trace = two_phases()
    for lost in range(len(trace.events)):
        assert status(trace, item, lost=(lost,)) is not PASS


# what says that there is none is about the whole run

NO_CLOSE = {"call": "close", "listener": {"port": 15006}}


@pytest.mark.parametrize(
    "item",
    [
        {"never": NO_CLOSE},
        {"calls": {**NO_CLOSE, "times": 0}},
        {"calls": {**NO_CLOSE, "times": "none"}},
        {"calls": {**NO_CLOSE, "times": {"exactly": 0}}},
        {"calls": {**NO_CLOSE, "times": {"at_most": 0}}},
        {"calls": {**NO_CLOSE, "times": {"between": [0, 0]}}},
    ],
)
def test_what_must_not_be_is_judged_over_the_whole_run(item: dict[str, Any]) -> None:
    found = verdict(two_phases().build(), item)
    assert found.status is FAIL
    assert words_of(found.findings[0]).expected.endswith(" (over the whole run)")
    at_start = verdict(two_phases().build(), {**item, "at_end_of": "startup"})
    assert at_start.status is PASS
    assert words_of(at_start.findings[0]).expected.endswith(" (at the end of startup)")
    without_steps = replace(two_phases().build(), phases=())
    assert not words_of(verdict(without_steps, item).findings[0]).expected.endswith(")")


def test_run_that_was_cut_short_leaves_no_pass_about_the_whole_of_it_but_its_failures() -> None:
    trace = two_phases(missed="it comes to rest").build()
    trace.header = replace(trace.header, steps=("change", "drain"))
    found = verdict(trace, {"never": {"call": "dup"}}, {"never": NO_CLOSE})
    of_items = [finding for finding in found.findings if finding.path[0] == "expect"]
    assert [finding.status for finding in of_items] == [INCONCLUSIVE, FAIL]
    assert words_of(of_items[0]).reason == "the run ended before drain"
    whole = two_phases().build()
    whole.header = replace(whole.header, steps=("change",))
    assert verdict(whole, {"never": {"call": "dup"}}).status is PASS


@pytest.mark.parametrize("times", [1, {"at_most": 1}, "workers", {"between": [0, 1]}])
def test_what_must_be_is_judged_at_the_end_of_start_up(times: Any) -> None:
    assert status(two_phases(), {"calls": {"call": "listen", "times": times}}) is PASS


def test_no_others_is_judged_over_the_whole_run() -> None:
    named = {"listener": {"port": 15006}, "served_by": "workers"}
    found = verdict(two_phases().build(), named, {"no_others": True})
    assert found.status is FAIL
    assert words_of(found.with_status(FAIL)[0]).seen == "TCP 0.0.0.0:15007"
    at_start = {"no_others": True, "at_end_of": "startup"}
    assert verdict(two_phases().build(), named, at_start).status is PASS
    new = {"listener": {"port": 15007}, "at_end_of": "change", "bound": {"times": 1}}
    assert verdict(two_phases().build(), named, new, {"no_others": True}).status is PASS


def test_no_others_knows_a_socket_by_the_port_that_named_it_before_it_was_ambiguous() -> None:
    trace = TraceBuilder(1)
    trace.shared_listener(PLACE)
    trace.end_phase(STARTUP, STARTUP)
    trace.shared_listener("127.0.0.1:15006")
    trace.end_phase("change")
    named = {**PORT, "served_by": "workers"}
    found = verdict(trace.build(), named, {"no_others": True})
    assert [words_of(finding).seen for finding in found.with_status(FAIL)] == [
        "TCP 127.0.0.1:15006"
    ]
    new = {"listener": {"port": 15006, "address": "127.0.0.1"}, "at_end_of": "change"}
    both = verdict(trace.build(), named, {**new, "bound": {"times": 1}}, {"no_others": True})
    assert both.status is PASS


def changing() -> TraceBuilder:
    """An update takes `gone` away, adds `new`, and gives `web` another address."""
    start = (record("gone", 15005), record("web", 15006))
    trace = TraceBuilder(1, listeners=start)
    (gone,) = trace.shared_listener("127.0.0.1:15005")
    (web,) = trace.shared_listener("127.0.0.1:15006")
    trace.end_phase(STARTUP, STARTUP, listeners=start)
    trace.close(trace.main, gone)
    trace.close(trace.main, web)
    trace.shared_listener("127.0.0.1:15008")
    (new,) = trace.shared_listener("127.0.0.1:15007")
    trace.setsockopt(trace.main, new, "SO_KEEPALIVE")
    trace.end_phase("change", listeners=(record("web", 15008), record("new", 15007)))
    return trace


def record(name: str, port: int) -> ListenerRecord:
    return ListenerRecord(name, "TCP", (Address.inet("127.0.0.1", port),))


@pytest.mark.parametrize(
    "call, name, wanted",
    [
        ("close", "gone", FAIL),
        ("close", "web", FAIL),
        ("close", "new", PASS),
        ("setsockopt", "new", FAIL),
        ("dup", "gone", PASS),
        ("close", "unknown", INCONCLUSIVE),
    ],
)
def test_listener_is_known_by_its_name_at_any_time_of_the_run(
    call: str, name: str, wanted: Status
) -> None:
    pattern: dict[str, Any] = {"call": call, "listener": {"name": name}}
    if call == "setsockopt":
        pattern["args"] = {"name": "SO_KEEPALIVE"}
    assert status(changing(), {"never": pattern}) is wanted


def test_listeners_of_a_run_are_all_that_there_were_in_the_order_of_their_coming() -> None:
    assert listeners_over(changing().build()) == (
        record("gone", 15005),
        replace(record("web", 15006), addresses=(*web(15006), *web(15008))),
        record("new", 15007),
    )
    zero = replace(record("web", 0), addresses=(*web(0), *web(0)))
    same = TraceBuilder(1, listeners=(zero, record("web", 0)))
    same.end_phase(STARTUP, STARTUP, listeners=(zero, record("web", 0)))
    same.end_phase("change", listeners=(record("web", 0),))
    assert listeners_over(same.build()) == (zero, record("web", 0))


def web(port: int) -> tuple[Address, ...]:
    return record("web", port).addresses


def test_of_several_envoys_one_is_judged_over_the_whole_run() -> None:
    trace = two_phases()
    pid = trace.main
    trace.end_phase("more", envoys=(Member("first", pid, 1, trace.outcome),))
    assert status(trace, {"never": {"call": "close"}, "envoy": "first"}) is FAIL
    found = verdict(trace.build(), {"never": {"call": "close"}, "envoy": "second"})
    assert found.status is INCONCLUSIVE
    assert "at the end of the run no Envoy of that name" in words_of(found.findings[0]).reason


def test_close_entered_before_the_end_of_a_phase_and_recorded_after_it_is_no_loss() -> None:
    trace = TraceBuilder(1, cpus=1)
    trace.shared_listener(PLACE)
    other = trace.socket(trace.main)
    closed = trace.call(trace.main, "close", 0, fd=other)
    trace.end_phase(STARTUP, STARTUP)
    later = trace.call(trace.main, "socket", 90, family="AF_INET", type="SOCK_STREAM", flags=[])
    trace.end_phase("later")
    closed.seq, later.seq = later.seq, closed.seq
    found = verdict(trace.build(), {**PORT, "listened": {"by": "workers"}})
    assert found.status is PASS, found.certificate.missing


def test_phase_that_was_not_reached_is_inconclusive_with_the_reason() -> None:
    found = verdict(
        two_phases(problem="Envoy had ended before").build(),
        {**PORT, "served_by": "workers"},
        {**PORT, "at_end_of": "later", "served_by": "none"},
    )
    step, first, second = found.findings
    assert (step.status, words_of(step).subject, words_of(step).reason) == (
        INCONCLUSIVE,
        "step change",
        "Envoy had ended before",
    )
    assert first.status is PASS
    assert second.status is INCONCLUSIVE
    assert "Envoy had ended before" in words_of(second).reason
    assert found.status is INCONCLUSIVE


def followed() -> Trace:
    """An Envoy that gets a second listener, loses the first, and gets that again."""
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener(PLACE)
    trace.end_phase(STARTUP, STARTUP)
    trace.shared_listener("0.0.0.0:15007")
    trace.end_phase("added_1", "added")
    trace.epoll_delete(trace.worker(0), fd)
    trace.close(trace.main, fd)
    trace.end_phase("removed_2", "removed")
    trace.shared_listener(PLACE)
    trace.end_phase("added_3", "added")
    return attached(trace.build())


def attached(trace: Trace) -> Trace:
    """Return a trace as that of an Envoy that something else started."""
    return replace(trace, header=replace(trace.header, launcher=ATTACHED))


@pytest.mark.parametrize(
    "item, wanted",
    [
        ({**PORT, "at_end_of": "added_1", "served_by": "workers"}, {"added_1": PASS}),
        (
            {**PORT, "at_end_of": "added", "sockets": {"live": 1}},
            {"added_1": PASS, "added_3": PASS},
        ),
        ({**PORT, "at_end_of": "removed", "sockets": {"live": 0}}, {"removed_2": PASS}),
        (
            {**PORT, "at_end_of": "each", "sockets": {"live": 1}},
            {"startup": PASS, "added_1": PASS, "removed_2": FAIL, "added_3": PASS},
        ),
        ({**PORT, "at_end_of": "last", "bound": {"times": 2}}, {"added_3": PASS}),
        (
            {"listener": {"port": 15007}, "during": "added", "bound": {"times": 1}},
            {"added_1": PASS, "added_3": FAIL},
        ),
        ({**PORT, "at_end_of": "epoch", "sockets": {"live": 1}}, {"epoch": INCONCLUSIVE}),
        ({**PORT, "at_end_of": "added_9", "sockets": {"live": 1}}, {"added_9": INCONCLUSIVE}),
    ],
)
def test_phases_that_were_seen_are_meant_by_name_kind_or_all_of_them(
    item: dict[str, Any], wanted: dict[str, Status]
) -> None:
    found = verdict(followed(), item).findings
    scopes = [one.scope for one in found]
    names = [
        scope.during or scope.at_end_of or "" if scope else item["at_end_of"] for scope in scopes
    ]
    assert list(zip(names, [one.status for one in found], strict=True)) == list(wanted.items())


@pytest.mark.parametrize("name", ["each", "last"])
def test_start_alone_is_each_and_the_last_phase(name: str) -> None:
    trace = TraceBuilder(1)
    trace.shared_listener(PLACE)
    (found,) = verdict(
        attached(trace.build()), {**PORT, "at_end_of": name, "served_by": "workers"}
    ).findings
    assert found.status is PASS


def test_phase_after_the_start_of_a_trace_of_the_start_says_how_to_get_there() -> None:
    trace = TraceBuilder(1)
    trace.shared_listener(PLACE)
    (found,) = verdict(
        attached(trace.build()), {**PORT, "at_end_of": "added", "served_by": "none"}
    ).findings
    assert found.status is INCONCLUSIVE
    assert "`attach --follow` goes on after it" in words_of(found).reason


@pytest.mark.parametrize("name", ["last", "each", "wait_for"])
def test_of_an_envoy_that_was_run_a_phase_is_its_step_alone(name: str) -> None:
    (found,) = verdict(
        two_phases().build(), {**PORT, "at_end_of": name, "served_by": "none"}
    ).findings
    assert found.status is INCONCLUSIVE
    assert words_of(found).reason == "the run has no such phase"


def test_step_whose_wait_is_not_met_fails_the_run() -> None:
    trace = two_phases(missed="Envoy to end within 1 s")
    found = verdict(trace.build(), {**PORT, "served_by": "workers"})
    assert found.status is FAIL
    assert words_of(found.findings[0]).expected == "Envoy to end within 1 s"
    doubted = verdict(trace.build(lost=(9,)), {**PORT, "served_by": "workers"})
    assert doubted.status is INCONCLUSIVE


def test_account_that_differs_at_the_end_of_any_phase_leaves_no_pass() -> None:
    unknown = WitnessSocket(1000, 99, 1, 1, Address.inet("0.0.0.0", 1), listening=True)
    trace = two_phases(witness=Witness(0, (unknown,), ()))
    found = verdict(trace.build(), {**PORT, "served_by": "workers"})
    assert found.status is INCONCLUSIVE
    (missing,) = found.certificate.missing
    assert text(missing.found).startswith("at the end of change: ")


def test_process_is_judged_by_its_outcome_at_the_end_of_the_phase() -> None:
    trace = two_phases(outcome=Outcome(live=True, live_after_s=0.1, exit_code=0))
    trace.outcome = replace(trace.outcome, exit_code=0)
    assert status(trace, {"process": {"stays_up": True}}) is PASS
    assert status(trace, {"process": {"exits": 0}}) is FAIL
    assert status(trace, {"process": {"exits": 0}, "at_end_of": "change"}) is PASS


def test_variable_joins_a_socket_of_two_phases() -> None:
    trace = TraceBuilder(1)
    trace.shared_listener(PLACE)
    trace.end_phase(STARTUP, STARTUP)
    trace.socket(trace.main)
    trace.end_phase("change")
    same = [
        {**PORT, "let": {"kept": "socket"}, "sockets": 1},
        {**PORT, "let": {"kept": "socket"}, "sockets": 1, "at_end_of": "change"},
    ]
    assert verdict(trace.build(), *same).status is PASS
    trace.shared_listener(PLACE)
    trace.end_phase("again")
    again = {**same[1], "at_end_of": "again", "sockets": 2}
    assert verdict(trace.build(), same[0], again).status is FAIL


def test_no_others_of_a_phase_knows_the_listeners_that_are_named_for_another() -> None:
    named = {"listener": {"port": 15006}, "served_by": "workers"}
    world = {"no_others": True, "at_end_of": "change"}
    assert verdict(two_phases().build(), named, world).status is FAIL
    new = {"listener": {"port": 15007}, "bound": {"times": "none"}}
    assert verdict(two_phases().build(), named, new, world).status is PASS


def test_phases_survive_a_trace_file() -> None:
    attempt = ConnectionAttempt("TCP", Address.inet("127.0.0.1", 1), False, errno="ECONNREFUSED")
    trace = two_phases(
        attempts=(attempt,), update=UpdateResult("nack", "2", "no"), witness=Witness(5, (), ())
    ).build()
    assert parse_trace(trace_lines(trace)) == trace
