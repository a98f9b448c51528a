"""Network namespaces: which one a socket is in, and when that is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from envoyassert.accounts import Network, NetworkSocket, Witness, WitnessSocket
from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.compare.groups import socket_groups
from envoyassert.graph.fold import fold
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.judge import judge
from envoyassert.judge.port_zero import listed_places
from envoyassert.judge.selection import select
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.names import CLONE_NEWNET
from envoyassert.scenario.listeners import configured_listeners
from envoyassert.scenario.selector import Selector
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import ListenerRecord, Trace, namespaces_of

BLUE, GREEN, BACK = "/run/netns/blue", "/run/netns/green", "/proc/thread-self/ns/net"
BACK_TO_MAIN = "/proc/self/ns/net"
PLACE = "127.0.0.1:80"
HOME = Address.inet("127.0.0.1", 80)


def enter(
    trace: TraceBuilder, path: str | None, age_ns: int = 500, tid: int = 0, **more: object
) -> None:
    """A thread, by default main, enters the namespace of a file that it opened just before."""
    ages = {} if path is None else {"age_ns": age_ns}
    args = {"fd": 90, "nstype": CLONE_NEWNET, "path": path, **ages, **more}
    trace.call(tid or trace.main, "setns", 0, **args)


def bind(trace: TraceBuilder, place: str = PLACE, ret: int = 0) -> int:
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, place, ret)
    return fd


def bound(graph: SocketGraph) -> list[str]:
    return [str(socket.address) for socket in graph.sockets]


def test_socket_is_where_its_maker_was() -> None:
    trace = TraceBuilder(1)
    bind(trace)
    enter(trace, BLUE)
    bind(trace)
    enter(trace, BACK, age_ns=3_500)  # opened before it went
    bind(trace)

    graph = fold(trace.build())

    assert bound(graph) == [PLACE, f"{PLACE} in {BLUE}", PLACE]
    assert graph.tripwires == []


def test_socket_stays_when_its_maker_has_gone_before_it_is_bound() -> None:
    trace = TraceBuilder(1)
    enter(trace, BLUE)
    fd = trace.socket(trace.main)
    enter(trace, BACK, age_ns=2_500)
    trace.bind(trace.main, fd, PLACE)

    assert bound(fold(trace.build())) == [f"{PLACE} in {BLUE}"]


def test_own_namespace_opened_elsewhere_is_that_one() -> None:
    trace = TraceBuilder(1)
    enter(trace, BLUE)
    enter(trace, GREEN)
    enter(trace, BACK, age_ns=1_500)  # opened in blue
    bind(trace)

    assert bound(fold(trace.build())) == [f"{PLACE} in {BLUE}"]


def test_new_thread_is_where_its_maker_is() -> None:
    trace = TraceBuilder(1)
    enter(trace, BLUE)
    trace.start_thread(4242, "other")
    fd = trace.socket(4242)
    trace.bind(4242, fd, PLACE)

    assert bound(fold(trace.build())) == [f"{PLACE} in {BLUE}"]


def test_thread_with_the_number_of_one_that_went_elsewhere_is_where_its_maker_is() -> None:
    trace = TraceBuilder(1)
    trace.start_thread(4242, "other")
    away = {"fd": 90, "nstype": CLONE_NEWNET, "path": BLUE, "age_ns": 5}
    trace.call(4242, "setns", 0, **away)
    trace.call(4242, "exit", None, status=0, last=False)
    trace.start_thread(4242, "other")
    trace.bind(4242, trace.socket(4242), PLACE)

    assert bound(fold(trace.build())) == [PLACE]


def test_failed_setns_and_one_of_another_kind_change_nothing() -> None:
    trace = TraceBuilder(1)
    trace.call(trace.main, "setns", -1, fd=9, nstype=CLONE_NEWNET, path=BLUE, age_ns=5)
    trace.call(trace.main, "setns", 0, fd=9, nstype=0x20000, path=BLUE, age_ns=5)
    bind(trace)

    graph = fold(trace.build())
    assert (bound(graph), graph.tripwires) == ([PLACE], [])


def test_refused_bind_is_one_of_its_namespace() -> None:
    trace = TraceBuilder(1)
    enter(trace, BLUE)
    bind(trace, ret=-98)

    (socket,) = fold(trace.build()).sockets
    assert socket.places == {HOME.within(BLUE)}


def unknown(trace: TraceBuilder, how: str) -> None:
    if how == "no path":
        enter(trace, None)
    elif how == "cut off":
        enter(trace, BLUE, truncated=True)
    elif how == "another thread's":
        enter(trace, "/proc/self/task/1001/ns/net")
    elif how == "relative":
        enter(trace, "netns/blue")
    elif how == "dup since":
        trace.call(trace.main, "dup2", 90, fd=80, newfd=90, flags=[])
        enter(trace, BLUE, age_ns=1_500)
    elif how == "closed since":
        trace.call(trace.main, "close", 0, fd=90)
        enter(trace, BLUE, age_ns=1_500)
    elif how == "all closed since":
        trace.call(trace.main, "close_range", 0, first=80, last=99, flags=0)
        enter(trace, BLUE, age_ns=1_500)
    elif how == "received since":
        trace.call(trace.main, "recvmsg", 1, fd=4, fds=[90], truncated=False)
        enter(trace, BLUE, age_ns=1_500)
    else:
        trace.call(trace.main, "unshare", 0, flags=CLONE_NEWNET)


WAYS = [
    "no path",
    "cut off",
    "relative",
    "another thread's",
    "dup since",
    "closed since",
    "all closed since",
]


@pytest.mark.parametrize("how", [*WAYS, "received since", "unshare"])
def test_namespace_without_a_sure_name_is_a_tripwire(how: str) -> None:
    trace = TraceBuilder(1)
    unknown(trace, how)

    assert [event.call for event in fold(trace.build()).tripwires] in (["setns"], ["unshare"])


def upstream(trace: TraceBuilder, worker: int = 0, age_ns: int = 3_500) -> None:
    """A worker connects in blue and comes back by the namespace of its process's first thread."""
    tid = trace.worker(worker)
    trace.close(tid, 95)
    enter(trace, BLUE, tid=tid)
    trace.bind(tid, trace.socket(tid), "127.0.0.1:0")
    enter(trace, BACK_TO_MAIN, age_ns=age_ns, tid=tid)
    trace.bind(tid, trace.socket(tid), PLACE)


