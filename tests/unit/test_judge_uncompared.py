"""The kernel's account while calls are in flight: what is compared, and what rests on the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from envoyassert.accounts import (
    Network,
    NetworkSocket,
    Witness,
    WitnessRegistration,
    WitnessSocket,
)
from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.fact import Fact
from envoyassert.graph.fold import fold
from envoyassert.judge.account_checks import KERNEL_CHECK
from envoyassert.judge.certificate import certify
from envoyassert.judge.judge import judge
from envoyassert.judge.kernel_account import compare
from envoyassert.judge.verdict import Check, Status, Verdict
from envoyassert.names import epoll_mask
from envoyassert.testing import TraceBuilder
from envoyassert.texts.facts import text
from envoyassert.texts.findings import words_of
from envoyassert.trace import Trace

WEB, OTHER = Address.inet("127.0.0.1", 80), Address.inet("127.0.0.1", 81)
WEB_BOUND = {"listener": {"port": 80}, "bound": {"times": 1}}
OTHER_BOUND = {"listener": {"port": 81}, "bound": {"times": 1}}
OPTIONS = ("SO_REUSEADDR", "SO_KEEPALIVE")
MASK = epoll_mask(("EPOLLIN", "EPOLLERR", "EPOLLHUP"))
PASS, INCONCLUSIVE = Status.PASS, Status.INCONCLUSIVE


class Run:
    """Two listeners, served by one worker; an account that agrees, and what comes after it."""

    def __init__(self) -> None:
        self.trace = TraceBuilder(1)
        self.web, self.other = self.listener(WEB), self.listener(OTHER)
        self.sockets = {fd: self.entry(fd, at) for fd, at in ((self.web, WEB), (self.other, OTHER))}
        worker = self.trace.worker(0)
        self.registrations = [
            WitnessRegistration(self.trace.main, self.trace.epoll(worker), fd, fd, MASK)
            for fd in self.sockets
        ]
        self.begun_ns = self.ts_ns = 0
        self.network: Network | None = None

    def listener(self, address: Address) -> int:
        trace = self.trace
        fd = trace.socket(trace.main)
        for name in OPTIONS:
            trace.setsockopt(trace.main, fd, name)
        trace.bind(trace.main, fd, str(address))
        trace.listen(trace.main, fd)
        trace.epoll_add(trace.worker(0), fd)
        return fd

    def entry(self, fd: int, address: Address) -> WitnessSocket:
        options = {f"SOL_SOCKET/{name}": 1 for name in OPTIONS}
        return WitnessSocket(self.trace.main, fd, fd, fd, address, False, True, options)

    def ask(self) -> Run:
        """Let the account be taken now."""
        self.trace.call(self.trace.main, "getsockname", 0, fd=self.other, address=OTHER)
        return self.ask_at_once()

    def ask_at_once(self) -> Run:
        """Let the account be taken right after the last event."""
        self.begun_ns = self.trace.events[-1].ts_ns + 10
        self.ts_ns = self.begun_ns + 10
        self.trace.pass_time(100)
        return self

    def show(self, fd: int, **changes: Any) -> Run:
        """Let the kernel show something else of a descriptor."""
        self.sockets[fd] = replace(self.sockets[fd], **changes)
        return self

    def show_option(self, fd: int, name: str, value: int) -> Run:
        options = {**(self.sockets[fd].options or {}), f"SOL_SOCKET/{name}": value}
        return self.show(fd, options=options)

    def hide(self, fd: int) -> Run:
        del self.sockets[fd]
        self.registrations = [one for one in self.registrations if one.fd != fd]
        return self

    def built(self) -> Trace:
        built = self.trace.build()
        built.witness = Witness(
            self.ts_ns,
            tuple(self.sockets.values()),
            tuple(self.registrations),
            begun_ns=self.begun_ns,
            pid=self.trace.main,
            pids=(self.trace.main,),
            network=self.network,
        )
        return built

    def disagreements(self) -> list[str]:
        built = self.built()
        assert built.witness is not None
        found = compare(built, built.witness, fold(built)).disagreements
        return [text(one) for one in found]

    def check(self) -> Check:
        built = self.built()
        checks = certify(built, fold(built)).checks
        return next(check for check in checks if check.name == KERNEL_CHECK)

    def verdict(self, *items: dict[str, Any]) -> Verdict:
        wanted = map(parse_expectation, items)
        return judge(self.built(), list(enumerate(wanted)), workers=1)

    def status(self, *items: dict[str, Any]) -> Status:
        return self.verdict(*items).status

    def later(self, call: str, fd: int, by: int | None = None, **arguments: Any) -> Run:
        """Let main, or another thread, make a call on a descriptor."""
        self.trace.call(self.trace.main if by is None else by, call, 0, fd=fd, **arguments)
        return self

    def set_later(self, fd: int, name: str, value: int) -> Run:
        self.trace.setsockopt(self.trace.main, fd, name, value)
        return self


def test_agreement_counts_what_was_compared() -> None:
    check = Run().ask().check()
    numbers = {"socket descriptor": 2, "option value": 4, "epoll registration": 2}
    assert check == Check(KERNEL_CHECK, True, Fact("kernel_compared", numbers=numbers))
    assert text(check.found) == (
        "2 socket descriptors, 4 option values, 2 epoll registrations compared"
    )


OTHERWISE: dict[str, tuple[Callable[[Run], Run], str]] = {
    "an option's value": (
        lambda run: run.show_option(run.web, "SO_KEEPALIVE", 0),
        "has SO_KEEPALIVE 0, the trace says 1",
    ),
    "SO_REUSEPORT": (lambda run: run.show(run.web, reuse_port=True), "has SO_REUSEPORT 1"),
    "no LISTEN": (lambda run: run.show(run.web, listening=False), "does not listen"),
    "an address": (lambda run: run.show(run.web, address=OTHER), "is bound to 127.0.0.1:81"),
}


@pytest.mark.parametrize("show, words", OTHERWISE.values(), ids=OTHERWISE)
@pytest.mark.parametrize("then", ["nothing", "close", "another option", "epoll_ctl"])
def test_socket_that_is_touched_right_afterwards_is_compared_anyway(
    show: Callable[[Run], Run], words: str, then: str
) -> None:
    run = show(Run().ask())
    if then == "close":
        run.later("close", run.web)
    elif then == "another option":
        run.set_later(run.web, "SO_RCVBUF", 9000)
    elif then == "epoll_ctl":
        run.trace.epoll_delete(run.trace.worker(0), run.web)
    assert any(words in text for text in run.disagreements()), run.disagreements()
    assert run.check().ok is False
    assert run.status(OTHER_BOUND) is INCONCLUSIVE


MASKS: dict[str, tuple[tuple[str, ...], int, bool]] = {
    "as it was": (("EPOLLIN",), MASK, True),
    "another": (("EPOLLIN",), MASK | epoll_mask(("EPOLLET",)), False),
    "less": (("EPOLLIN", "EPOLLRDHUP"), MASK, False),
    "exclusive": (
        ("EPOLLIN", "EPOLLEXCLUSIVE"),
        MASK | epoll_mask(("EPOLLEXCLUSIVE",)),
        True,
    ),
    "one shot that waits": (
        ("EPOLLIN", "EPOLLONESHOT"),
        MASK | epoll_mask(("EPOLLONESHOT",)),
        True,
    ),
    "one shot that was fired": (("EPOLLIN", "EPOLLONESHOT"), epoll_mask(("EPOLLONESHOT",)), True),
    "fired without being one shot": (("EPOLLIN",), 0, False),
    "that may keep awake": (("EPOLLIN", "EPOLLWAKEUP"), MASK, True),
    "with a bit without a name": (("EPOLLIN", "0x80"), MASK | 0x80, True),
}


@pytest.mark.parametrize("asked, shown, agrees", MASKS.values(), ids=MASKS)
def test_mask_in_the_epoll_is_compared(asked: tuple[str, ...], shown: int, agrees: bool) -> None:
    run = Run()
    worker = run.trace.worker(0)
    run.trace.epoll_delete(worker, run.web)
    run.trace.epoll_add(worker, run.web, asked)
    run.ask()
    run.registrations[0] = replace(run.registrations[0], mask=shown)
    found = run.disagreements()
    assert (found == []) is agrees
    assert agrees or f"with the mask {shown:#x}, the trace says {' '.join(asked)}" in found[0]


def test_option_that_a_call_in_flight_may_have_set_holds_back_what_rests_on_it() -> None:
    run = Run().ask()
    run.show_option(run.web, "SO_KEEPALIVE", 0).set_later(run.web, "SO_KEEPALIVE", 0)
    assert run.disagreements() == []
    check = run.check()
    assert check.ok is True
    assert "; not compared: descriptor 21 has SO_KEEPALIVE 0, the trace says 1, by" in text(
        check.found
    )
    assert text(check.found).endswith("(1 socket)")
    assert run.status(WEB_BOUND) is INCONCLUSIVE
    assert "SO_KEEPALIVE 0" in words_of(run.verdict(WEB_BOUND).findings[0]).reason
    assert run.status(OTHER_BOUND) is PASS
    assert run.status({"process": {"live": True}}) is PASS
    assert run.status(WEB_BOUND, OTHER_BOUND, {"no_others": True}) is INCONCLUSIVE
    assert run.status({"never": {"call": "connect"}}) is INCONCLUSIVE
    assert run.status({"never": {"call": "connect", "listener": {"port": 81}}}) is PASS
    assert run.status({"listener": {"port": 80}, "bound": {"times": 2}}) is Status.FAIL


def test_number_that_was_closed_last_and_is_still_shown_holds_back_what_rests_on_it() -> None:
    run = Run()
    run.later("close", run.web).ask_at_once()
    assert run.disagreements() == []
    check = run.check()
    assert "127.0.0.1:80 was in flight when the kernel was asked" in text(check.found)
    assert run.status(WEB_BOUND) is INCONCLUSIVE
    assert run.status(OTHER_BOUND) is PASS


def test_number_that_was_closed_last_and_is_gone_is_compared() -> None:
    run = Run()
    run.later("close", run.web).ask_at_once().hide(run.web)
    assert "not compared" not in text(run.check().found)
    assert run.status(WEB_BOUND) is PASS


def test_number_that_was_closed_before_other_calls_and_is_still_shown_is_a_contradiction() -> None:
    run = Run()
    run.later("close", run.web).ask()
    assert "listens on 127.0.0.1:80, unknown to the trace" in run.disagreements()[0]


def test_number_that_was_closed_last_and_listens_elsewhere_is_a_contradiction() -> None:
    run = Run()
    run.later("close", run.web).ask_at_once().show(run.web, address=Address.inet("127.0.0.1", 99))
    assert run.disagreements() == ["descriptor 21 listens on 127.0.0.1:99, unknown to the trace"]


@pytest.mark.parametrize("shown", [True, False])
def test_what_changes_while_the_account_is_taken_may_be_shown_both_ways(shown: bool) -> None:
    run = Run().ask()
    run.ts_ns += 5_000
    run.later("close", run.web)
    assert run.trace.events[-1].ts_ns < run.ts_ns
    if not shown:
        run.hide(run.web)
    assert run.disagreements() == []
    assert "not compared" not in text(run.check().found)
    assert run.status(WEB_BOUND) is PASS


def test_socket_that_is_closed_between_two_questions_need_not_be_in_the_network() -> None:
    run = Run().ask()
    run.network = Network((NetworkSocket("TCP", OTHER, run.other, run.other),))
    assert run.disagreements() == ["127.0.0.1:80 listens by the trace, sock_diag does not list it"]
    run.ts_ns += 5_000
    run.later("close", run.web)
    assert run.trace.events[-1].ts_ns < run.ts_ns
    assert run.disagreements() == []


def test_number_that_is_given_out_again_meanwhile_is_not_taken_for_either_socket() -> None:
    run = Run().ask()
    main = run.trace.main
    copy = run.trace.dup(main, run.web)
    run.sockets[copy] = replace(run.sockets[run.web], fd=copy)
    run.ask()
    run.ts_ns += 50_000
    run.later("close", run.web)
    run.trace.call(main, "socket", run.web, family="AF_INET", type="SOCK_STREAM", protocol=0)
    for name in OPTIONS:
        run.trace.setsockopt(main, run.web, name)
    run.trace.bind(main, run.web, str(OTHER))
    run.trace.listen(main, run.web)
    assert run.trace.events[-1].ts_ns < run.ts_ns
    run.show(run.web, address=OTHER, inode=4711)
    assert run.disagreements() == []
    assert "descriptor 21 was given out again while the kernel was asked" in text(run.check().found)
    # What was there before was compared by its other descriptor.
    assert run.status(WEB_BOUND) is PASS


def test_listen_that_was_in_flight_is_not_taken_for_compared() -> None:
    run = Run()
    fd = run.trace.socket(run.trace.main)
    run.trace.bind(run.trace.main, fd, "127.0.0.1:82")
    run.sockets[fd] = replace(run.entry(fd, Address.inet("127.0.0.1", 82)), options={})
    run.ask()
    run.trace.listen(run.trace.main, fd)
    assert run.disagreements() == []
    assert run.status({"listener": {"port": 82}, "bound": {"times": 1}}) is INCONCLUSIVE
    assert run.status(WEB_BOUND) is PASS
    run.sockets[fd] = replace(run.sockets[fd], listening=False)
    assert run.status({"listener": {"port": 82}, "bound": {"times": 1}}) is PASS


def test_socket_of_a_process_that_was_not_asked_holds_back_what_rests_on_it() -> None:
    run = Run()
    main, child = run.trace.main, run.trace.main + 500
    run.trace.call(main, "fork", None, child_pid=child, child_tid=child, thread=False)
    event = run.trace.call(child, "close", 0, fd=run.other)
    event.pid = child
    run.later("close", run.web).ask().hide(run.web)
    assert run.disagreements() == []
    assert f"process {child} was not asked (1 socket)" in text(run.check().found)
    assert run.status(WEB_BOUND) is INCONCLUSIVE
    # It was compared by a descriptor of the process that was asked.
    assert run.status(OTHER_BOUND) is PASS


def test_option_that_the_kernel_does_not_show_is_named_and_holds_back_nothing() -> None:
    run = Run()
    run.set_later(run.web, "SO_ATTACH_REUSEPORT_EBPF", 7).ask()
    assert text(run.check().found).endswith(
        "not compared: 1 option value that the kernel does not return (SO_ATTACH_REUSEPORT_EBPF)"
    )
    assert run.status(WEB_BOUND) is PASS


def test_accounts_of_earlier_versions_are_compared_as_far_as_they_go() -> None:
    run = Run().ask()
    for fd in (run.web, run.other):
        run.show(fd, options=None)
    run.registrations = [replace(one, mask=None) for one in run.registrations]
    assert text(run.check().found) == (
        "2 socket descriptors, 2 epoll registrations compared; not compared: 4 option values that "
        "were not asked for; 2 epoll masks that were not asked for"
    )
    assert run.status(WEB_BOUND) is PASS
