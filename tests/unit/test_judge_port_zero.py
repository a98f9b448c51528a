"""Whose the sockets are that asked the kernel for a port, where several listeners may have."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from envoyassert.accounts import EnvoyAccount, EnvoyListener, Witness
from envoyassert.asserts import parse_expectation
from envoyassert.compare.groups import socket_groups
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.selection import Selection, select
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.scenario.selector import Selector
from envoyassert.testing import TraceBuilder, parse_address
from envoyassert.texts.findings import words_of
from envoyassert.trace import ListenerRecord, Trace
from envoyassert.transition.owned import Owned
from envoyassert.transition.scenario import Transition

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
AT_REST = {f"listener_manager.total_listeners_{state}": 0 for state in ("draining", "warming")}
ANY = "127.0.0.1:0"


def listener(name: str, *addresses: str, kind: str = "lds", protocol: str = "TCP") -> Any:
    return ListenerRecord(name, protocol, tuple(map(parse_address, addresses or (ANY,))), kind)


A, B, C = listener("a"), listener("b"), listener("c")


class Run(TraceBuilder):
    """An Envoy with one worker, whose listeners ask for port 0; each has a backlog of its own."""

    def __init__(self, *listeners: ListenerRecord) -> None:
        super().__init__(1, listeners=listeners)

    def ask(
        self, port: int, backlog: int, host: str = "127.0.0.1", kind: str = "SOCK_STREAM"
    ) -> int:
        fd = self.socket(self.main, kind=kind)
        self.setsockopt(self.main, fd, "SO_REUSEPORT")
        self.bind(self.main, fd, f"{host}:0")
        self.call(self.main, "getsockname", 0, fd=fd, address=parse_address(f"{host}:{port}"))
        if kind == "SOCK_STREAM":
            self.listen(self.main, fd, backlog)
        self.epoll_add(self.worker(0), fd)
        return fd

    def said(self, pid: int | None = None, /, **listed: int | tuple[int, ...]) -> Witness:
        """Return what Envoy says now: the ports of each listener."""
        self._ts_ns += 10
        found = tuple(
            EnvoyListener(
                name,
                tuple(
                    parse_address(f"127.0.0.1:{port}")
                    for port in (ports if isinstance(ports, tuple) else (ports,))
                ),
            )
            for name, ports in listed.items()
        )
        account = EnvoyAccount(self._ts_ns, self._ts_ns + 5, found, AT_REST)
        self._ts_ns += 10
        # So early, nothing is there yet that the kernel's account could lack.
        return Witness(1, begun_ns=1, pid=pid or self.main, envoy=account)

    def phase(self, name: str, *listeners: ListenerRecord, **listed: int | tuple[int, ...]) -> None:
        witness = self.said(**listed) if listed else None
        self.end_phase(name, "update_listeners", listeners=listeners, witness=witness)

    def whole(self, **listed: int | tuple[int, ...]) -> Trace:
        witness = self.said(**listed)
        return replace(self.build(), witness=witness)


def ports(trace: Trace, name: str) -> set[int | None]:
    return {s.address.port for s in selected(trace, name).sockets if s.address is not None}


def selected(trace: Trace, name: str) -> Selection:
    listeners = trace.header.listeners
    if trace.phases:
        listeners = trace.phases[-1].listeners or listeners
    return select(Selector(name=name), fold(trace), listeners, total=True)


def judged(trace: Trace, *items: dict[str, Any]) -> Verdict:
    return judge(trace, list(enumerate(map(parse_expectation, items))), workers=1)


def status(trace: Trace, *items: dict[str, Any]) -> Status:
    return judged(trace, *items).status


def swapped() -> Trace:
    """A push has both listeners ask again, the second one first."""
    run = Run(A, B)
    old = [run.ask(1001, 11), run.ask(1002, 22)]
    run.phase("startup", A, B, a=1001, b=1002)
    run.ask(1003, 22)
    run.ask(1004, 11)
    for fd in old:
        run.close(run.main, fd)
    run.phase("push", B, A, a=1004, b=1003)
    return run.build()


def test_after_a_push_the_sockets_are_those_that_envoy_lists() -> None:
    trace = swapped()
    assert (ports(trace, "a"), ports(trace, "b")) == ({1001, 1004}, {1002, 1003})


@pytest.mark.parametrize("first, second, seen", [(11, 22, True), (22, 11, False)])
def test_swapped_options_are_seen(first: int, second: int, seen: bool) -> None:
    trace = swapped()
    for name, backlog in (("a", first), ("b", second)):
        item = {"listener": {"name": name}, "at_end_of": "push", "backlog": backlog}
        live = {"listener": {"name": name}, "at_end_of": "push", "sockets": {"live": 1}}
        found = judged(trace, item, live).findings
        assert [one.status is FAIL for one in found] == [not seen, False], name


def test_each_epoch_has_sockets_of_its_own() -> None:
    run = Run(A, B)
    run.ask(1001, 11)
    run.ask(1002, 22)
    run.phase("startup", A, B, a=1001, b=1002)
    first, run.main = run.main, 2000
    run.call(first, "fork", None, child_pid=2000, child_tid=2000, thread=False)
    run.ask(1003, 22)
    run.ask(1004, 11)
    run.phase("restart", A, B, a=1004, b=1003)
    trace = run.build()
    assert (ports(trace, "a"), ports(trace, "b")) == ({1001, 1004}, {1002, 1003})
    # A list of the one process says nothing of the port of the other one's socket.
    other = Run(A, B)
    other.ask(1001, 11)
    other.ask(1002, 22)
    other.end_phase("startup", listeners=(A, B), witness=other.said(77, a=1002, b=1001))
    assert ports(other.build(), "a") == {1001}


def handed_on() -> Trace:
    run = Run(A, B)
    run.ask(1001, 11)
    run.ask(1002, 22)
    run.phase("startup", A, B, a=1001, b=1002)
    run.phase("push", B, C, A, b=1002, c=1001)
    run.phase("later", B, C, A, b=1002, c=1001)
    return run.build()


def test_sockets_that_another_listener_took_over_are_that_ones() -> None:
    trace = handed_on()
    assert [ports(trace, name) for name in "abc"] == [set(), {1002}, {1001}]
    at_end = {"at_end_of": "push"}
    assert status(trace, {"listener": {"name": "c"}, **at_end, "sockets": 1, "backlog": 11}) is PASS
    assert status(trace, {"listener": {"name": "a"}, **at_end, "sockets": {"live": "none"}}) is PASS


@pytest.mark.parametrize(
    "said",
    [
        {"bound": {"times": 1}},
        {"bound": {"times": 0}},
        {"sockets": {"ever": 1}},
        {"sockets": {"ever": 0}},
    ],
    ids=str,
)
def test_what_was_done_with_sockets_that_were_handed_on_is_left_open(said: dict[str, Any]) -> None:
    verdict = judged(handed_on(), {"listener": {"name": "a"}, "at_end_of": "push", **said})
    (found,) = verdict.findings
    assert found.status is INCONCLUSIVE
    assert words_of(found).reason == (
        "the sockets at 127.0.0.1:1001 were of listener 'a', and are another's now"
    )


def test_what_was_done_later_is_not_left_open() -> None:
    calls = {"calls": {"call": "listen", "listener": {"name": "a"}, "times": 0}}
    assert judged(handed_on(), {**calls, "during": "push"}).findings[0].status is INCONCLUSIVE
    assert judged(handed_on(), {**calls, "during": "later"}).findings[0].status is PASS


def unlisted() -> Trace:
    """A push has one of two listeners ask again, and Envoy cannot be asked which."""
    run = Run(A, B)
    run.ask(1001, 11)
    run.ask(1002, 22)
    run.phase("startup", A, B)
    run.ask(1003, 22)
    run.phase("push", A, B)
    return run.build()


def test_a_socket_that_nothing_shows_to_be_of_a_listener_is_left_open() -> None:
    trace = unlisted()
    for name in "ab":
        item = {"listener": {"name": name}, "at_end_of": "push", "sockets": {"live": 1}}
        verdict = judged(trace, item)
        (found,) = verdict.findings
        assert found.status is INCONCLUSIVE
        assert words_of(found).reason == (
            "several listeners ask for 127.0.0.1:0, and nothing shows of which of them "
            "is 127.0.0.1:1003"
        )
        # Until then the order shows it.
        assert status(trace, {"listener": {"name": name}, "sockets": 1}) is PASS
    calls = {"call": "listen", "listener": {"name": "a"}, "times": 1}
    assert judged(trace, {"calls": calls, "at_end_of": "push"}).status is INCONCLUSIVE


def test_a_closed_world_is_left_open_by_what_it_may_name() -> None:
    named: dict[str, Any] = {
        "listener": {"name": "a"},
        "at_end_of": "push",
        "sockets": {"ever": {"at_least": 0}},
    }
    others = {"no_others": True, "at_end_of": "push"}
    both = [named, {**named, "listener": {"name": "b"}}]
    found = judged(unlisted(), *both, others).findings[-1]
    assert found.status is INCONCLUSIVE
    assert words_of(found).reason == (
        "TCP 127.0.0.1:1003 may be of a listener that the scenario names, or of another"
    )
    # That of b is surely not named, whosever the other one is.
    assert judged(unlisted(), named, others).findings[-1].status is FAIL


def test_invariants_leave_open_what_rests_on_whose_a_socket_is() -> None:
    names = ("only_listeners_registered", "sockets_match_workers", "served_without_break")
    found = judged(unlisted(), {"invariants": [*names], "at_end_of": "push"}).findings
    assert [one.status for one in found] == [PASS, INCONCLUSIVE, INCONCLUSIVE]


def test_one_listener_that_asks_again_has_all_the_sockets() -> None:
    run = Run(A)
    run.close(run.main, run.ask(1001, 11))
    run.phase("startup", A)
    run.ask(1002, 12)
    run.phase("push", A)
    trace = run.build()
    assert ports(trace, "a") == {1001, 1002}
    items: list[dict[str, Any]] = [{"backlog": 12}, {"sockets": {"live": 1, "ever": 2}}]
    for item in items:
        assert status(trace, {"listener": {"name": "a"}, "at_end_of": "push", **item}) is not FAIL


def test_a_port_that_a_listener_has_no_more_is_not_its_port() -> None:
    run = Run(A)
    old = run.ask(1001, 11)
    run.phase("startup", A)
    run.ask(1002, 12)
    run.close(run.main, old)
    run.phase("push", A)
    let = {"listener": {"name": "a"}, "at_end_of": "push", "let": {"chosen": "port"}}
    asked = {"listener": {"port": "$chosen"}, "at_end_of": "push", "backlog": 12}
    assert status(run.build(), let, asked) is PASS


def test_envoys_list_counts_more_than_the_order() -> None:
    run = Run(A, B)
    run.ask(1001, 22)
    run.ask(1002, 11)
    assert (ports(run.whole(a=1002, b=1001), "a"), ports(run.whole(a=1002, b=1001), "b")) == (
        {1002},
        {1001},
    )
    # One that is not listed may be of any of them, for the order is not that of the config.
    run = Run(A, B, C)
    for port in (1001, 1002, 1003):
        run.ask(port, 11)
    trace = run.whole(a=1002)
    assert ports(trace, "a") == {1002}
    assert {s.address.port for s in selected(trace, "c").possible if s.address} == {1001, 1003}


@pytest.mark.parametrize("kind, known", [("static", {1001}), ("lds", set())])
def test_fewer_binds_than_listeners_are_the_first_ones_of_static_ones(
    kind: str, known: set[int]
) -> None:
    """Envoy ends with the first static listener that fails, and passes over one of a push."""
    run = Run(listener("a", kind=kind), listener("b", kind=kind))
    run.ask(1001, 11)
    trace = run.build()
    assert ports(trace, "a") == known
    assert ports(trace, "b") == set()
    assert len(selected(trace, "b").possible) == (0 if known else 1)


def test_more_binds_than_listeners_are_of_none_for_certain() -> None:
    run = Run(A, B)
    for port in (1001, 1002, 1003):
        run.ask(port, 11)
    trace = run.build()
    assert [len(selected(trace, name).possible) for name in "ab"] == [3, 3]
    places = {one.title for one in socket_groups(trace, fold(trace)).values()}
    assert f"{ANY} #3" in places


def test_a_bind_that_failed_has_its_place_in_the_order() -> None:
    run = Run(A, B)
    run.bind(run.main, run.socket(run.main), ANY, -13)
    run.ask(1002, 22)
    trace = run.build()
    assert (ports(trace, "a"), ports(trace, "b")) == (set(), {1002})
    failed = {name: len(selected(trace, name).failed) for name in "ab"}
    assert failed == {"a": 1, "b": 0}


def test_equal_addresses_of_one_listener_are_distinguished_by_their_place_in_the_list() -> None:
    run = Run(listener("a", ANY, "127.0.0.1:80", ANY))
    run.ask(1001, 11)
    run.ask(1002, 12)
    run.shared_listener("127.0.0.1:80")
    trace = run.whole(a=(1002, 80, 1001))
    each = {"listener": {"name": "a", "port": 0}, "take": "each_address", "backlog": 12}
    found = [one.status for one in judged(trace, each).findings]
    assert found == [PASS, FAIL]  # the first of them was bound last


def test_the_admin_endpoint_is_what_an_envoy_at_rest_does_not_list() -> None:
    admin = listener("admin", kind="admin")
    run = Run(A, admin)
    run.ask(1001, 11)
    run.ask(1002, 22)
    assert ports(run.whole(a=1002), "admin") == {1001}


def test_a_listener_without_a_name_is_what_has_an_unknown_one() -> None:
    run = Run(A, listener(ANY), C)
    for port in (1001, 1002, 1003):
        run.ask(port, 11)
    trace = run.whole(c=1001, uuid=1003, a=1002)
    assert [ports(trace, name) for name in ("a", ANY, "c")] == [{1002}, {1003}, {1001}]


def test_a_port_that_two_listeners_have_is_distinguished_by_the_order() -> None:
    """Linux gives UDP sockets of one user the same port now and then."""
    run = Run(listener("a", protocol="UDP"), listener("b", protocol="UDP"))
    for _ in range(2):
        run.ask(1001, 0, kind="SOCK_DGRAM")
    trace = run.whole(a=1001, b=1001)
    assert [len(selected(trace, name).sockets) for name in "ab"] == [1, 1]


def test_a_listener_that_came_later_did_not_ask_before() -> None:
    run = Run(B)
    run.ask(1001, 22)
    run.phase("startup", B)
    run.ask(1002, 22)
    run.phase("push", B)
    run.phase("later", A, B)
    assert ports(run.build(), "b") == {1001, 1002}


def test_what_was_bound_to_the_port_of_a_socket_is_handed_on_with_it() -> None:
    run = Run(A, B)
    run.ask(1001, 11)
    other = run.socket(run.main)
    run.bind(run.main, other, "127.0.0.1:1001")
    run.ask(1002, 22)
    run.phase("startup", A, B, a=1001, b=1002)
    run.phase("push", B, C, A, b=1002, c=1001)
    trace = run.build()
    assert [len(selected(trace, name).handed_on) for name in "abc"] == [2, 0, 0]
    assert [len(selected(trace, name).sockets) for name in "abc"] == [0, 1, 2]


def test_a_change_gives_the_sockets_of_one_listener_to_another() -> None:
    trace = handed_on()
    change = cast(Transition, SimpleNamespace(old=(A, B), new=(B, C)))
    ends = [phase.end_ns for phase in trace.phases]
    owned = Owned(change, trace, fold(trace), ends[0], ends[1])
    before = [[str(s.address) for s in owned.before(one)] for one in (A, B)]
    after = [[str(s.address) for s in owned.after(one)] for one in (B, C)]
    assert before == [["127.0.0.1:1001"], ["127.0.0.1:1002"]]
    assert after == [["127.0.0.1:1002"], ["127.0.0.1:1001"]]