def test_worker_that_comes_back_by_its_process_is_where_main_is() -> None:
    trace = TraceBuilder(2)
    enter(trace, BLUE)
    enter(trace, BACK, age_ns=1_500)
    for worker in (0, 1, 0):
        upstream(trace, worker)

    graph = fold(trace.build())

    assert graph.tripwires == []
    assert bound(graph) == [f"127.0.0.1:0 in {BLUE}", PLACE] * 3


def test_worker_that_comes_back_while_main_is_elsewhere_is_there_too() -> None:
    trace = TraceBuilder(1)
    enter(trace, GREEN)
    upstream(trace)

    graph = fold(trace.build())

    assert (graph.tripwires, bound(graph)[-1]) == ([], f"{PLACE} in {GREEN}")


@pytest.mark.parametrize(
    "age_ns, sure",
    [
        (1_500, True),  # after main had come back
        (2_500, False),  # the open may have begun before
        (3_500, False),  # while main was on its way
    ],
)
def test_worker_that_opens_its_process_while_main_may_be_moving_is_a_tripwire(
    age_ns: int, sure: bool
) -> None:
    trace = TraceBuilder(1)
    worker = trace.worker(0)
    enter(trace, BLUE)
    trace.close(worker, 95)
    enter(trace, BACK, age_ns=3_500)
    trace.close(worker, 95)
    enter(trace, GREEN, tid=worker, age_ns=500)
    enter(trace, BACK_TO_MAIN, tid=worker, age_ns=age_ns)

    assert (fold(trace.build()).tripwires == []) is sure


