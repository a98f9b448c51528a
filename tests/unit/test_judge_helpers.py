"""Processes beside Envoy's: what they do is not done by main, nor by a worker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envoyassert.accounts import Network, Witness, WitnessRegistration, WitnessSocket
from envoyassert.asserts import parse_expectation
from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.judge.account_checks import KERNEL_CHECK
from envoyassert.judge.certificate import certify
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.report.call import thread_label
from envoyassert.testing import TraceBuilder, parse_address
from envoyassert.texts.facts import text
from envoyassert.texts.findings import words_of
from envoyassert.trace import STARTUP, Member, Outcome, Trace

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
PLACE = "0.0.0.0:15006"
LISTENER: dict[str, Any] = {"listener": {"port": 15006}}
HELPER = 4711


def verdict(trace: TraceBuilder | Trace, item: dict[str, Any], **options: Any) -> Verdict:
    built = trace.build(**options) if isinstance(trace, TraceBuilder) else trace
    return judge(built, [(0, parse_expectation(item))], workers=built.header.concurrency)


def status(trace: TraceBuilder | Trace, item: dict[str, Any], **options: Any) -> Status:
    return verdict(trace, item, **options).status


def by(trace: TraceBuilder, pid: int, call: str, ret: int | None, /, **args: Any) -> Event:
    """Let the first thread of another process do something."""
    event = trace.call(pid, call, ret, **args)
    event.pid = pid
    return event


def start_helper(trace: TraceBuilder, how: str) -> int:
    """Start a process beside Envoy's: a copy of it, or a program of its own."""
    if how != "beside":
        made = {"child_pid": HELPER, "child_tid": HELPER, "thread": False}
        trace.call(trace.main, "fork", None, **made)
    if how != "fork":
        by(trace, HELPER, "exec", 0, filename="/usr/bin/helper", argv=["helper"], name="helper")
    return HELPER


def helper_socket(trace: TraceBuilder, pid: int, *options: str) -> int:
    fd = 900
    kind = {"family": "AF_INET", "type": "SOCK_STREAM", "flags": [], "protocol": 0}
    by(trace, pid, "socket", fd, **kind)
    for name in options:
        value = {"level": "SOL_SOCKET", "name": name, "length": 4, "value": 1}
        by(trace, pid, "setsockopt", 0, fd=fd, **value)
    by(trace, pid, "bind", 0, fd=fd, address=parse_address(PLACE))
    return fd


HOW = pytest.mark.parametrize("how", ["fork", "exec", "beside"])


@HOW
@pytest.mark.parametrize(
    "item",
    [
        {**LISTENER, "bound": {"by": "main"}},
        {**LISTENER, "listen_by": "main"},
        {"invariants": ["main_binds_and_listens"]},
        {"never": {"call": "bind", "by": "other"}},
    ],
)
def test_helper_that_binds_and_listens_is_not_main(how: str, item: dict[str, Any]) -> None:
    trace = TraceBuilder(2)
    trace.reuse_port_listener(PLACE)
    assert status(trace, item) is PASS
    helper = start_helper(trace, how)
    assert status(trace, item) is PASS
    fd = helper_socket(trace, helper, "SO_REUSEPORT")
    by(trace, helper, "listen", 0, fd=fd, backlog=16)
    assert status(trace, item) is FAIL


@HOW
def test_socket_that_a_helper_alone_binds_is_not_mains(how: str) -> None:
    trace = TraceBuilder(2)
    fd = helper_socket(trace, start_helper(trace, how))
    by(trace, HELPER, "listen", 0, fd=fd, backlog=16)
    (finding,) = verdict(trace, {**LISTENER, "listen_by": "main"}).findings
    assert finding.status is FAIL
    assert words_of(finding).seen.startswith("listen() called by other (")
    assert f"process {HELPER}" in words_of(finding).seen
    assert status(trace, {**LISTENER, "listen_by": "other"}) is PASS


