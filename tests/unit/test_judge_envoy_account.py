"""Envoy's own account, and the network's, against the trace: what differs leaves no PASS."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from envoyassert.accounts import (
    EnvoyAccount,
    EnvoyListener,
    Network,
    NetworkSocket,
    Witness,
    WitnessSocket,
)
from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.graph.fold import fold
from envoyassert.judge.account_checks import KERNEL_CHECK
from envoyassert.judge.certificate import certify
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Check, Status, Verdict
from envoyassert.testing import TraceBuilder
from envoyassert.texts.facts import text
from envoyassert.texts.findings import words_of
from envoyassert.trace import OLD_FORMAT, ListenerRecord, Trace
from envoyassert.trace_file import parse_trace, trace_lines

ADDRESS = Address.inet("127.0.0.1", 80)
ADMIN = Address.inet("127.0.0.1", 9901)
STATS = {
    "listener_manager.total_listeners_active": 1,
    "listener_manager.total_listeners_draining": 0,
    "listener_manager.total_listeners_warming": 0,
    "listener_manager.workers_started": 1,
    "server.concurrency": 2,
    "server.state": 0,
}
RIGHT = {"listener": {"port": 80}, "bound": {"times": 2}}
WRONG = {"listener": {"port": 80}, "bound": {"times": 3}}


def built() -> TraceBuilder:
    records = (
        ListenerRecord("web", "TCP", (ADDRESS,)),
        ListenerRecord("unbound", "TCP", ()),
        ListenerRecord("admin", "TCP", (ADMIN,), "admin"),
    )
    trace = TraceBuilder(2, listeners=records)
    trace.reuse_port_listener(str(ADDRESS))
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, str(ADMIN))
    trace.listen(trace.main, fd)
    return trace


def agreed(trace: TraceBuilder) -> Trace:
    """Return the trace with accounts that say the same, taken after its last event."""
    whole = trace.build()
    now = whole.events[-1].ts_ns
    entries = []
    for socket in fold(whole).listening():
        for descriptor in socket.descriptors:
            if descriptor.is_open:
                number = descriptor.fd
                reuse_port = socket.address == ADDRESS
                entries.append(
                    WitnessSocket(
                        *(trace.main, number, number, number, socket.address, reuse_port, True),
                        {f"SOL_SOCKET/{option.name}": 1 for option in socket.options},
                    )
                )
    network = Network(
        tuple(NetworkSocket("TCP", e.address, e.inode, e.cookie, 0, 4096) for e in entries), 4096
    )
    listeners = (EnvoyListener("web", (ADDRESS,)), EnvoyListener("unbound", (ADDRESS,)))
    account = EnvoyAccount(now + 30, now + 40, listeners, STATS)
    whole.witness = Witness(
        now + 20, tuple(entries), (), "", now + 10, trace.main, network, account
    )
    # The registrations are distinguished elsewhere; here nothing waits for the sockets.
    whole.events = [event for event in whole.events if event.call != "epoll_ctl"]
    for cpu in (0, 1):
        own = [event for event in whole.events if event.cpu == cpu]
        for seq, event in enumerate(own, 1):
            event.seq = seq
    counts = [sum(event.cpu == cpu for event in whole.events) for cpu in (0, 1)]
    cpus = tuple(
        replace(counters, emitted=count)
        for counters, count in zip(whole.end.cpus, counts, strict=True)
    )
    whole.end = replace(whole.end, cpus=cpus)
    return whole


def check_of(trace: Trace, name: str) -> Check:
    return next(check for check in certify(trace, fold(trace)).checks if check.name == name)


def verdict(trace: Trace, item: dict[str, Any]) -> Verdict:
    return judge(trace, [(0, parse_expectation(item))], workers=2)


def with_envoy(trace: Trace, **changes: Any) -> Trace:
    assert trace.witness is not None
    assert trace.witness.envoy is not None
    trace.witness = replace(trace.witness, envoy=replace(trace.witness.envoy, **changes))
    return trace


def with_network(trace: Trace, change: Callable[[NetworkSocket], NetworkSocket | None]) -> Trace:
    assert trace.witness is not None
    assert trace.witness.network is not None
    first, *rest = trace.witness.network.sockets
    changed = change(first)
    sockets = tuple(rest) if changed is None else (changed, *rest)
    network = replace(trace.witness.network, sockets=sockets)
    trace.witness = replace(trace.witness, network=network)
    return trace


def test_agreement_is_certified_with_what_was_compared() -> None:
    trace = agreed(built())
    kernel, envoy = check_of(trace, KERNEL_CHECK), check_of(trace, "Envoy agrees")
    assert (kernel.ok, envoy.ok) == (True, True)
    assert kernel.found["numbers"] == {"socket descriptor": 3, "option value": 4}
    assert text(kernel.found).endswith("4 option values compared, 3 sockets in its network")
    assert text(envoy.found) == "1 listener, 3 listening sockets, 2 workers compared"
    assert verdict(trace, RIGHT).status is Status.PASS


ENVOY_SAYS = {
    "another address": (
        {"listeners": (EnvoyListener("web", (Address.inet("127.0.0.1", 81),)),)},
        "Envoy says that its listener web is at 127.0.0.1:81, the trace has no socket there",
    ),
    "no listener": (
        {"listeners": ()},
        "the trace has a socket that listens on 127.0.0.1:80, Envoy says nothing of a listener",
    ),
    "more workers": (
        {"stats": {**STATS, "server.concurrency": 3}},
        "Envoy says that it has 3 workers, the trace has 2",
    ),
    "not live": (
        {"stats": {**STATS, "server.state": 3}},
        "Envoy says that its state is INITIALIZING, /ready said LIVE before",
    ),
    "silence": ({"error": "the admin endpoint did not answer: timed out"}, "did not answer"),
}


@pytest.mark.parametrize("changes, words", ENVOY_SAYS.values(), ids=ENVOY_SAYS)
def test_envoy_that_says_otherwise_leaves_no_pass_and_takes_no_fail(
    changes: dict[str, Any], words: str
) -> None:
    trace = with_envoy(agreed(built()), **changes)
    assert words in text(check_of(trace, "Envoy agrees").found)
    found = verdict(trace, RIGHT)
    assert found.status is Status.INCONCLUSIVE
    assert words in words_of(found.findings[0]).reason
    assert verdict(trace, WRONG).status is Status.FAIL


@pytest.mark.parametrize("gauge", ["draining", "warming"])
def test_listeners_that_come_or_go_explain_sockets_that_envoy_does_not_list(gauge: str) -> None:
    stats = {**STATS, f"listener_manager.total_listeners_{gauge}": 1}
    trace = with_envoy(agreed(built()), listeners=(), stats=stats)
    assert check_of(trace, "Envoy agrees").ok is True
    del stats[f"listener_manager.total_listeners_{gauge}"]
    trace = with_envoy(agreed(built()), listeners=(), stats=stats)
    assert check_of(trace, "Envoy agrees").ok is True


def test_envoy_that_was_not_up_need_not_answer() -> None:
    trace = with_envoy(agreed(built()), error="the admin endpoint did not answer: refused")
    trace.end = replace(trace.end, outcome=replace(trace.end.outcome, live=False))
    assert check_of(trace, "Envoy agrees").ok is None


def test_what_changes_while_envoy_answers_is_not_held_against_it() -> None:
    """Closed by a worker after Envoy stopped listing it; the close is recorded in between."""
    builder = built()
    trace = agreed(builder)
    assert trace.witness is not None
    assert trace.witness.envoy is not None
    later = trace.witness.envoy.begun_ns + 5
    fds = [s.fd for s in trace.witness.sockets if s.address == ADDRESS]
    builder.pass_time(later - trace.events[-1].ts_ns)
    for fd in fds:
        trace.events.append(builder.call(builder.worker(0), "close", 0, fd=fd))
    counts = [sum(event.cpu == cpu for event in trace.events) for cpu in (0, 1)]
    for cpu in (0, 1):
        for seq, event in enumerate((e for e in trace.events if e.cpu == cpu), 1):
            event.seq = seq
    trace.end = replace(
        trace.end,
        cpus=tuple(
            replace(c, emitted=count) for c, count in zip(trace.end.cpus, counts, strict=True)
        ),
    )
    trace = with_envoy(trace, listeners=(), ts_ns=later + 1_000_000)
    assert check_of(trace, "Envoy agrees").ok is True
    # Had Envoy answered before the second of the two closes began, it would contradict.
    early = with_envoy(trace, begun_ns=later - 3, ts_ns=later - 2)
    assert check_of(early, "Envoy agrees").ok is False


NETWORK_SAYS: dict[str, tuple[Callable[[NetworkSocket], NetworkSocket | None], str]] = {
    "not there": (lambda s: None, "listens by the trace, sock_diag does not list it"),
    "elsewhere": (
        lambda s: replace(s, address=Address.inet("127.0.0.1", 81)),
        "at 127.0.0.1:81, getsockname() at 127.0.0.1:80",
    ),
    "another": (lambda s: replace(s, cookie=1), "cookie 1 by sock_diag"),
    "a smaller backlog": (
        lambda s: replace(s, backlog=128),
        "the kernel has the backlog 128 for 127.0.0.1:80, the trace 4096 (listen() with -1, som",
    ),
}


@pytest.mark.parametrize("change, words", NETWORK_SAYS.values(), ids=NETWORK_SAYS)
def test_network_that_shows_otherwise_leaves_the_verdict_open(
    change: Callable[[NetworkSocket], NetworkSocket | None], words: str
) -> None:
    trace = with_network(agreed(built()), change)
    assert words in text(check_of(trace, KERNEL_CHECK).found)
    found = verdict(trace, RIGHT)
    assert found.status is Status.INCONCLUSIVE
    assert words in words_of(found.findings[0]).reason


def test_foreign_sockets_are_named_and_contradict_nothing() -> None:
    trace = agreed(built())
    assert trace.witness is not None
    assert trace.witness.network is not None
    foreign = NetworkSocket("UDP", Address.inet("127.0.0.11", 53), 4711)
    network = replace(trace.witness.network, sockets=(*trace.witness.network.sockets, foreign))
    trace.witness = replace(trace.witness, network=network)
    check = check_of(trace, KERNEL_CHECK)
    assert check.ok is True
    assert text(check.found).endswith("of others than Envoy at that instant: UDP 127.0.0.11:53")


def test_call_without_result_and_thread_without_beginning_leave_absence_open() -> None:
    trace = agreed(built())
    assert check_of(trace, "paired").ok is True
    listen = next(event for event in trace.events if event.call == "listen")
    listen.ret = None
    assert text(check_of(trace, "paired").found) == f"listen of thread {listen.tid} has no result"
    assert verdict(trace, RIGHT).status is Status.INCONCLUSIVE
    trace = agreed(built())
    fork = next(event for event in trace.events if event.call == "fork")
    fork.args["child_tid"] = 4711
    assert "the beginning of thread 1001 was not seen" in text(check_of(trace, "paired").found)


def test_accounts_survive_the_trace_file() -> None:
    trace = agreed(built())
    lines = list(trace_lines(trace))
    assert parse_trace(lines).witness == trace.witness
    # As files of earlier versions have it.
    old = [json.loads(line) for line in lines[:-1]]
    old[0]["format"] = OLD_FORMAT
    (entry,) = (line["witness"] for line in old if "witness" in line)
    for field in ("begun_ns", "pid", "network", "envoy"):
        del entry[field]
    read = parse_trace([json.dumps(line) for line in old])
    assert read.witness is not None
    assert (read.witness.begun_ns, read.witness.network, read.witness.envoy) == (None, None, None)
    assert check_of(read, KERNEL_CHECK).ok is True


def backlog(trace: Trace, **expected: Any) -> Verdict:
    return verdict(trace, {"listener": {"port": 80}, "backlog": expected})


@pytest.mark.parametrize(
    "expected, status",
    [
        ({"requested": -1, "effective": "somaxconn"}, Status.PASS),
        ({"effective": 4096}, Status.PASS),
        ({"effective": 128}, Status.FAIL),
        ({"requested": 5, "effective": 4096}, Status.FAIL),
    ],
)
def test_effective_backlog_is_what_the_kernel_shows(
    expected: dict[str, Any], status: Status
) -> None:
    assert backlog(agreed(built()), **expected).status is status


def test_effective_backlog_that_the_kernel_did_not_show_is_open() -> None:
    trace = agreed(built())
    assert trace.witness is not None
    whole = trace.witness
    for witness, reason in (
        (None, "was not asked"),
        (replace(whole, network=None), "was not asked"),
        (replace(whole, network=Network(error="the network namespace is gone")), "is gone"),
        (replace(whole, network=Network()), "sock_diag does not list it"),
    ):
        trace.witness = witness
        found = backlog(trace, effective=4096)
        assert found.status is Status.INCONCLUSIVE
        assert reason in words_of(found.findings[0]).reason
    assert whole.network is not None
    trace.witness = replace(whole, network=replace(whole.network, somaxconn=None))
    assert "could not be read" in words_of(backlog(trace, effective="somaxconn").findings[0]).reason


def test_effective_backlog_of_a_listener_that_never_listened_fails() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, str(ADDRESS))
    whole = trace.build()
    now = whole.events[-1].ts_ns + 1
    entry = WitnessSocket(trace.main, fd, 7, 7, ADDRESS, False, False)
    whole.witness = Witness(now, (entry,), network=Network((), 4096))
    assert backlog(whole, effective=4096).status is Status.FAIL