@pytest.mark.parametrize("age_ns, sure", [(6_400, True), (6_600, False)])
def test_move_of_main_that_may_have_begun_before_a_worker_looked_is_a_tripwire(
    age_ns: int, sure: bool
) -> None:
    trace = TraceBuilder(1)
    upstream(trace)
    enter(trace, BLUE, age_ns=age_ns)

    tripwires = fold(trace.build()).tripwires

    assert tripwires == ([] if sure else [trace.events[-1]])


def test_main_that_enters_where_it_is_already_leaves_no_doubt() -> None:
    trace = TraceBuilder(1)
    upstream(trace)
    enter(trace, BACK, age_ns=9_000)

    assert fold(trace.build()).tripwires == []


def test_descriptor_opened_again_since_it_was_closed_has_a_name() -> None:
    trace = TraceBuilder(1)
    trace.call(trace.main, "close", 0, fd=90)
    enter(trace, BLUE, age_ns=500)

    assert fold(trace.build()).tripwires == []


def test_loss_around_a_move_leaves_nothing_trusted() -> None:
    trace = TraceBuilder(1)
    enter(trace, BLUE)
    bind(trace)

    assert fold(trace.build(lost=(3,))).tripwires


def judged(trace: Trace, expectation: dict[str, Any]) -> Verdict:
    return judge(trace, [(0, parse_expectation(expectation))], workers=2)


def two_networks() -> TraceBuilder:
    """The same address bound once at home, and for two workers in blue."""
    blue = ListenerRecord("far", "TCP", (HOME.within(BLUE),))
    trace = TraceBuilder(2, listeners=(ListenerRecord("near", "TCP", (HOME,)), blue))
    trace.shared_listener(PLACE)
    enter(trace, BLUE)
    trace.reuse_port_listener(PLACE)
    return trace


@pytest.mark.parametrize(
    "selector, sockets",
    [
        ({"name": "near"}, 1),
        ({"name": "far"}, 2),
        ({"port": 80, "netns": "own"}, 1),
        ({"port": 80, "netns": BLUE}, 2),
        ({"port": 80, "netns": GREEN}, 0),
    ],
)
def test_selector_distinguishes_namespaces(selector: dict[str, Any], sockets: int) -> None:
    listener = {"listener": selector}
    trace = two_networks().build()
    assert judged(trace, {**listener, "sockets": sockets}).status is Status.PASS
    assert judged(trace, {**listener, "sockets": sockets + 1}).status is Status.FAIL


def test_port_in_two_namespaces_is_ambiguous() -> None:
    result = judged(two_networks().build(), {"listener": {"port": 80}, "sockets": 1})
    assert result.status is Status.INCONCLUSIVE
    assert "add address, protocol or netns" in words_of(result.findings[0]).reason


def test_config_says_in_which_namespace_a_listener_is() -> None:
    place = {"address": "127.0.0.1", "port_value": 80, "network_namespace_filepath": BLUE}
    listener = {"name": "far", "address": {"socket_address": place}}
    (record,) = configured_listeners({"static_resources": {"listeners": [listener]}})
    assert record.addresses == (HOME.within(BLUE),)
    assert namespaces_of([record, record]) == (BLUE,)
    address = record.addresses[0]
    assert TypeAdapter(Address).validate_python(address.to_json()) == address


@pytest.mark.parametrize(
    "shown, status",
    [(BLUE, Status.PASS), ("", Status.INCONCLUSIVE), (GREEN, Status.INCONCLUSIVE)],
)
def test_kernel_must_agree_about_the_namespace(shown: str, status: Status) -> None:
    trace = TraceBuilder(1, listeners=(ListenerRecord("far", "TCP", (HOME.within(BLUE),)),))
    enter(trace, BLUE)
    fd = bind(trace)
    trace.listen(trace.main, fd)
    built = trace.build()
    held = WitnessSocket(trace.main, fd, 7, 7, HOME.within(shown), False, True)
    diagnosed = NetworkSocket("TCP", HOME.within(shown), 7, 7, 0, 4096)
    network = Network((diagnosed,), 128, others={BLUE: 4096})
    built.witness = Witness(built.events[-1].ts_ns + 1, (held,), network=network)
    asked = {"listener": {"name": "far"}, "bound": {"times": 1}}

    assert judged(built, {**asked, "backlog": {"effective": "somaxconn"}}).status is status


