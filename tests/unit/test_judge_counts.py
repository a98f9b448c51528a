"""Counts and quantifiers: right, wrong, and not known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from envoyassert.addresses import Address
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import EnvoyIdentity, ListenerRecord, Trace
from envoyassert.words.registry import Expectation

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
PLACE = "0.0.0.0:15006"
PORT: dict[str, Any] = {"listener": {"port": 15006}}
ITEMS = TypeAdapter(list[Expectation])


def judged(trace: TraceBuilder | Trace, *items: dict[str, Any], workers: int = 2) -> Verdict:
    built = trace.build() if isinstance(trace, TraceBuilder) else trace
    return judge(built, list(enumerate(ITEMS.validate_python(items))), workers=workers)


def status(trace: TraceBuilder | Trace, *items: dict[str, Any], workers: int = 2) -> Status:
    return judged(trace, *items, workers=workers).status


def worst(verdict: Verdict) -> Finding:
    return next(f for f in verdict.findings if f.status is verdict.status)


def reuse_port(workers: int = 2, **options: Any) -> TraceBuilder:
    trace = TraceBuilder(workers, **options)
    trace.reuse_port_listener(PLACE)
    return trace


def shared(workers: int = 2) -> TraceBuilder:
    trace = TraceBuilder(workers)
    trace.shared_listener(PLACE)
    return trace


@pytest.mark.parametrize(
    "right, wrong",
    [
        (2, 3),
        ("workers", "none"),
        ({"exactly": 2}, {"exactly": 1}),
        ({"at_least": 2}, {"at_least": 3}),
        ({"at_most": 2}, {"at_most": 1}),
        ({"between": [1, 2]}, {"between": [3, 4]}),
        ({"between": ["workers", {"workers": 2}]}, {"between": [0, {"workers": 1, "plus": -1}]}),
        ({"workers": 2, "plus": -2}, {"workers": 1, "plus": -1}),
    ],
)
def test_count_in_every_form(right: Any, wrong: Any) -> None:
    assert status(reuse_port(), {**PORT, "sockets": right}) is PASS
    assert status(reuse_port(), {**PORT, "sockets": wrong}) is FAIL


def test_none_is_zero_everywhere() -> None:
    assert status(reuse_port(), {"calls": {"call": "dup", "times": "none"}}) is PASS
    assert status(shared(), {"calls": {"call": "dup", "times": "none"}}) is FAIL
    assert status(reuse_port(), {**PORT, "bind_failed": {"times": "none"}}) is PASS
    assert status(reuse_port(), {**PORT, "listen_calls": "none"}) is FAIL
    assert status(reuse_port(), {**PORT, "descriptors": {"spare": "none"}}) is PASS


def test_bounds_that_grow_with_an_unknown_number_of_workers_are_no_answer() -> None:
    item = {**PORT, "sockets": {"between": [1, "workers"]}}
    assert status(reuse_port(), item, workers=0) is INCONCLUSIVE


@pytest.mark.parametrize(
    "item, right, wrong",
    [
        # each worker
        ({"calls": {"call": "epoll_ctl", **PORT, "each": "worker", "times": 1}}, reuse_port, None),
        ({"calls": {"call": "epoll_ctl", **PORT, "each": "worker", "times": 2}}, None, reuse_port),
        ({"calls": {"call": "listen", "each": "worker"}}, None, reuse_port),
        ({**PORT, "sockets": {"serving": 1, "each": "worker"}}, reuse_port, None),
        ({**PORT, "sockets": {"serving": 2, "each": "worker"}}, None, reuse_port),
        ({**PORT, "descriptors": {"serving": 1, "each": "worker"}}, shared, None),
        ({**PORT, "descriptors": {"serving": "none", "each": "worker"}}, None, shared),
        ({**PORT, "listen_calls": {"times": "none", "each": "worker"}}, shared, None),
        # each socket
        ({**PORT, "listen_calls": {"times": 1, "each": "socket"}}, reuse_port, shared),
        ({**PORT, "listen_calls": {"times": "workers", "each": "socket"}}, shared, reuse_port),
        ({**PORT, "descriptors": {"live": 1, "each": "socket"}}, reuse_port, shared),
        ({**PORT, "descriptors": {"ever": 2, "each": "socket"}}, shared, reuse_port),
        ({**PORT, "descriptors": {"spare": 0, "each": "socket"}}, shared, None),
        (
            {"calls": {"call": "dup", **PORT, "each": "socket", "times": "none"}},
            reuse_port,
            shared,
        ),
    ],
)
def test_each_right_passes_and_wrong_fails(item: dict[str, Any], right: Any, wrong: Any) -> None:
    if right is not None:
        assert status(right(), item) is PASS
    if wrong is not None:
        assert status(wrong(), item) is FAIL


def test_each_names_those_that_differ() -> None:
    trace = reuse_port()
    trace.epoll_add(trace.worker(1), trace.socket(trace.worker(1)))
    finding = worst(judged(trace, {"calls": {"call": "epoll_ctl", "each": "worker", "times": 1}}))
    assert words_of(finding).expected == "epoll_ctl() exactly 1 time for each worker"
    assert words_of(finding).seen == "worker_1 2 times (1 of 2 workers)"


@pytest.mark.parametrize(
    "item",
    [
        {"calls": {"call": "epoll_ctl", "each": "worker", "times": {"at_least": 0}}},
        {**PORT, "sockets": {"serving": {"at_least": 0}, "each": "worker"}},
    ],
)
def test_each_worker_is_never_said_of_another_number_of_workers(item: dict[str, Any]) -> None:
    assert status(reuse_port(), item) is PASS
    assert status(reuse_port(), item, workers=3) is FAIL
    assert status(reuse_port(), item, workers=1) is FAIL
    assert status(reuse_port(), item, workers=0) is INCONCLUSIVE
    assert status(TraceBuilder(0), item) is FAIL


@pytest.mark.parametrize(
    "item",
    [
        {**PORT, "listen_calls": {"times": "none", "each": "socket"}},
        {**PORT, "descriptors": {"live": "none", "each": "socket"}},
        {"calls": {"call": "dup", **PORT, "each": "socket", "times": "none"}},
    ],
)
def test_each_socket_is_never_said_of_no_socket(item: dict[str, Any]) -> None:
    assert status(TraceBuilder(2), item) is FAIL


def test_each_under_loss_is_no_more_than_was_seen_for_sure() -> None:
    trace = reuse_port()
    item = {**PORT, "listen_calls": {"times": 1, "each": "socket"}}
    lost = next(i for i, e in enumerate(trace.events) if e.call == "listen")
    assert status(trace.build((lost,)), item) is INCONCLUSIVE
    many = {**PORT, "listen_calls": {"times": 0, "each": "socket"}}
    assert status(trace.build((len(trace.events) - 1,)), many) is FAIL
    rename = next(i for i, e in enumerate(trace.events) if e.call == "rename")
    item = {"calls": {"call": "epoll_ctl", "each": "worker", "times": 1}}
    assert status(trace.build((rename,)), item) is INCONCLUSIVE


# at an instant


def test_count_at_an_instant_is_not_that_at_the_end() -> None:
    trace = TraceBuilder(2)
    fds = trace.reuse_port_listener(PLACE)
    trace.reply_live()
    trace.close(trace.main, fds[1])
    assert status(trace, {**PORT, "sockets": {"ever": 2, "live": 1}}) is PASS
    assert status(trace, {**PORT, "sockets": {"live": 2, "serving": 2, "live_at": "live"}}) is PASS
    assert status(trace, {**PORT, "sockets": {"live": 1, "live_at": "live"}}) is FAIL
    assert status(trace, {**PORT, "descriptors": {"spare": 0, "live_at": "live"}}) is PASS
    first = {"call": "listen", "which": "first"}
    assert status(trace, {**PORT, "sockets": {"spare": 2, "live_at": first}}) is PASS
    bound = {**PORT, "becomes": "bound"}
    assert status(trace, {**PORT, "sockets": {"live": 1, "live_at": bound}}) is PASS
    assert status(trace, {**PORT, "sockets": {"live": "none", "live_at": "start"}}) is PASS
    assert status(trace, {**PORT, "sockets": {"live": 1, "live_at": "start"}}) is FAIL
    each = {"serving": 1, "each": "worker", "live_at": "live"}
    assert status(trace, {**PORT, "sockets": each}) is PASS
    assert status(trace, {**PORT, "sockets": {"serving": 1, "each": "worker"}}) is FAIL


def test_count_that_changes_between_question_and_reply_is_open() -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.reuse_port_listener(PLACE)
    at_ns = trace.events[-1].ts_ns
    trace.close(trace.main, fd)
    item = {**PORT, "sockets": {"live": 1, "live_at": "live"}}
    for asked_ns, answered_ns, expected in [
        (at_ns + 1, at_ns + 2, PASS),
        (at_ns + 1, at_ns + 2000, INCONCLUSIVE),
        (at_ns + 1500, at_ns + 2000, FAIL),
    ]:
        trace.outcome = replace(trace.outcome, live_asked_ns=asked_ns, live_ns=answered_ns)
        assert status(trace, item, workers=1) is expected


def test_count_at_an_instant_that_never_came_or_is_several() -> None:
    trace = reuse_port()
    for moment, expected in [
        ({"call": "shutdown"}, FAIL),
        ({"call": "listen"}, INCONCLUSIVE),
        ("live", INCONCLUSIVE),
    ]:
        assert status(trace, {**PORT, "sockets": {"live": 2, "live_at": moment}}) is expected
    last = {"call": "listen", "which": "last"}
    item = {**PORT, "sockets": {"live": 2, "live_at": last}}
    assert status(trace, item) is PASS
    assert status(trace.build((3,)), item) is INCONCLUSIVE


# several addresses


def two_addresses(missing: bool = False) -> TraceBuilder:
    places = (Address.inet("127.0.0.1", 80), Address.inet("::1", 81))
    trace = TraceBuilder(2, listeners=(ListenerRecord("both", "TCP", places),))
    trace.reuse_port_listener("127.0.0.1:80")
    if not missing:
        trace.reuse_port_listener("[::1]:81")
    return trace


def test_listener_with_several_addresses_takes_each_or_total() -> None:
    both: dict[str, Any] = {"listener": {"name": "both"}}
    verdict = judged(two_addresses(), {**both, "sockets": 2})
    assert verdict.status is INCONCLUSIVE
    assert "take: each_address or total" in words_of(verdict.findings[0]).reason
    each = {**both, "take": "each_address", "sockets": 2, "listened": {"by": "workers"}}
    verdict = judged(two_addresses(), each)
    assert verdict.status is PASS
    assert [words_of(finding).subject for finding in verdict.findings] == [
        *["listener both 127.0.0.1:80"] * 2,
        *["listener both [::1]:81"] * 2,
    ]
    total = {**both, "take": "total", "sockets": 4}
    assert status(two_addresses(), total) is PASS
    assert status(two_addresses(missing=True), total) is FAIL
    verdict = judged(two_addresses(missing=True), each)
    assert {words_of(f).subject for f in verdict.with_status(FAIL)} == {"listener both [::1]:81"}
    assert status(two_addresses(), total, {"no_others": True}) is PASS
    assert status(two_addresses(), each, {"no_others": True}) is PASS
    # Of calls those on all of its sockets are meant.
    calls = {"calls": {"call": "bind", **both, "times": 4}}
    assert status(two_addresses(), calls) is PASS
    assert status(two_addresses(missing=True), calls) is FAIL


def test_each_address_of_a_listener_by_its_port_is_that_one() -> None:
    item = {"listener": {"port": 80}, "take": "each_address", "sockets": 2}
    assert status(two_addresses(), item) is PASS
    unknown = {"listener": {"name": "x"}, "take": "each_address", "sockets": 2}
    assert status(two_addresses(), unknown) is INCONCLUSIVE


# by version


def of_version(version: str) -> Trace:
    trace = reuse_port().build()
    trace.header = replace(trace.header, envoy=EnvoyIdentity(version))
    return trace


OLD = {**PORT, "sockets": 1, "when": {"envoy": "<1.20"}}
NEW = {**PORT, "sockets": 2, "when": {"envoy": ">=1.20"}}


def test_expectation_is_judged_for_its_versions_alone() -> None:
    assert status(of_version("1.40.0"), OLD, NEW) is PASS
    assert status(of_version("1.19.1"), OLD, NEW) is FAIL
    assert [f.path[1] for f in judged(of_version("1.19.1"), OLD, NEW).findings] == [0]
    never = {"never": {"call": "bind"}, "when": {"envoy": ">=1.20, <1.40"}}
    assert status(of_version("1.39.9"), never) is FAIL
    assert status(of_version("1.40.0"), never, NEW) is PASS


def test_unknown_version_and_nothing_that_applies_are_no_pass() -> None:
    verdict = judged(of_version(""), OLD, NEW, {"never": {"call": "dup"}})
    assert verdict.status is INCONCLUSIVE
    assert {words_of(f).reason for f in verdict.with_status(INCONCLUSIVE)} == {
        "the version of this Envoy is not known"
    }
    verdict = judged(of_version("1.40.0"), OLD)
    assert verdict.status is INCONCLUSIVE
    assert words_of(verdict.findings[0]).reason == (
        "no expectation is about Envoy 1.40.0: every `when` excludes it"
    )