@HOW
@pytest.mark.parametrize("named", ["helper", "wrk:worker_0"])
def test_helper_that_serves_is_neither_main_nor_a_worker(how: str, named: str) -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener(PLACE)
    served = {**LISTENER, "served_by": "workers"}
    assert status(trace, served) is PASS
    helper = start_helper(trace, how)
    if how != "fork":
        fd = helper_socket(trace, helper, "SO_REUSEPORT")
        by(trace, helper, "listen", 0, fd=fd, backlog=16)
    made = {"child_pid": helper, "child_tid": helper + 1, "thread": True}
    by(trace, helper, "fork", None, **made)
    by(trace, helper, "rename", None, tid=helper + 1, name=named)
    by(trace, helper, "epoll_create1", 901, flags=0)
    registered = {"epfd": 901, "op": "EPOLL_CTL_ADD", "fd": fd, "events": ["EPOLLIN"]}
    by(trace, helper, "epoll_ctl", 0, **registered)
    trace.call(helper + 1, "epoll_wait", None, epfd=901).pid = helper
    assert status(trace, served) is FAIL
    assert status(trace, {**LISTENER, "served_by": "main"}) is FAIL


def test_helper_that_waits_in_accept_serves_as_well() -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener(PLACE)
    start_helper(trace, "fork")
    served = {**LISTENER, "served_by": "workers"}
    assert status(trace, served) is PASS
    by(trace, HELPER, "accept4", 950, fd=fd, address=parse_address("127.0.0.1:40000"), flags=[])
    (finding,) = verdict(trace, served).findings
    assert finding.status is FAIL
    assert f"process {HELPER}" in words_of(finding).seen
    by(trace, HELPER, "close", 0, fd=fd)
    assert status(trace, served) is PASS


def test_agent_that_starts_envoy_is_not_envoy() -> None:
    trace = TraceBuilder(1)
    trace.shared_listener(PLACE)
    agent = 50
    first = trace.events[0]
    start = Event(first.ts_ns - 2, agent, agent, "exec", 0, {"filename": "/bin/agent", "argv": []})
    start.args["name"] = "agent"
    made = {"child_pid": trace.main, "child_tid": trace.main, "thread": False}
    fork = Event(first.ts_ns - 1, agent, agent, "fork", None, made)
    built = trace.build()
    built.events[:0] = [start, fork]
    renumber(built)
    assert fold(built).threads[agent].role == "other"
    assert fold(built).threads[trace.main].role == "main"
    assert status(built, {**LISTENER, "bound": {"by": "main"}, "served_by": "workers"}) is PASS
    # The end came before there were workers: the name of the program decides.
    early = [e for e in built.events if "wrk:worker" not in str(e.args)]
    built = replace(built, events=early)
    renumber(built)
    roles = {tid: thread.role for tid, thread in fold(built).threads.items()}
    assert (roles[agent], roles[trace.main]) == ("other", "main")


def renumber(trace: Trace) -> None:
    for number, event in enumerate(trace.events, 1):
        event.cpu, event.seq = 0, number
    counters = replace(trace.end.cpus[0], emitted=len(trace.events))
    trace.end = replace(trace.end, cpus=(counters,))


def test_program_with_threads_that_are_called_workers_is_not_the_envoy_that_was_looked_at() -> None:
    trace = TraceBuilder(1)
    trace.shared_listener(PLACE)
    helper = start_helper(trace, "exec")
    by(trace, helper, "rename", None, tid=helper, name="wrk:worker_0")
    witnessed = replace(trace.build(), witness=Witness(1, network=Network(), pid=trace.main))
    assert fold(witnessed).threads[helper].role == "other"


def test_envoy_that_an_agent_started_again_has_a_main_of_its_own() -> None:
    trace = TraceBuilder(1)
    again = 3000
    made = {"child_pid": again, "child_tid": again, "thread": False}
    trace.call(trace.main, "fork", None, **made)
    program = {"filename": "/usr/local/bin/envoy", "argv": ["envoy"], "name": "envoy"}
    by(trace, again, "exec", 0, **program)
    made = {"child_pid": again, "child_tid": again + 1, "thread": True}
    by(trace, again, "fork", None, **made)
    by(trace, again, "rename", None, tid=again + 1, name="wrk:worker_0")
    witnessed = replace(trace.build(), witness=Witness(1, network=Network(), pid=trace.main))
    roles = {tid: thread.role for tid, thread in fold(witnessed).threads.items()}
    assert (roles[again], roles[again + 1]) == ("main", "worker_0")


