"""Every atom of a listener expectation: right, and wrong only there."""

from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import ListenerRecord, Trace

ADDRESS = "0.0.0.0:15006"
MISSION = {
    "listener": {"port": 15006},
    "bound": {"times": 1, "by": "main"},
    "listened": {"by": "workers", "via": "dup"},
}
TWIN = {
    "listener": {"port": 15006},
    "bound": {"times": "workers", "by": "main"},
    "listened": {"by": "workers", "via": "reuse_port"},
    "options": {"SO_REUSEPORT": {"value": 1, "phase": "before_bind"}},
}


def judged(trace: Trace, *items: dict[str, Any], workers: int = 2) -> Verdict:
    parsed = map(parse_expectation, items)
    return judge(trace, list(enumerate(parsed)), workers=workers)


def atoms(verdict: Verdict, status: Status) -> set[str]:
    return {finding.atom for finding in verdict.with_status(status)}


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_mission_sentence_shared_socket_passes(workers: int) -> None:
    trace = TraceBuilder(workers)
    trace.shared_listener(ADDRESS)
    assert judged(trace.build(), MISSION, workers=workers).status is Status.PASS
    assert judged(trace.build(), TWIN, workers=workers).status is Status.FAIL


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_twin_sentence_reuse_port_passes(workers: int) -> None:
    trace = TraceBuilder(workers)
    trace.reuse_port_listener(ADDRESS)
    assert judged(trace.build(), TWIN, workers=workers).status is Status.PASS
    verdict = judged(trace.build(), MISSION, workers=workers)
    assert "listened.via" in atoms(verdict, Status.FAIL)


def bound_twice() -> Trace:
    trace = TraceBuilder(2)
    trace.shared_listener(ADDRESS)
    spare = trace.socket(trace.main)
    trace.bind(trace.main, spare, ADDRESS)
    trace.close(trace.main, spare)
    return trace.build()


def bound_by_worker() -> Trace:
    trace = TraceBuilder(2)
    first = trace.socket(trace.worker(0))
    trace.bind(trace.worker(0), first, ADDRESS)
    second = trace.dup(trace.main, first)
    for index, fd in enumerate([first, second]):
        trace.listen(trace.main, fd)
        trace.epoll_add(trace.worker(index), fd)
    return trace.build()


def one_worker_idle() -> Trace:
    trace = TraceBuilder(2)
    fds = trace.shared_listener(ADDRESS)
    trace.epoll_delete(trace.worker(1), fds[1])
    return trace.build()


def main_serves_too() -> Trace:
    trace = TraceBuilder(2)
    fds = trace.shared_listener(ADDRESS)
    trace.epoll_add(trace.main, trace.dup(trace.main, fds[0]))
    return trace.build()


def one_descriptor_for_all() -> Trace:
    trace = TraceBuilder(2)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, ADDRESS)
    trace.listen(trace.main, fd)
    for index in range(2):
        trace.epoll_add(trace.worker(index), fd)
    return trace.build()


def third_worker() -> Trace:
    trace = TraceBuilder(3, concurrency=2)
    trace.shared_listener(ADDRESS)
    return trace.build()


@pytest.mark.parametrize(
    "trace, wrong",
    [
        (bound_twice(), {"bound.times"}),
        (bound_by_worker(), {"bound.by"}),
        (one_worker_idle(), {"listened.by"}),
        (main_serves_too(), {"listened.by"}),
        (third_worker(), {"listened.by"}),
        (one_descriptor_for_all(), {"listened.via"}),
    ],
)
def test_mission_sentence_wrong_in_one_atom_fails_naming_it(trace: Trace, wrong: set[str]) -> None:
    verdict = judged(trace, MISSION)
    assert atoms(verdict, Status.FAIL) == wrong
    assert not verdict.with_status(Status.INCONCLUSIVE)


def test_reuse_port_option_after_bind_fails_via_and_option() -> None:
    trace = TraceBuilder(2)
    for index in range(2):
        fd = trace.socket(trace.main)
        if index == 0:
            trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
        trace.bind(trace.main, fd, ADDRESS)
        if index == 1:
            trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
        trace.listen(trace.main, fd)
        trace.epoll_add(trace.worker(index), fd)
    verdict = judged(trace.build(), TWIN)
    assert atoms(verdict, Status.FAIL) == {"listened.via", "options.SO_REUSEPORT"}


