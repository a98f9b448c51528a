"""The kernel's account of a real Envoy: it agrees with the trace, and a change by others is seen.

Another process takes a copy of one of Envoy's descriptors (pidfd_getfd(2)) and changes the socket,
or the epoll, by it. No call of Envoy's does that, so that only the account can show it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from envoyassert.judge.account_checks import KERNEL_CHECK
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.launch.choose import choose_launcher, source_of
from envoyassert.launch.kernel import pidfd_getfd
from envoyassert.probe import Probe
from envoyassert.runner import LiveRun, run_plan
from envoyassert.scenario.plan import RunPlan
from envoyassert.texts.facts import text
from envoyassert.trace import Trace
from envoyassert.witness import take_witness
from tests.e2e.shipped import plan_of

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

#: Kinds of sockets, options and changes; one run of each.
KINDS = (
    *("udp", "quic", "unix_path", "unix_abstract", "mptcp", "ipv6", "tcp_keepalive"),
    *("tcp_fast_open", "transparent", "freebind", "socket_options_by_state", "cpu_locality"),
    *("listener_netns", "hot_restart", "lds_options_update", "lds_full_update"),
    *("drain_listeners", "connection_limit", "emfile", "quit"),
)


def verdict_of(trace: Trace, plan: RunPlan) -> Verdict:
    return judge(trace, plan.expectations, workers=plan.workers)


def kernel_detail(verdict: Verdict) -> tuple[bool | None, str]:
    return next((c.ok, text(c.found)) for c in verdict.certificate.checks if c.name == KERNEL_CHECK)


@pytest.mark.parametrize("name", KINDS)
def test_kernel_agrees_with_every_kind_of_scenario(name: str, probe: Probe) -> None:
    result = run_plan(plan_of(name), probe, "process")
    verdict = verdict_of(result.trace, result.plan)
    ok, detail = kernel_detail(verdict)
    assert ok is True, detail
    assert "option value" in detail
    assert "epoll registration" in detail
    assert verdict.certificate.uncompared == {}
    header, phases = result.trace.header, result.trace.phases
    assert [phase.name for phase in phases[1:]] == list(header.steps)
    assert 0 < header.began_ns < result.trace.events[0].ts_ns
    assert result.trace.events[-1].ts_ns < result.trace.end.ended_ns
    accounts = list(result.trace.accounts())
    assert accounts
    assert all(one.mask is not None for account in accounts for one in account.registrations)
    # Which options the kernel was asked for is known from the run itself.
    set_here = {
        f"{event.args['level']}/{event.args['name']}"
        for event in result.trace.events
        if event.call == "setsockopt"
    }
    listed = {
        name for account in accounts for entry in account.sockets for name in entry.options or ()
    }
    assert listed
    assert listed <= set_here
    assert verdict.status in (Status.PASS, Status.KNOWN_DEFECT), verdict.findings


@contextlib.contextmanager
def copied(run: LiveRun, fd: int) -> Iterator[int]:
    """Give a copy of one of Envoy's descriptors."""
    pidfd = os.pidfd_open(run.pid)
    try:
        copy = pidfd_getfd(pidfd, fd)
        try:
            yield copy
        finally:
            os.close(copy)
    finally:
        os.close(pidfd)


def listener_fd(run: LiveRun, port: int) -> int:
    sockets = take_witness(run.pid).sockets
    return next(s.fd for s in sockets if s.address is not None and s.address.port == port)


def set_option(run: LiveRun, port: int, option: int, value: int) -> None:
    with (
        copied(run, listener_fd(run, port)) as copy,
        socket.socket(fileno=os.dup(copy)) as borrowed,
    ):
        borrowed.setsockopt(socket.SOL_SOCKET, option, value)


def unset_keepalive(run: LiveRun) -> None:
    set_option(run, 10000, socket.SO_KEEPALIVE, 0)


def set_what_envoy_did_not(run: LiveRun) -> None:
    set_option(run, 10000, socket.SO_OOBINLINE, 1)


#: The kernel knows a registration by the file and the number that it was made with, so that is what
#: the copy must be called; in a process of its own, where the number is free.
_WATCH_OUTPUT_TOO = """
import os, select, sys
listener, epoll, number = map(int, sys.argv[1:])
free = max(listener, epoll, number) + 1
os.dup2(epoll, free)
if listener != number:
    os.dup2(listener, number)
select.epoll.fromfd(free).modify(number, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
"""


def watch_output_too(run: LiveRun) -> None:
    """Change the events that a worker waits for on a listener's descriptor."""
    fd = listener_fd(run, 10000)
    registrations = take_witness(run.pid).registrations
    epfd = next(one.epfd for one in registrations if one.fd == fd)
    with copied(run, fd) as listener, copied(run, epfd) as epoll:
        subprocess.run(
            [sys.executable, "-c", _WATCH_OUTPUT_TOO, str(listener), str(epoll), str(fd)],
            pass_fds=(listener, epoll),
            check=True,
        )


CHANGES: dict[str, tuple[Callable[[LiveRun], None], bool, str]] = {
    "nothing": (lambda run: None, True, ""),
    "an option": (unset_keepalive, False, "has SO_KEEPALIVE 0, the trace says 1"),
    "an option that Envoy did not set": (set_what_envoy_did_not, True, ""),
    "a mask": (watch_output_too, False, "with the mask 0x8000001d, the trace says EPOLLIN"),
}


@pytest.mark.parametrize("change, agrees, words", CHANGES.values(), ids=CHANGES)
def test_change_that_no_call_of_envoy_made_is_found(
    change: Callable[[LiveRun], None], agrees: bool, words: str, probe: Probe
) -> None:
    plan = plan_of("tcp_keepalive")
    with (
        choose_launcher("process", source_of(plan)) as launcher,
        LiveRun(plan, probe, launcher) as run,
    ):
        change(run)
        trace, plan = run.trace(), run.began_with
    verdict = verdict_of(trace, plan)
    ok, detail = kernel_detail(verdict)
    assert ok is agrees, detail
    assert words in detail
    assert verdict.status is (Status.PASS if agrees else Status.INCONCLUSIVE)
