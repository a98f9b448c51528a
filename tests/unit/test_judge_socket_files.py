"""Who is not reached: a Unix socket that lost its file, a datagram socket that has a peer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envoyassert.accounts import Network, Witness
from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
PATH = "/run/envoy/a.sock"
#: Taken before the first event, so that there is nothing of the process to compare.
ALONE = Witness(1, network=Network())
HELPER = 4711


def unlink(path: str, **args: Any) -> tuple[str, dict[str, Any]]:
    return ("unlinkat" if args else "unlink"), {"path": path, **args}


def rename(path: str, to: str, flags: int = 0, at: int = -100) -> tuple[str, dict[str, Any]]:
    return "renameat2", {"path": path, "to": to, "dirfds": [at, at], "flags": flags}


def built(*calls: tuple[str, dict[str, Any]], by: int = 0, ret: int = 0) -> TraceBuilder:
    """Build a trace in which a listener at PATH is up, and then files are changed."""
    trace = TraceBuilder(1)
    trace.shared_listener(PATH)
    if by:
        made = {"child_pid": by, "child_tid": by, "thread": False}
        trace.call(trace.main, "fork", None, **made)
    for call, args in calls:
        trace.call(by or trace.main, call, ret, **args).pid = by or trace.main
    return trace


def finding(trace: TraceBuilder, **word: Any) -> Finding:
    item = parse_expectation({"listener": {"path": PATH}, **word})
    return judge(replace(trace.build(), witness=ALONE), [(0, item)], workers=1).findings[-1]


def reachable(trace: TraceBuilder) -> Status:
    return finding(trace, reachable_by_address=True).status


BY = pytest.mark.parametrize("by", [0, HELPER], ids=["envoy", "helper"])


@BY
@pytest.mark.parametrize(
    "calls",
    [
        [unlink(PATH)],
        [unlink("//run//envoy/./a.sock")],
        [unlink(PATH, dirfd=-100)],
        [unlink(PATH, dirfd=7)],
        [rename(PATH, "/run/envoy/b.sock")],
        [rename("/run/envoy/b.sock", PATH)],
        [rename("/run/envoy/b.sock", PATH, 2)],
        [rename("/run/envoy", "/run/old")],
        [rename(PATH, "/x"), rename("/x", "/y"), rename("/z", PATH)],
    ],
)
def test_listener_whose_file_is_gone_is_not_reached(calls: list[Any], by: int) -> None:
    assert reachable(built()) is PASS
    trace = built(*calls, by=by)
    found = finding(trace, reachable_by_address=True)
    assert found.status is FAIL
    assert f"none of its sockets is reached at {PATH}" in words_of(found).seen
    assert any(event.call == calls[0][0] for event in found.evidence)
    assert finding(trace, reachable_by_address=False).status is PASS


@pytest.mark.parametrize(
    "calls",
    [
        [unlink("/run/envoy/b.sock")],
        [rename("/run/envoy/b.sock", "/run/envoy/c.sock")],
        [rename(PATH, "/x"), rename("/x", PATH)],
        [rename(PATH, "/x", 2), rename(PATH, "/x", 2)],
        [rename("/run/envoy", "/run/old"), rename("/run/old", "/run/envoy")],
    ],
)
def test_listener_whose_file_is_there_is_reached(calls: list[Any]) -> None:
    assert reachable(built(*calls)) is PASS


@pytest.mark.parametrize(
    "call", [unlink(PATH), rename(PATH, "/x"), rename("/x", PATH)], ids=["unlink", "away", "over"]
)
def test_call_that_fails_takes_no_file_away(call: Any) -> None:
    assert reachable(built(call, ret=-2)) is PASS


@pytest.mark.parametrize(
    "call",
    [
        unlink("a.sock"),
        unlink("a.sock", dirfd=7),
        unlink("/var/run/envoy/a.sock"),
        rename("a.sock", "b.sock", at=7),
        rename("b.sock", "a.sock", at=7),
        ("unlink", {"path": "/" + "x" * 510, "truncated": True}),
    ],
)
def test_call_that_may_be_on_the_file_leaves_it_open(call: Any) -> None:
    found = finding(built(call), reachable_by_address=True)
    assert found.status is INCONCLUSIVE
    assert call[0] in words_of(found).reason


def test_file_of_the_same_name_in_another_place_is_that_of_its_own_socket() -> None:
    trace = TraceBuilder(1)
    trace.shared_listener("/other/a.sock")
    trace.shared_listener(PATH)
    trace.call(trace.main, "unlink", 0, path="/other/a.sock")
    assert reachable(trace) is PASS


def test_socket_that_is_renamed_onto_the_path_takes_its_clients() -> None:
    trace = built()
    (fd,) = trace.shared_listener("/run/envoy/new.sock")
    call, args = rename("/run/envoy/new.sock", PATH)
    trace.call(trace.main, call, 0, **args)
    found = finding(trace, reachable_by_address=True)
    assert found.status is FAIL
    trace.close(trace.main, fd)
    assert reachable(trace) is FAIL


def bind_again(trace: TraceBuilder) -> None:
    trace.call(trace.main, "unlink", 0, path=PATH)
    trace.shared_listener(PATH)


def test_path_that_is_removed_and_bound_again_leads_to_the_new_socket() -> None:
    trace = TraceBuilder(1)
    (old,) = trace.shared_listener(PATH)
    bind_again(trace)
    assert reachable(trace) is PASS
    trace.close(trace.main, old)
    assert reachable(trace) is PASS


def ended(*calls: Any, by: int = 0) -> TraceBuilder:
    trace = built(*calls, by=by)
    for pid in (HELPER, trace.main) if by else (trace.main,):
        trace.call(pid, "exit", None, status=0, last=True).pid = pid
    return trace


@BY
@pytest.mark.parametrize(
    "calls, exists, gone",
    [
        ([], PASS, FAIL),
        ([unlink(PATH)], FAIL, PASS),
        ([rename(PATH, "/x")], FAIL, PASS),
        ([rename("/x", PATH)], FAIL, FAIL),
        ([rename(PATH, "/x"), rename("/x", PATH)], PASS, FAIL),
        ([unlink("a.sock", dirfd=7)], INCONCLUSIVE, INCONCLUSIVE),
    ],
)
def test_file_after_the_exit_is_what_the_calls_of_the_run_left(
    calls: list[Any], exists: Status, gone: Status, by: int
) -> None:
    for wanted, status in ((True, exists), (False, gone)):
        file = {"exists_after_exit": wanted}
        assert finding(ended(*calls, by=by), socket_file=file).status is status


# datagram sockets


def datagrams(*peers: Address) -> TraceBuilder:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main, kind="SOCK_DGRAM")
    trace.bind(trace.main, fd, "127.0.0.1:53")
    trace.epoll_add(trace.worker(0), fd)
    for peer in peers:
        trace.call(trace.main, "connect", 0, fd=fd, address=peer)
    return trace


ONE = Address.inet("127.0.0.1", 9999)
NO_PEER = Address("AF_UNSPEC")


@pytest.mark.parametrize(
    "peers, wanted", [([], PASS), ([ONE], FAIL), ([ONE, NO_PEER], PASS), ([NO_PEER, ONE], FAIL)]
)
def test_datagram_socket_with_a_peer_is_not_reached(peers: list[Address], wanted: Status) -> None:
    item = parse_expectation({"listener": {"port": 53}, "reachable_by_address": True})
    trace = replace(datagrams(*peers).build(), witness=ALONE)
    assert judge(trace, [(0, item)], workers=1).status is wanted


# What a trace does not show.


@pytest.mark.parametrize(
    "call, ret, args, reason",
    [
        ("other_table", 3, {"table": "32-bit", "number": 102}, "call 102 by 32-bit numbers"),
        ("other_table", -1, {"table": "x32", "number": 49}, "call 49 by x32 numbers"),
        ("other_table", -38, {"table": "x32", "number": 49}, ""),
        ("seccomp", 0, {"answers": ["ALLOW", "ERRNO EPERM", "KILL_PROCESS", "LOG"]}, ""),
        ("seccomp", -22, {"answers": ["TRACE"]}, ""),
        *(
            ("seccomp", 0, {"answers": answers}, "seccomp set a filter that can claim")
            for answers in (["ALLOW", "ERRNO 0"], ["TRACE"], ["USER_NOTIF"], ["TRAP"], None)
        ),
        ("unshare", 0, {"flags": 0x400}, "unshare moved descriptors"),
        ("close_range", 0, {"first": 900, "last": 901, "flags": 2}, "close_range moved"),
        ("close_range", 0, {"first": 900, "last": 901, "flags": 0}, ""),
        (
            "fork",
            None,
            {"child_pid": HELPER, "child_tid": HELPER, "thread": False, "shares_files": True},
            "fork moved descriptors",
        ),
    ],
)
def test_call_that_hides_others_leaves_open_what_would_pass(
    call: str, ret: int | None, args: dict[str, Any], reason: str
) -> None:
    trace = built()
    item = parse_expectation({"listener": {"path": PATH}, "bound": {"by": "main"}})
    assert judge(trace.build(), [(0, item)], workers=1).status is PASS
    trace.call(trace.main, call, ret, **args)
    verdict = judge(trace.build(), [(0, item)], workers=1)
    assert verdict.status is (INCONCLUSIVE if reason else PASS)
    assert reason in str([words_of(found).reason for found in verdict.findings])