def test_unserved_listening_socket_belongs_to_no_shape() -> None:
    trace = TraceBuilder(2)
    trace.reuse_port_listener(ADDRESS)
    spare = trace.socket(trace.main)
    trace.setsockopt(trace.main, spare, "SO_REUSEPORT")
    trace.bind(trace.main, spare, ADDRESS)
    trace.listen(trace.main, spare)
    item = {"listener": {"port": 15006}, "via": "reuse_port"}
    assert judged(trace.build(), item).status is Status.FAIL


def everything(backlog: int = 64) -> TraceBuilder:
    trace = TraceBuilder(3)
    trace.shared_listener(ADDRESS, backlog)
    return trace


@pytest.mark.parametrize(
    "atom, right, wrong",
    [
        ("served_by", "workers", "main"),
        ("served_by", "workers", "none"),
        ("listen_by", "main", "workers"),
        ("via", "dup", "reuse_port"),
        ("sockets", 1, "workers"),
        ("sockets", {"ever": 1, "live": 1, "serving": 1, "spare": 0}, {"spare": 1}),
        ("descriptors", "workers", {"workers": 1, "plus": 1}),
        ("descriptors", {"serving": "workers", "spare": 0}, {"serving": 1}),
        ("listen_calls", "workers", 1),
        ("listen_calls", {"times": "workers", "by": "main"}, {"by": "workers"}),
        ("listen_calls", {"times": {"at_least": 2, "at_most": 3}}, {"times": {"at_most": 2}}),
        ("options", {"SO_REUSEADDR": 1}, {"SO_REUSEADDR": 0}),
        ("options", {"SO_REUSEADDR": "set"}, {"SO_REUSEADDR": "absent"}),
        ("options", {"SO_REUSEPORT": "absent"}, {"SO_REUSEPORT": "set"}),
        ("options", {"1/2": {"phase": "STATE_PREBIND"}}, {"1/2": {"phase": "bound"}}),
        ("options", {"SOL_SOCKET/SO_REUSEADDR": "set"}, {"IPPROTO_TCP/2": "set"}),
        ("backlog", 64, -1),
        ("backlog", {"requested": 64}, {"requested": 65}),
        ("in_order", ["socket", "bind", "listen"], ["listen", "bind"]),
        ("in_order", ["bind", "listen", "epoll_ctl"], ["bind", "close"]),
        ("bind_failed", {"times": 0}, {"errno": "EADDRINUSE"}),
        ("bound", {"times": 1}, {"times": 0}),
    ],
)
def test_atom_right_passes_and_wrong_fails(atom: str, right: Any, wrong: Any) -> None:
    trace = everything().build()
    listener = {"listener": {"port": 15006}}
    assert judged(trace, {**listener, atom: right}, workers=3).status is Status.PASS
    verdict = judged(trace, {**listener, atom: wrong}, workers=3)
    assert verdict.status is Status.FAIL
    assert all(finding.atom.startswith(atom) for finding in verdict.with_status(Status.FAIL))


def test_backlog_is_that_of_the_last_listen_on_each_socket_that_stands() -> None:
    trace = TraceBuilder(2)
    fds = trace.reuse_port_listener(ADDRESS, 32)
    trace.listen(trace.main, fds[0], 64)
    raised = {"listener": {"port": 15006}, "backlog": 64}
    half = judged(trace.build(), raised)
    assert half.status is Status.FAIL
    assert words_of(half.findings[0]).seen == "backlog 32, 64 of 2 sockets"
    trace.listen(trace.main, fds[1], 64)
    assert judged(trace.build(), raised).status is Status.PASS
    assert judged(trace.build(), {**raised, "backlog": 32}).status is Status.FAIL
    for fd in fds:
        trace.close(trace.main, fd)
    closed = judged(trace.build(), raised)
    assert closed.status is Status.FAIL
    assert words_of(closed.findings[0]).seen == "no socket listens"


