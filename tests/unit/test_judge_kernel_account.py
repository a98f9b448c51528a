"""The kernel's account against the trace: every kind of disagreement is noticed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from envoyassert.accounts import Witness, WitnessRegistration, WitnessSocket
from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.judge.account_checks import KERNEL_CHECK
from envoyassert.judge.certificate import certify
from envoyassert.judge.kernel_account import compare
from envoyassert.judge.verdict import Check
from envoyassert.names import epoll_mask
from envoyassert.testing import TraceBuilder
from envoyassert.texts.facts import text
from envoyassert.trace import Outcome, Trace

OPTIONS = {"SOL_SOCKET/SO_REUSEADDR": 1, "SOL_SOCKET/SO_REUSEPORT": 1}
MASK = epoll_mask(("EPOLLIN", "EPOLLERR", "EPOLLHUP"))
ADDRESS = Address.inet("127.0.0.1", 80)


def observed() -> tuple[Trace, Witness]:
    trace = TraceBuilder(2)
    fds = trace.reuse_port_listener(str(ADDRESS))
    built = trace.build()
    sockets = tuple(
        WitnessSocket(trace.main, fd, 7000 + fd, 9000 + fd, ADDRESS, True, True, OPTIONS)
        for fd in fds
    )
    registrations = tuple(
        WitnessRegistration(trace.main, trace.epoll(trace.worker(i)), fd, 7000 + fd, MASK)
        for i, fd in enumerate(fds)
    )
    return built, Witness(built.events[-1].ts_ns + 1, sockets, registrations)


def first(witness: Witness, **changes: Any) -> Witness:
    changed = replace(witness.sockets[0], **changes)
    return replace(witness, sockets=(changed, *witness.sockets[1:]))


def check_named(trace: Trace, name: str) -> Check:
    return next(check for check in certify(trace, fold(trace)).checks if check.name == name)


def kernel_check(trace: Trace) -> Check:
    return check_named(trace, KERNEL_CHECK)


def test_agreement_is_certified() -> None:
    trace, witness = observed()
    trace.witness = witness
    check = kernel_check(trace)
    assert (check.ok, text(check.found)) == (
        True,
        "2 socket descriptors, 4 option values, 2 epoll registrations compared",
    )


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda w: replace(w, sockets=w.sockets[1:]), "shows no socket at descriptor"),
        (lambda w: first(w, address=Address.inet("127.0.0.1", 81)), "is bound to 127.0.0.1:81"),
        (lambda w: first(w, reuse_port=False), "has SO_REUSEPORT 0, the trace says 1"),
        (lambda w: first(w, listening=False), "does not listen, against the trace: it listens"),
        (lambda w: first(w, inode=w.sockets[1].inode), "one socket (inode"),
        (lambda w: first(w, fd=99), "descriptor 99 listens on 127.0.0.1:80, unknown"),
        (lambda w: replace(w, registrations=w.registrations[1:]), "not in epoll"),
        (
            lambda w: replace(
                w, registrations=(*w.registrations, replace(w.registrations[0], epfd=5))
            ),
            "in epoll 5",
        ),
    ],
)
def test_disagreement_is_found_and_leaves_the_verdict_open(
    change: Callable[[Witness], Witness], words: str
) -> None:
    trace, witness = observed()
    trace.witness = change(witness)
    found = [*map(text, compare(trace, trace.witness, fold(trace)).disagreements)]
    assert any(words in text for text in found), found
    assert kernel_check(trace).ok is False


def test_one_socket_seen_as_two_is_found() -> None:
    trace = TraceBuilder(2)
    fds = trace.shared_listener(str(ADDRESS))
    built = trace.build()
    sockets = tuple(
        WitnessSocket(trace.main, fd, 7000 + fd, None, ADDRESS, False, True) for fd in fds
    )
    witness = Witness(built.events[-1].ts_ns + 1, sockets, ())
    found = [*map(text, compare(built, witness, fold(built)).disagreements)]
    assert any("several sockets for the kernel" in text for text in found)


def test_account_that_could_not_be_taken_counts_only_while_the_process_runs() -> None:
    trace, witness = observed()
    trace.witness = replace(witness, sockets=(), registrations=(), error="no such process")
    assert kernel_check(trace).ok is False
    trace.end = replace(trace.end, outcome=Outcome(live=False, exit_code=1))
    assert kernel_check(trace).ok is None


def test_difference_in_a_process_with_a_seccomp_filter_names_the_filter() -> None:
    trace, witness = observed()
    differing = first(witness, listening=False)
    trace.witness = differing
    check = kernel_check(trace)
    assert check.ok is False
    assert "seccomp" not in text(check.found)
    trace.witness = replace(differing, filtered=True)
    assert "a seccomp filter may have answered calls" in text(kernel_check(trace).found)
    trace.witness = replace(witness, filtered=True)
    assert kernel_check(trace).ok is True