def test_after_a_loss_a_process_may_be_an_envoy_whose_start_is_missing() -> None:
    trace = TraceBuilder(1)
    trace.shared_listener(PLACE)
    fd = helper_socket(trace, start_helper(trace, "exec"), "SO_REUSEPORT")
    by(trace, HELPER, "listen", 0, fd=fd, backlog=16)
    lost = (1,)  # the first epoll_create1: anything
    item = {**LISTENER, "listen_by": "main"}
    assert status(trace, item) is FAIL
    assert status(trace, item, lost=lost) is INCONCLUSIVE
    assert status(trace, {"never": {"call": "listen", "by": "main"}}, lost=lost) is INCONCLUSIVE


def test_what_a_helper_of_the_second_envoy_does_is_of_the_second_envoy() -> None:
    trace = TraceBuilder(1, cpus=1)
    trace.shared_listener("0.0.0.0:80")
    trace.end_phase(STARTUP, STARTUP)
    second = TraceBuilder(1, pid=2000, cpus=1)
    (fd,) = second.shared_listener(PLACE)
    made = {"child_pid": HELPER, "child_tid": HELPER, "thread": False}
    second.call(second.main, "fork", None, **made)
    by(second, HELPER, "accept4", 950, fd=fd, address=parse_address("127.0.0.1:4000"), flags=[])
    built = trace.build()
    for event in second.events:
        event.ts_ns += built.phases[0].end_ns
    built.events += second.events
    renumber(built)
    members = (
        Member("first", trace.main, 1, Outcome(live=True)),
        Member("second", second.main, 1, Outcome(live=True)),
    )
    begin_ns, end_ns = built.phases[0].end_ns + 1, built.events[-1].ts_ns + 1
    phase = replace(built.phases[0], begin_ns=begin_ns, end_ns=end_ns)
    phase = replace(phase, name="second", kind="start", envoys=members)
    built = replace(built, phases=(*built.phases, phase))
    item = {**LISTENER, "at_end_of": "second", "served_by": "workers"}
    assert verdict(built, {**item, "envoy": "second"}).findings[-1].status is FAIL
    other = {"listener": {"port": 80}, "at_end_of": "second", "served_by": "workers"}
    assert verdict(built, {**other, "envoy": "first"}).findings[-1].status is PASS


def test_thread_of_a_helper_is_shown_with_its_number() -> None:
    trace = TraceBuilder(1)
    start_helper(trace, "exec")
    graph = fold(trace.build())
    assert thread_label(graph, HELPER) == f"helper/{HELPER}"
    assert thread_label(graph, trace.main) == f"main/{trace.main}"


def test_epolls_that_a_forked_helper_inherited_are_those_of_envoy() -> None:
    """The kernel shows their registrations at the helper as well."""
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener("127.0.0.1:80")
    start_helper(trace, "fork")
    by(trace, HELPER, "epoll_create1", 901, flags=0)
    address = parse_address("127.0.0.1:80")
    both = (trace.main, HELPER)
    sockets = tuple(WitnessSocket(pid, fd, 7, 9, address, False, True) for pid in both)
    epfd = trace.epoll(trace.worker(0))
    registrations = tuple(WitnessRegistration(pid, epfd, fd, 7) for pid in both)
    built = trace.build()
    after_ns = built.events[-1].ts_ns + 1
    witness = Witness(after_ns, sockets, registrations, pid=trace.main)
    built = replace(built, witness=witness)
    checks = {check.name: check for check in certify(built, fold(built)).checks}
    assert checks[KERNEL_CHECK].ok, text(checks[KERNEL_CHECK].found)