@pytest.mark.parametrize(
    "others, at, status",
    [
        ({BLUE: 4096}, "", Status.PASS),
        ({BLUE: 4096}, BLUE, Status.FAIL),
        ({}, "", Status.INCONCLUSIVE),
    ],
)
def test_foreign_socket_counts_where_the_listener_is(
    others: dict[str, int | None], at: str, status: Status
) -> None:
    trace = TraceBuilder(1, listeners=(ListenerRecord("far", "TCP", (HOME.within(BLUE),)),))
    enter(trace, BLUE)
    trace.shared_listener(PLACE)
    built = trace.build()
    seen = NetworkSocket("TCP", HOME.within(at), 99)
    network = Network((seen,), 4096, others=others)
    built.witness = replace(Witness(1), network=network)

    asked = {"listener": {"name": "far"}, "reachable_by_address": True}
    assert judged(built, asked).status is status


def chosen_twice() -> TraceBuilder:
    """One listener on port 0 here and in another namespace."""
    places = (Address.inet("127.0.0.1", 0).within(BLUE), Address.inet("127.0.0.1", 0))
    trace = TraceBuilder(1, listeners=(ListenerRecord("web", "TCP", places),))
    enter(trace, BLUE)
    there = bind(trace, "127.0.0.1:0")
    enter(trace, BACK, age_ns=3_500)
    here = bind(trace, "127.0.0.1:0")
    for number, fd in enumerate((there, here)):
        learned = Address.inet("127.0.0.1", 40001 + number)
        trace.call(trace.main, "getsockname", 0, fd=fd, address=learned)
        trace.listen(trace.main, fd)
    return trace


@pytest.mark.parametrize(("netns", "port"), [(BLUE, 40001), ("own", 40002)])
def test_name_and_port_zero_with_a_namespace_mean_one_address(netns: str, port: int) -> None:
    trace = chosen_twice().build()
    listeners = trace.header.listeners
    selector = Selector(name="web", address="127.0.0.1", port=0, netns=netns)
    (found,) = select(selector, fold(trace), listeners).sockets
    assert found.address is not None
    assert found.address.port == port
    both = select(Selector(name="web", address="127.0.0.1", port=0), fold(trace), listeners)
    assert both.problem is not None
    assert both.problem.code == "several_addresses"


def test_namespace_beside_a_name_needs_the_port() -> None:
    with pytest.raises(ValueError, match="netns goes with port, not with name alone"):
        Selector(name="web", netns=BLUE)


def test_envoy_reports_a_chosen_port_without_its_namespace() -> None:
    trace = chosen_twice().build()
    there = next(s for s in fold(trace).candidates if s.address and s.address.netns)
    assert Address.inet("127.0.0.1", 40001) in listed_places(there, namespaces=True)
    fixed = TraceBuilder(1)
    enter(fixed, BLUE)
    bind(fixed)
    (socket,) = fold(fixed.build()).candidates
    assert listed_places(socket, namespaces=True) == {HOME.within(BLUE)}


def test_sockets_of_a_chosen_port_are_one_group_wherever_envoy_makes_them() -> None:
    """The first is in the namespace, the others at its port in Envoy's own."""
    place = Address.inet("127.0.0.1", 0).within(BLUE)
    trace = TraceBuilder(1, listeners=(ListenerRecord("web", "TCP", (place,)),))
    enter(trace, BLUE)
    first = bind(trace, "127.0.0.1:0")
    trace.call(trace.main, "getsockname", 0, fd=first, address=Address.inet("127.0.0.1", 40001))
    enter(trace, BACK, age_ns=4_500)
    bind(trace, "127.0.0.1:40001")
    built = trace.build()
    (group,) = socket_groups(built, fold(built)).values()
    assert (group.place, len(group.sockets)) == (f"127.0.0.1:0 in {BLUE}", 2)
