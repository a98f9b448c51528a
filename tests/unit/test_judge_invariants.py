"""Invariants: each holds on a sound Envoy, and is broken by what it is there for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from envoyassert.addresses import Address
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.invariant import INVARIANTS
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import EnvoyIdentity, ListenerRecord, Outcome, Trace
from envoyassert.words.invariants import InvariantsExpectation

PLACE = "127.0.0.1:15006"
LISTENERS = (ListenerRecord("in", "TCP", (Address.inet("127.0.0.1", 15006),)),)
SECOND_NS = 1_000_000_000


def configured(trace: Trace, listeners: tuple[ListenerRecord, ...] = LISTENERS) -> Trace:
    return replace(trace, header=replace(trace.header, listeners=listeners))


def judged(name: str, trace: Trace, workers: int = 2) -> Finding:
    expectation = InvariantsExpectation.model_validate({"invariants": [name]})
    (finding,) = judge(trace, [(0, expectation)], workers=workers).findings
    return finding


def sound(*, reuse_port: bool = True) -> TraceBuilder:
    trace = TraceBuilder(2)
    serve = trace.reuse_port_listener if reuse_port else trace.shared_listener
    fds = serve(PLACE)
    trace.call(trace.worker(0), "accept4", -11, fd=fds[0], address=None, flags=[])
    trace.reply_live()
    trace.call(trace.worker(0), "epoll_wait", None, epfd=trace.epoll(trace.worker(0)))
    return trace


def never_listened() -> TraceBuilder:
    trace = sound()
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    trace.epoll_add(trace.worker(0), fd)
    return trace


def not_configured() -> TraceBuilder:
    trace = sound()
    trace.shared_listener("127.0.0.1:81")
    return trace


def unserved() -> TraceBuilder:
    trace = sound()
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    trace.pass_time(2 * SECOND_NS)
    trace.socket(trace.main)
    return trace


def given_up() -> TraceBuilder:
    """A listener that is taken out of the epolls and stays open."""
    trace = TraceBuilder(2)
    fds = trace.shared_listener(PLACE)
    trace.reply_live()
    for index, fd in enumerate(fds):
        trace.epoll_delete(trace.worker(index), fd)
    trace.socket(trace.main)
    return trace


def three_sockets() -> TraceBuilder:
    trace = sound()
    fd = trace.socket(trace.main)
    trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    trace.epoll_add(trace.worker(0), fd)
    return trace


def shared_with_reuse_port() -> TraceBuilder:
    trace = TraceBuilder(2)
    first = trace.socket(trace.main)
    trace.setsockopt(trace.main, first, "SO_REUSEPORT")
    trace.bind(trace.main, first, PLACE)
    for index, fd in enumerate((first, trace.dup(trace.main, first))):
        trace.listen(trace.main, fd)
        trace.epoll_add(trace.worker(index), fd)
    return trace


def late_option() -> TraceBuilder:
    trace = TraceBuilder(2)
    for fd in trace.shared_listener(PLACE)[:1]:
        trace.setsockopt(trace.main, fd, "IP_FREEBIND", level="IPPROTO_IP")
    return trace


def worker_listens() -> TraceBuilder:
    trace = sound(reuse_port=False)
    fd = trace.socket(trace.worker(0))
    trace.bind(trace.worker(0), fd, "127.0.0.1:81")
    trace.listen(trace.worker(0), fd)
    return trace


def out_of_descriptors() -> TraceBuilder:
    trace = TraceBuilder(2)
    fds = trace.reuse_port_listener(PLACE)
    for _ in range(3):
        trace.call(trace.worker(0), "accept4", -24, fd=fds[0], address=None, flags=[])
    return trace


def live_before_served() -> TraceBuilder:
    trace = TraceBuilder(2)
    fds = [trace.socket(trace.main)]
    trace.bind(trace.main, fds[0], PLACE)
    fds.append(trace.dup(trace.main, fds[0]))
    for fd in fds:
        trace.listen(trace.main, fd)
    trace.reply_live()
    trace.pass_time(2 * SECOND_NS)
    for index, fd in enumerate(fds):
        trace.epoll_add(trace.worker(index), fd)
    return trace


def live_without_listener() -> TraceBuilder:
    trace = TraceBuilder(2)
    trace.reply_live()
    return trace


def many_dups() -> TraceBuilder:
    trace = TraceBuilder(2)
    fds = trace.shared_listener(PLACE)
    for _ in range(3):
        trace.dup(trace.main, fds[0])
    return trace


BROKEN: list[tuple[str, Callable[[], TraceBuilder], str]] = [
    ("only_listeners_registered", never_listened, "never listened"),
    ("only_listeners_registered", not_configured, "no configured listener"),
    ("no_unserved_sockets", unserved, "was not served for 2"),
    ("no_unserved_sockets", given_up, "was not served for"),
    ("sockets_match_workers", three_sockets, "has 3 sockets, not one or 2"),
    ("sockets_match_workers", shared_with_reuse_port, "one socket for all workers"),
    ("options_before_bind", late_option, "IP_FREEBIND was set after bind"),
    ("main_binds_and_listens", worker_listens, "by worker_0"),
    ("accepts_succeed", out_of_descriptors, "failed with EMFILE 3 times"),
    ("served_without_break", given_up, "was not served for"),
    ("live_means_served", live_before_served, "more than a second after LIVE"),
    ("live_means_served", live_without_listener, "served by 0 workers though Envoy is LIVE"),
    ("descriptors_bounded", many_dups, "more than 4 descriptors"),
]


def test_every_invariant_has_a_trace_that_breaks_it() -> None:
    assert {name for name, _, _ in BROKEN} == set(INVARIANTS)


@pytest.mark.parametrize("reuse_port", [True, False])
@pytest.mark.parametrize("name", INVARIANTS)
def test_invariant_on_a_sound_envoy_holds(name, reuse_port):
    assert judged(name, configured(sound(reuse_port=reuse_port).build())).status is Status.PASS


@pytest.mark.parametrize("name, make, words", BROKEN)
def test_invariant_that_is_broken_fails_and_says_how(name, make, words):
    finding = judged(name, configured(make().build()))

    assert finding.status is Status.FAIL
    assert words in words_of(finding).seen
    assert INVARIANTS[name].source in words_of(finding).hint


@pytest.mark.parametrize("name", INVARIANTS)
def test_invariant_with_a_lost_event_is_never_passed(name):
    trace = sound()
    lost = len(trace.events) // 2

    assert judged(name, configured(trace.build(lost=(lost,)))).status is Status.INCONCLUSIVE


@pytest.mark.parametrize("name, make, words", BROKEN)
def test_broken_invariant_with_a_lost_event_is_never_passed(name, make, words):
    trace = make()
    for lost in range(len(trace.events)):
        assert judged(name, configured(trace.build(lost=(lost,)))).status is not Status.PASS


def test_failed_accepts_are_plain_though_events_are_lost():
    trace = out_of_descriptors()

    assert judged("accepts_succeed", configured(trace.build(lost=(0,)))).status in (
        Status.FAIL,
        Status.INCONCLUSIVE,
    )
    lost = len(trace.events) - 1
    assert judged("accepts_succeed", configured(trace.build(lost=(lost,)))).status is Status.FAIL


@pytest.mark.parametrize(
    "name",
    ["only_listeners_registered", "no_unserved_sockets", "served_without_break"],
)
def test_invariant_on_serving_without_epoll_is_not_decided(name):
    trace = configured(sound().build())
    trace = replace(trace, header=replace(trace.header, unobserved=("epoll",)))

    assert judged(name, trace).status is Status.INCONCLUSIVE


@pytest.mark.parametrize("name", ["sockets_match_workers", "descriptors_bounded"])
def test_invariant_in_workers_without_their_number_is_not_decided(name):
    assert judged(name, configured(sound().build()), workers=0).status is Status.INCONCLUSIVE


def test_older_envoy_whose_workers_listen_is_not_judged_by_who_listens():
    trace = configured(worker_listens().build())
    trace = replace(trace, header=replace(trace.header, envoy=EnvoyIdentity("1.19.1")))

    assert judged("main_binds_and_listens", trace).status is Status.INCONCLUSIVE


def test_envoy_that_said_no_live_yet_is_not_decided():
    trace = TraceBuilder(2)
    trace.reuse_port_listener(PLACE)

    assert judged("live_means_served", configured(trace.build())).status is Status.INCONCLUSIVE


def test_all_means_every_invariant():
    assert InvariantsExpectation.model_validate({"invariants": "all"}).names == tuple(INVARIANTS)


def refused() -> Trace:
    trace = TraceBuilder(2)
    trace.events = [event for event in trace.events if event.call == "exec"]
    trace.outcome = Outcome(live=False, exit_code=1)
    return configured(trace.build())


@pytest.mark.parametrize("names", ["all", *([name] for name in INVARIANTS)])
def test_envoy_that_ends_at_once_leaves_nothing_to_judge(names):
    expectation = InvariantsExpectation.model_validate({"invariants": names})
    verdict = judge(refused(), [(0, expectation)], workers=2)
    assert {finding.status for finding in verdict.findings} == {Status.INCONCLUSIVE}


def test_invariant_without_anything_to_break_holds_beside_one_that_has():
    names = ["accepts_succeed", "main_binds_and_listens"]
    trace = TraceBuilder(2)
    trace.reuse_port_listener(PLACE)
    expectation = InvariantsExpectation.model_validate({"invariants": names})
    assert judge(configured(trace.build()), [(0, expectation)], workers=2).status is Status.PASS
    alone = judged("accepts_succeed", configured(trace.build()))
    assert (alone.status, words_of(alone).reason) == (
        Status.INCONCLUSIVE,
        "there was nothing to judge: 0 calls",
    )


@pytest.mark.parametrize(
    "outcome, reason",
    [
        (Outcome(live=False, exit_code=1), "Envoy ended before it was LIVE"),
        (Outcome(live=None, exit_code=1), "no LIVE reply was seen"),
    ],
)
def test_envoy_that_bound_and_ended_was_never_live(outcome, reason):
    trace = TraceBuilder(2)
    trace.reuse_port_listener(PLACE)
    trace.outcome = outcome
    found = judged("live_means_served", configured(trace.build()))
    assert (found.status, words_of(found).reason) == (Status.INCONCLUSIVE, reason)