def test_bind_failed_names_errno_and_caller() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, ADDRESS, ret=-98)
    trace.close(trace.main, fd)
    listener = {"listener": {"port": 15006}}
    failed = {"errno": "EADDRINUSE", "times": 1, "by": "main"}
    assert judged(trace.build(), {**listener, "bind_failed": failed}).status is Status.PASS
    other = {"errno": "EACCES"}
    assert judged(trace.build(), {**listener, "bind_failed": other}).status is Status.FAIL


def test_selector_port_of_two_protocols_is_ambiguous_until_named() -> None:
    trace = TraceBuilder(1)
    trace.shared_listener("127.0.0.1:53")
    fd = trace.socket(trace.main, kind="SOCK_DGRAM")
    trace.bind(trace.main, fd, "127.0.0.1:53")
    bound = {"bound": {"times": 1}}
    verdict = judged(trace.build(), {"listener": {"port": 53}, **bound}, workers=1)
    assert verdict.status is Status.INCONCLUSIVE
    assert "ambiguous: TCP 127.0.0.1:53, UDP 127.0.0.1:53" in words_of(verdict.findings[0]).reason
    named = {"listener": {"port": 53, "protocol": "UDP"}, **bound}
    assert judged(trace.build(), named, workers=1).status is Status.PASS


@pytest.mark.parametrize(
    "bound_to, asked, found",
    [
        ("[::]:80", "::", True),
        ("[::]:80", "0.0.0.0", False),
        ("0.0.0.0:80", "127.0.0.1", False),
        ("127.0.0.1:80", "0.0.0.0", False),
        ("[::ffff:127.0.0.1]:80", "127.0.0.1", False),
        ("[::ffff:127.0.0.1]:80", "::ffff:7f00:1", True),
        ("[0:0:0:0:0:0:0:1]:80", "::1", True),
    ],
)
def test_selector_address_is_compared_as_address(bound_to: str, asked: str, found: bool) -> None:
    trace = TraceBuilder(1)
    trace.shared_listener(bound_to)
    item = {"listener": {"port": 80, "address": asked}, "bound": {"times": int(found)}}
    assert judged(trace.build(), item, workers=1).status is Status.PASS


def test_selector_name_with_port_zero_finds_all_of_its_sockets() -> None:
    records = tuple(
        ListenerRecord(name, "TCP", (Address.inet("127.0.0.1", 0),)) for name in ("one", "two")
    )
    trace = TraceBuilder(2, listeners=records)
    for learned in (40001, 40002):
        for index in range(2):
            fd = trace.socket(trace.main)
            trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
            trace.bind(trace.main, fd, f"127.0.0.1:{0 if index == 0 else learned}")
            if index == 0:
                address = Address.inet("127.0.0.1", learned)
                trace.call(trace.main, "getsockname", 0, fd=fd, address=address)
            trace.listen(trace.main, fd)
            trace.epoll_add(trace.worker(index), fd)
    items = [
        {"listener": {"name": name}, "sockets": 2, "via": "reuse_port"} for name in ("one", "two")
    ]
    assert judged(trace.build(), *items, {"no_others": True}).status is Status.PASS
    verdict = judged(trace.build(), items[1], {"no_others": True})
    assert [words_of(f).seen for f in verdict.with_status(Status.FAIL)] == ["TCP 127.0.0.1:40001"]


def test_selector_unknown_name_is_inconclusive_and_lists_the_known() -> None:
    trace = TraceBuilder(
        1, listeners=(ListenerRecord("web", "TCP", (Address.inet("127.0.0.1", 80),)),)
    )
    verdict = judged(trace.build(), {"listener": {"name": "wbe"}, "sockets": 0}, workers=1)
    assert verdict.status is Status.INCONCLUSIVE
    assert words_of(verdict.findings[0]).reason == "the config has no listener 'wbe'; it has: web"


def test_by_workers_without_known_number_is_inconclusive() -> None:
    trace = TraceBuilder(2)
    trace.shared_listener(ADDRESS)
    item = {"listener": {"port": 15006}, "served_by": "workers"}
    assert judged(trace.build(), item, workers=0).status is Status.INCONCLUSIVE
