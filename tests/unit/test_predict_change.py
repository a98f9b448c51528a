"""The model of change. Each row was seen on Envoy 1.36.4 and 1.40.0, unless it names a version."""

from __future__ import annotations

from typing import Any

import pytest

from envoyassert.predict.change import predict_change
from envoyassert.predict.effects import (
    Change,
    Fate,
    Gap,
    Kind,
    ListenerChange,
    Side,
    Topic,
    Way,
    Why,
)
from envoyassert.predict.overload import goes_on_under_overload
from envoyassert.predict.prediction import PredictError
from envoyassert.predict.push import Listeners

ECHO = {"name": "envoy.filters.network.echo"}
KEEPALIVE = {"level": 1, "name": 9, "int_value": 1, "state": "STATE_PREBIND"}
RECEIVE_BUFFER = {"level": 1, "name": 8, "int_value": 65536, "state": "STATE_PREBIND"}
SMALLER_BUFFER = {**RECEIVE_BUFFER, "int_value": 4096}
EXACT: dict[str, Any] = {"connection_balance_config": {"exact_balance": {}}}
ALONE: dict[str, Any] = {"enable_reuse_port": False}


def at(port: int, host: str = "127.0.0.1", **more: Any) -> dict[str, Any]:
    return {"address": {"socket_address": {"address": host, "port_value": port, **more}}}


def tcp(name: str = "ingress", port: int = 10000, **more: Any) -> dict[str, Any]:
    chains = [{"filters": [ECHO]}]
    return {"name": name, **at(port), "filter_chains": chains, **more}


def udp(port: int = 10000, **more: Any) -> dict[str, Any]:
    return {"name": "ingress", **at(port, protocol="UDP"), "listener_filters": [{}], **more}


def path(where: str = "/run/a.sock", **more: Any) -> dict[str, Any]:
    return {**tcp(), "address": {"pipe": {"path": where}}, **more}


def also(*ports: int) -> dict[str, Any]:
    return {"additional_addresses": [at(port) for port in ports]}


def flipped(listener: dict[str, Any], field: str) -> dict[str, Any]:
    return {**listener, field: not listener[field]}


def side(*listeners: dict[str, Any], workers: int = 2, **more: Any) -> Side:
    return Side({"static_resources": {"listeners": [*listeners]}, **more}, None, workers)


def changed(
    old: dict[str, Any], new: dict[str, Any], way: Way = Way.PUSH, version: str = "1.40.0"
) -> ListenerChange:
    (found,) = predict_change(side(old), side(new), way, version=version).listeners
    return found


def sockets(found: ListenerChange) -> tuple[int, int, int]:
    return found.kept, found.closed, found.made


DUPLICATE = "has duplicate address '127.0.0.1:10000'"

# old, new, kind, (kept, closed, made), what is queued, served
PUSHES: dict[str, tuple[Any, Any, Kind, tuple[int, int, int], Fate, bool]] = {
    "the same": (tcp(), tcp(), Kind.SAME, (2, 0, 0), Fate.KEPT, True),
    "a plain default that is spelled": (
        tcp(),
        tcp(enable_mptcp=False, drain_type="DEFAULT"),
        Kind.SAME,
        (2, 0, 0),
        Fate.KEPT,
        True,
    ),
    "filter chains": (
        tcp(),
        tcp(filter_chains=[{"name": "x", "filters": [ECHO]}]),
        Kind.IN_PLACE,
        (2, 0, 0),
        Fate.KEPT,
        True,
    ),
    "exact_balance": (tcp(), tcp(**EXACT), Kind.IN_PLACE, (2, 0, 0), Fate.KEPT, True),
    "a default in a wrapper": (
        tcp(),
        tcp(transparent=False),
        Kind.IN_PLACE,
        (2, 0, 0),
        Fate.KEPT,
        True,
    ),
    "bind_to_port off": (
        tcp(),
        tcp(bind_to_port=False),
        Kind.IN_PLACE,
        (2, 0, 0),
        Fate.KEPT,
        True,
    ),
    "bind_to_port from true to false": (
        tcp(bind_to_port=True),
        tcp(bind_to_port=False),
        Kind.FULL_KEPT,
        (2, 0, 0),
        Fate.UNSERVED,
        False,
    ),
    "bind_to_port off with an option": (
        tcp(),
        tcp(bind_to_port=False, freebind=True),
        Kind.FULL_NEW,
        (0, 2, 0),
        Fate.RESET,
        True,
    ),
    "stat_prefix": (tcp(), tcp(stat_prefix="x"), Kind.FULL_KEPT, (2, 0, 0), Fate.KEPT, True),
    "stat_prefix of a path": (
        path(),
        path(stat_prefix="x"),
        Kind.FULL_KEPT,
        (1, 0, 0),
        Fate.KEPT,
        True,
    ),
    "the order of addresses": (
        tcp(**also(10001)),
        tcp(port=10001, **also(10000)),
        Kind.FULL_KEPT,
        (4, 0, 0),
        Fate.KEPT,
        True,
    ),
    "MPTCP": (tcp(), tcp(enable_mptcp=True), Kind.FULL_KEPT, (2, 0, 0), Fate.KEPT, True),
    "freebind": (tcp(), tcp(freebind=True), Kind.FULL_NEW, (0, 2, 2), Fate.RESET, True),
    "keepalive": (
        tcp(),
        tcp(tcp_keepalive={"keepalive_time": 5}),
        Kind.FULL_NEW,
        (0, 2, 2),
        Fate.RESET,
        True,
    ),
    "an option": (
        tcp(),
        tcp(socket_options=[KEEPALIVE]),
        Kind.FULL_NEW,
        (0, 2, 2),
        Fate.RESET,
        True,
    ),
    "the order of options": (  # bound, and no worker ever serves these
        tcp(socket_options=[KEEPALIVE, RECEIVE_BUFFER]),
        tcp(socket_options=[RECEIVE_BUFFER, KEEPALIVE]),
        Kind.IN_PLACE,
        (2, 0, 2),
        Fate.KEPT,
        True,
    ),
    "an option for an additional address": (
        tcp(**also(10001)),
        tcp(
            additional_addresses=[{**at(10001), "socket_options": {"socket_options": [KEEPALIVE]}}]
        ),
        Kind.FULL_NEW,
        (0, 4, 4),
        Fate.RESET,
        True,
    ),
    "the port": (tcp(), tcp(port=10001), Kind.FULL_NEW, (0, 2, 2), Fate.RESET, True),
    "an address more": (tcp(), tcp(**also(10001)), Kind.FULL_NEW, (0, 2, 4), Fate.RESET, True),
    "an address less": (tcp(**also(10001)), tcp(), Kind.FULL_NEW, (0, 4, 2), Fate.RESET, True),
    "the port of one queue for all": (
        tcp(**ALONE),
        tcp(port=10001, **ALONE),
        Kind.FULL_NEW,
        (0, 1, 1),
        Fate.RESET,
        True,
    ),
    "port 0 with an option": (
        tcp(port=0),
        tcp(port=0, freebind=True),
        Kind.FULL_NEW,
        (0, 2, 2),
        Fate.RESET,
        True,
    ),
    "TCP to UDP": (tcp(), udp(), Kind.FULL_NEW, (0, 2, 2), Fate.RESET, True),
    "an option of a path after listen": (
        path(),
        path(socket_options=[{**KEEPALIVE, "state": "STATE_LISTENING"}]),
        Kind.FULL_NEW,
        (0, 1, 1),
        Fate.RESET,
        True,
    ),
    "an option that Unix has not, after listen": (
        path(),
        path(tcp_fast_open_queue_length=5),
        Kind.DROPPED,
        (0, 1, 0),
        Fate.RESET,
        False,
    ),
}


@pytest.mark.parametrize("case", PUSHES.values(), ids=PUSHES.keys())
def test_a_push_does_what_envoy_was_seen_to_do(case):
    old, new, kind, counts, queued, served = case
    found = changed(old, new)
    assert (found.kind, sockets(found), found.queued, found.served) == (
        kind,
        counts,
        queued,
        served,
    )


REFUSALS: dict[str, tuple[Any, Any, str]] = {
    "reuse_port off": (
        tcp(),
        tcp(**ALONE),
        "Listener ingress: reuse port cannot be changed during an update",
    ),
    "reuse_port by the default": (
        tcp(**ALONE),
        tcp(),
        "Listener ingress: reuse port cannot be changed during an update",
    ),
    "reuse_port of a path": (
        path(),
        path(**ALONE),
        "Listener ingress: reuse port cannot be changed during an update",
    ),
    "an option of one queue for all": (tcp(**ALONE), tcp(freebind=True, **ALONE), DUPLICATE),
    "an address more of one queue for all": (
        tcp(**ALONE),
        tcp(**ALONE, **also(10001)),
        "has duplicate address '127.0.0.1:10000,127.0.0.1:10001'",
    ),
    "the port on every address": (
        tcp(**ALONE),
        {**tcp(**ALONE), **at(10000, "0.0.0.0")},
        "cannot bind '0.0.0.0:10000': Address already in use",
    ),
    "UDP with one socket": (udp(), udp(**ALONE), "Listening on UDP when concurrency is > 1"),
    "an abstract name that it has itself": (
        path("@name"),
        path("@name", freebind=True),
        "cannot bind '@name': Address already in use",
    ),
    "a mapped address for IPv6 alone": (
        tcp(),
        {**tcp(), **at(10000, "::ffff:127.0.0.1")},
        "cannot bind '[::ffff:127.0.0.1]:10000': Invalid argument",
    ),
    "a mapped address for IPv6 alone, on port 0": (
        tcp(),
        {**tcp(), **at(0, "::ffff:127.0.0.1")},
        "cannot bind '[::ffff:127.0.0.1]:0': Invalid argument",
    ),
    "no filter chains": (
        tcp(),
        tcp(filter_chains=[]),
        "error adding listener '127.0.0.1:10000': no filter chains specified",
    ),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_push_is_refused_in_envoys_words_and_the_listener_stays(case):
    old, new, words = case
    found = changed(old, new)
    assert (found.kind, found.closed, found.made) == (Kind.REFUSED, 0, 0)
    assert words in found.words
    assert (found.queued, found.held, found.served) == (Fate.KEPT, Fate.KEPT, True)
    assert any(one.refused for one in found.reasons)


def test_a_refused_option_of_ip_costs_a_path_its_file():
    found = changed(path(), path(freebind=True))
    assert (found.kind, found.words) == (Kind.REFUSED, "ingress: Setting socket options failed")
    assert (found.queued, found.is_unserved) == (Fate.KEPT, True)


def test_taking_bind_to_port_away_makes_no_socket():
    found = changed(tcp(bind_to_port=False), tcp())
    assert (found.kind, sockets(found)) == (Kind.IN_PLACE, (0, 0, 0))
    assert (found.served, found.is_unserved) == (False, True)
    assert [one.in_effect for one in found.reasons] == [False]


def test_a_field_that_envoy_does_not_know_is_acknowledged_and_without_effect():
    new = tcp(tcp_keepalive={"keepalive_time": 5})
    found = changed(tcp(), new, version="1.36.4")
    assert (found.kind, found.kept, found.held) == (Kind.SAME, 2, Fate.KEPT)
    (reason,) = found.reasons
    assert (reason.field, reason.in_effect) == ("tcp_keepalive.keepalive_time", False)
    assert reason.versions == ">=1.37"
    known = {version: changed(tcp(), new, version=version) for version in ("1.37.0", "")}
    assert {one.kind for one in known.values()} == {Kind.FULL_NEW}
    assert [one.reasons[0].in_effect for one in known.values()] == [True, None]


def test_a_field_of_no_version_ends_a_start_and_is_passed_over_in_a_push():
    new = tcp(tcp_backlog=5)
    for version in ("1.36.4", "1.40.0", ""):
        assert changed(tcp(), new, version=version).kind is Kind.SAME
        cold = predict_change(side(tcp()), side(new), Way.RESTART, version=version)
        assert [one.kind for one in cold.listeners] == [Kind.ENDS_ENVOY]
        assert [one.words for one in cold.listeners] == ["has unknown fields"]


def test_switching_bind_to_port_on_ends_envoy():
    off = tcp(bind_to_port=False)
    change = predict_change(side(off, tcp("other", 10001)), side(flipped(off, "bind_to_port"),
                            tcp("other", 10001)), Way.PUSH)  # fmt: skip
    ingress, other = change.listeners
    assert (ingress.kind, other.kind) == (Kind.ENDS_ENVOY, Kind.SAME)
    assert (other.queued, other.held, other.served) == (Fate.RESET, Fate.RESET, False)
    assert change.is_refused


def test_a_backlog_is_in_effect_by_a_push_since_1_40():
    reasons = {v: changed(tcp(), tcp(tcp_backlog_size=64), version=v).reasons for v in
               ("1.39.3", "1.40.0", "")}  # fmt: skip
    effects = {version: [one.in_effect for one in found] for version, found in reasons.items()}
    assert effects == {"1.39.3": [False], "1.40.0": [True], "": [None]}
    assert reasons[""][0].versions == ">=1.40"


def test_sockets_of_udp_stay_open_and_unread_since_1_40():
    """Seen: of 40 datagrams 22 arrived on 1.40.0 before the drain time was over, all on 1.39.3."""
    old, new = udp(), udp(freebind=True)
    before, since = (changed(old, new, version=version) for version in ("1.39.3", "1.40.0"))
    assert (before.closed, before.left, before.served) == (2, 0, True)
    assert (since.closed, since.left, since.served) == (0, 2, False)
    assert changed(old, new, version="").unknown.keys() == {"closed", "held"}


def test_sockets_of_quic_stay_open_and_read_while_the_listener_drains():
    """Seen on 1.36.4 and 1.40.0."""
    old = udp(udp_listener_config={"quic_options": {}})
    found = changed(old, {**old, "freebind": True}, version="1.36.4")
    assert (found.kind, found.closed, found.left, found.made) == (Kind.FULL_NEW, 0, 2, 2)
    assert (found.held, found.queued, found.served) == (Fate.DRAINED, Fate.UNKNOWN, None)
    assert found.unknown.keys() == {"queued"}


@pytest.mark.parametrize(
    "new, effect",
    [
        (tcp(**EXACT), False),
        (tcp(stat_prefix="x", **EXACT), True),
        (tcp(bind_to_port=False), False),
        ({**tcp(), **at(10000, "127.0.0.1", ipv4_compat=True)}, False),
        (tcp(enable_mptcp=True), False),
        (tcp(freebind=True), True),
    ],
)
def test_what_a_push_acknowledges_and_does_not_do_is_said(new, effect):
    found = changed(tcp(), new).reasons
    assert all(one.in_effect is effect for one in found if one.why is not Why.OTHER)


def test_what_forces_new_sockets_is_said_at_the_field():
    found = changed(tcp(), tcp(stat_prefix="x", freebind=True)).reasons
    assert {one.field: one.forces_new for one in found} == {"freebind": True, "stat_prefix": False}


def test_held_connections_drain_where_their_listener_or_chain_is_replaced():
    chain = tcp(filter_chains=[{"name": "x", "filters": [ECHO]}])
    fates = [changed(tcp(), new).held for new in (tcp(**EXACT), chain, tcp(freebind=True))]
    assert fates == [Fate.KEPT, Fate.DRAINED, Fate.DRAINED]


def test_a_listener_that_was_given_up_at_the_start_is_as_it_was():
    given_up = path(tcp_fast_open_queue_length=5)
    found = changed(given_up, given_up)
    assert (found.kind, found.served, found.differs) == (Kind.SAME, False, False)


def test_an_api_listener_needs_no_filter_chains():
    api = {"name": "api", **at(10000), "api_listener": {}}
    assert not predict_change(side(api), side(api), Way.RESTART).is_refused


def test_link_local_addresses_of_two_devices_are_two():
    places = [{**tcp(name), **at(10000, f"fe80::1%{name}")} for name in ("a", "b")]
    start = predict_change(side(*places), side(*places), Way.RESTART)
    assert not start.is_refused
    moved = [{**places[0], **at(10000, "fe80::1%c")}, places[1]]
    found = pushed(places, moved)
    assert (found["a"].kind, found["b"].kind) == (Kind.FULL_NEW, Kind.SAME)


def pushed(old: list[Any], new: list[Any]) -> dict[str, ListenerChange]:
    found = predict_change(side(*old), side(*new), Way.PUSH, version="1.40.0").listeners
    return {one.name: one for one in found}


def test_a_renamed_listener_takes_the_sockets_over_whatever_its_reuse_port():
    for more in ({}, ALONE):
        found = pushed([tcp()], [tcp("other", **more)])
        assert [found[name].kind for name in ("ingress", "other")] == [Kind.REMOVED, Kind.ADDED]
        assert [sockets(found[name]) for name in ("ingress", "other")] == [(2, 0, 0), (2, 0, 0)]
        assert found["ingress"].queued is Fate.KEPT
        assert found["other"].queue == "reuse_port"


def test_two_listeners_cannot_exchange_their_addresses():
    found = pushed([tcp("a"), tcp("b", 10001)], [tcp("a", 10001), tcp("b")])
    assert {one.kind for one in found.values()} == {Kind.REFUSED}


def test_an_address_is_free_for_who_is_sent_after_the_one_that_leaves_it():
    first = pushed([tcp("a")], [tcp("a", 10001), tcp("b")])
    assert (first["b"].kind, sockets(first["b"])) == (Kind.ADDED, (2, 0, 0))
    last = pushed([tcp("a")], [tcp("b"), tcp("a", 10001)])
    assert (last["b"].kind, last["b"].served) == (Kind.REFUSED, False)
    assert last["a"].queued is Fate.RESET


# old, new, workers, kind, (kept, closed, made), what is queued, the queue afterwards
HOT_RESTARTS: dict[str, tuple[Any, ...]] = {
    "the same": (tcp(), tcp(), (2, 2), Kind.FULL_KEPT, (2, 0, 0), Fate.HANDED_OVER, "reuse_port"),
    "more workers": (
        tcp(), tcp(), (2, 4), Kind.FULL_KEPT, (2, 0, 2), Fate.HANDED_OVER, "reuse_port",
    ),
    "fewer workers": (
        tcp(), tcp(), (4, 2), Kind.FULL_KEPT, (2, 2, 0), Fate.SOME_RESET, "reuse_port",
    ),
    "fewer workers with one queue": (
        tcp(**ALONE), tcp(**ALONE), (4, 2), Kind.FULL_KEPT, (1, 0, 0), Fate.HANDED_OVER, "dup",
    ),
    "reuse_port off": (
        tcp(), tcp(**ALONE), (2, 2), Kind.FULL_KEPT, (1, 1, 0), Fate.SOME_RESET, "dup",
    ),
    "reuse_port on": (
        tcp(**ALONE), tcp(), (2, 2), Kind.FULL_KEPT, (1, 0, 0), Fate.HANDED_OVER, "dup",
    ),
    "reuse_port on with more workers": (
        tcp(**ALONE), tcp(), (2, 4), Kind.FULL_KEPT, (1, 0, 2), Fate.HANDED_OVER, "reuse_port",
    ),
    "the port": (
        tcp(), tcp(port=10001), (2, 2), Kind.FULL_NEW, (0, 2, 2), Fate.RESET, "reuse_port",
    ),
    "port 0": (
        tcp(port=0), tcp(port=0), (2, 2), Kind.FULL_NEW, (0, 2, 2), Fate.RESET, "reuse_port",
    ),
    "an address more": (
        tcp(), tcp(**also(10001)), (2, 2), Kind.FULL_KEPT, (2, 0, 2), Fate.HANDED_OVER,
        "reuse_port",
    ),
    "an address less": (
        tcp(**also(10001)), tcp(), (2, 2), Kind.FULL_KEPT, (2, 2, 0), Fate.SOME_RESET,
        "reuse_port",
    ),
    "bind_to_port off": (
        tcp(), tcp(bind_to_port=False), (2, 2), Kind.FULL_NEW, (0, 2, 0), Fate.RESET, "",
    ),
    "an option": (
        tcp(), tcp(freebind=True), (2, 2), Kind.FULL_KEPT, (2, 0, 0), Fate.HANDED_OVER,
        "reuse_port",
    ),
    "UDP to TCP": (udp(), tcp(), (2, 2), Kind.FULL_NEW, (0, 2, 2), Fate.RESET, "reuse_port"),
    "a path": (path(), path(), (4, 2), Kind.FULL_KEPT, (1, 0, 0), Fate.HANDED_OVER, "dup"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOT_RESTARTS.values(), ids=HOT_RESTARTS.keys())
def test_a_hot_restart_hands_over_what_it_was_seen_to_hand_over(case):
    old, new, workers, kind, counts, queued, queue = case
    sides = side(old, workers=workers[0]), side(new, workers=workers[1])
    (found,) = predict_change(*sides, Way.HOT_RESTART, version="1.40.0").listeners
    assert (found.kind, sockets(found), found.queued, found.queue) == (kind, counts, queued, queue)
    assert (found.held, found.served) == (Fate.DRAINED, True)


@pytest.mark.parametrize(
    "old, new, effect",
    [
        (tcp(), tcp(freebind=True), True),
        (tcp(transparent=True), tcp(), False),  # the option stays on the socket
        (tcp(socket_options=[KEEPALIVE]), tcp(), False),
        (tcp(socket_options=[RECEIVE_BUFFER]), tcp(socket_options=[SMALLER_BUFFER]), True),
        (tcp(), tcp(tcp_backlog_size=64), True),
        (tcp(), tcp(**EXACT), True),
        (tcp(), tcp(enable_mptcp=True), False),
        (tcp(**ALONE), tcp(), False),
        (tcp(), tcp(**ALONE), True),
    ],
)
def test_what_the_next_epoch_does_not_apply_to_sockets_it_gets_is_said(old, new, effect):
    (reason,) = changed(old, new, Way.HOT_RESTART).reasons
    assert reason.in_effect is effect


def test_a_socket_in_another_namespace_is_handed_over_since_1_38():
    there = {**tcp(), **at(10000, network_namespace_filepath="/run/netns/blue")}
    found = {v: changed(there, there, Way.HOT_RESTART, v) for v in ("1.37.0", "1.38.3", "")}
    kept = {version: one.kept for version, one in found.items()}
    assert (kept["1.37.0"], kept["1.38.3"]) == (0, 2)
    assert found[""].unknown.keys() == {"kept"}


def quic(port: int = 10000, **more: Any) -> dict[str, Any]:
    chains = {"filter_chains": [{}], "udp_listener_config": {"quic_options": {}}}
    return {"name": "ingress", **at(port, protocol="UDP"), **chains, **more}


@pytest.mark.parametrize(
    "old, new, gaps",
    [
        (udp(), udp(freebind=True), (Gap.PARENT_SHUTDOWN, Gap.NONE, Gap.UNKNOWN)),
        (quic(), quic(freebind=True), (Gap.UNKNOWN, Gap.NONE, Gap.UNKNOWN)),
        (udp(), udp(10001), (Gap.NONE, Gap.NONE, Gap.NONE)),
        (tcp(), tcp(freebind=True), (Gap.NONE, Gap.NONE, Gap.NONE)),
    ],
)
def test_no_one_reads_datagrams_of_sockets_handed_over_before_1_40(old, new, gaps):
    """With --parent-shutdown-time-s 6 it was 6 seconds on 1.36.4; of QUIC half a second."""
    for version, gap in zip(("1.36.4", "1.40.0", ""), gaps, strict=True):
        one = changed(old, new, Way.HOT_RESTART, version)
        assert (one.gap, one.served) == (gap, True)
        assert ("gap" in one.unknown) == (gap is Gap.UNKNOWN)


def test_a_gap_is_a_loss_whatever_a_hot_restart_changes():
    other = tcp("other", 10001)
    sides = side(udp(), other), side(udp(), {**other, "freebind": True})
    assert predict_change(*sides, Way.HOT_RESTART, version="1.36.4").loses
    assert not predict_change(*sides, Way.HOT_RESTART, version="1.40.0").loses
    assert not predict_change(sides[0], sides[0], Way.HOT_RESTART, version="1.36.4").loses


@pytest.mark.parametrize(
    "new, words",
    [
        ([tcp(), tcp("other")], "'other' has duplicate address '127.0.0.1:10000'"),
        ([path("@name", freebind=True)], "ingress: Setting socket options failed"),
        ([udp(**ALONE)], "Listening on UDP"),
    ],
)
def test_an_envoy_that_does_not_come_up_leaves_the_one_before_or_none(new, words):
    sides = side(tcp()), side(*new)
    hot = predict_change(*sides, Way.HOT_RESTART)
    assert hot.is_refused
    assert (hot.listeners[0].kind, hot.listeners[0].queued) == (Kind.REFUSED, Fate.KEPT)
    cold = predict_change(*sides, Way.RESTART)
    assert (cold.listeners[0].kind, cold.listeners[0].queued) == (Kind.ENDS_ENVOY, Fate.RESET)
    for change in (hot, cold):
        assert any(words in one.words for one in change.listeners)


def test_one_queue_cannot_be_bound_beside_the_socket_of_the_epoch_before():
    change = predict_change(
        side(tcp(**ALONE)), side({**tcp(**ALONE), **at(10000, "0.0.0.0")}), Way.HOT_RESTART
    )
    assert change.listeners[0].words == "cannot bind '0.0.0.0:10000': Address already in use"


def test_a_restart_closes_every_socket_and_applies_every_field():
    found = changed(tcp(), tcp(**ALONE), Way.RESTART)
    assert (found.kind, sockets(found)) == (Kind.FULL_NEW, (0, 2, 1))
    assert (found.queued, found.held) == (Fate.RESET, Fate.RESET)
    assert (found.queue_before, found.queue) == ("reuse_port", "dup")
    assert [one.in_effect for one in found.reasons] == [True]


def others(change: Change) -> list[tuple[Topic, str, Any, Any, bool]]:
    return [(one.topic, one.field, one.before, one.after, one.applied) for one in change.others]


def test_what_is_not_a_listeners_is_applied_at_a_start_alone():
    old = Side({"admin": at(9901)}, None, 2, ("--log-level", "info"))
    new = Side(
        {
            "admin": at(9902),
            "layered_runtime": {"layers": [{"name": "x", "static_layer": {"a": {"b": 1}}}]},
            "overload_manager": {"actions": [{"name": "x"}]},
        },
        None,
        4,
        ("--log-level=debug",),
    )
    for way in Way:
        applied = way is not Way.PUSH
        port = "admin.address.socket_address.port_value"
        assert others(predict_change(old, new, way)) == [
            (Topic.WORKERS, "--concurrency", 2, 4, applied),
            (Topic.ARGUMENTS, "--log-level", "info", "debug", applied),
            (Topic.ADMIN, port, 9901, 9902, applied),
            (Topic.RUNTIME, "layered_runtime.a.b", None, 1, applied),
            (Topic.OVERLOAD_MANAGER, "overload_manager.actions", None, {"count": 1}, applied),
        ]


def test_the_next_epoch_finds_the_one_before_by_its_socket_path_alone():
    old = side(tcp())
    new = Side(old.config, None, 2, ("--socket-path", "@other"))
    hot = predict_change(old, new, Way.HOT_RESTART)
    assert (hot.is_refused, [one.kind for one in hot.listeners]) == (True, [Kind.REFUSED])
    assert not predict_change(old, new, Way.RESTART).is_refused


def test_a_push_changes_no_static_listener():
    old = Side({"static_resources": {"listeners": [tcp()]}}, (tcp("served", 10001),))
    new = Side({"static_resources": {"listeners": [tcp(freebind=True)]}}, (tcp("served", 10000),))
    change = predict_change(old, new, Way.PUSH)
    (served,) = change.listeners
    assert (served.kind, served.name) == (Kind.REFUSED, "served")  # the address is the static one's
    assert others(change) == [(Topic.OTHER, "static_resources.listeners.ingress", {}, {}, False)]


def test_listeners_of_a_control_plane_that_are_not_known_are_said():
    config: dict[str, Any] = {"dynamic_resources": {"lds_config": {"ads": {}}}}
    assert "listeners" in predict_change(Side(config), Side(config), Way.PUSH).unknown
    served = Side(config, (tcp(),))
    assert predict_change(served, served, Way.PUSH).unknown == {}


def test_a_version_that_the_model_does_not_know_is_said():
    assert predict_change(side(), side(), Way.PUSH, version="1.20.0").unknown.keys() == {"version"}


def test_an_option_without_a_name_may_be_refused():
    unnamed = {"level": 1, "name": 9999, "int_value": 1}
    assert changed(tcp(), tcp(socket_options=[unnamed])).unknown.keys() == {"kind"}


def test_a_number_that_is_none_is_no_config():
    with pytest.raises(PredictError, match="whole number"):
        changed(tcp(), tcp(tcp_backlog_size="many"))


WILD = {**tcp("every"), **at(10000, "0.0.0.0"), **ALONE}
#: TCP_KEEPCNT takes 127 at most; level and name: <linux/in.h>, <linux/tcp.h>.
LATE: dict[str, Any] = {
    "socket_options": [{"level": 6, "name": 6, "int_value": 500, "state": "STATE_LISTENING"}]
}
INITIALIZING = "previous envoy process is still initializing"


def by_name(old: Side, new: Side, way: Way) -> dict[str, ListenerChange]:
    return {one.name: one for one in predict_change(old, new, way, version="1.40.0").listeners}


@pytest.mark.parametrize("first", [tcp(), tcp(**ALONE)], ids=["reuse_port", "one queue"])
def test_of_a_wildcard_beside_an_address_of_its_port_a_restart_gives_the_later_one_up(first):
    old, new = side(first), side(first, WILD)
    found = by_name(old, new, Way.RESTART)
    assert found["ingress"].kind is Kind.FULL_NEW
    every = found["every"]
    assert (every.kind, sockets(every), every.served) == (Kind.DROPPED, (0, 0, 0), False)
    assert every.words == "cannot listen() errno=98"
    assert predict_change(old, new, Way.RESTART).is_refused
    for way in (Way.PUSH, Way.HOT_RESTART):  # the other one listens already
        refused = by_name(old, new, way)["every"]
        words = "cannot bind '0.0.0.0:10000': Address already in use"
        assert (refused.kind, refused.words) == (Kind.REFUSED, words)


def test_a_wildcard_and_an_address_of_its_port_listen_where_each_worker_has_a_socket():
    every = {**WILD, "enable_reuse_port": True}
    for way in Way:
        found = by_name(side(tcp()), side(tcp(), every), way)["every"]
        assert (found.kind, sockets(found), found.served) == (Kind.ADDED, (0, 0, 2), True)


def test_from_a_start_that_gave_a_listener_up_no_hot_restart_leads_on():
    old = side(tcp(**ALONE), WILD)
    found = by_name(old, side(tcp(**ALONE)), Way.HOT_RESTART)
    assert {one.kind for one in found.values()} == {Kind.REFUSED}
    assert {one.words for one in found.values()} == {INITIALIZING}
    assert (found["ingress"].served, found["every"].served) == (True, False)
    removed = by_name(old, side(tcp(**ALONE)), Way.PUSH)
    assert [*removed] == ["ingress"]  # there is no other to remove
    again = by_name(old, old, Way.RESTART)
    assert again["every"].kind is Kind.SAME
    itself = predict_change(old, old, Way.HOT_RESTART)  # refused too, but not for what changes
    assert (itself.is_refused, itself.differs, itself.loses) == (True, False, False)


def test_the_next_epoch_that_gives_a_listener_up_never_has_the_one_before_drain():
    late = {**tcp("late", 10001), **LATE}
    change = predict_change(side(tcp()), side(tcp(), late), Way.HOT_RESTART, version="1.40.0")
    ingress, dropped = change.listeners
    assert (sockets(ingress), ingress.held, ingress.served) == ((2, 0, 0), Fate.KEPT, True)
    words = "cannot set post-listen socket option on socket: 127.0.0.1:10001"
    assert (dropped.kind, dropped.words, dropped.served) == (Kind.DROPPED, words, False)
    assert (change.is_undrained, change.is_refused) == (True, True)
    other = tcp("other", 10002)
    kept = by_name(side(tcp(), other), side(tcp(**LATE), other), Way.HOT_RESTART)["ingress"]
    assert (kept.kind, sockets(kept), kept.served) == (Kind.DROPPED, (2, 0, 0), True)


def test_an_epoch_of_which_every_listener_is_given_up_waits_for_none():
    change = predict_change(side(tcp()), side(tcp(**LATE)), Way.HOT_RESTART)
    (found,) = change.listeners
    assert (found.kind, sockets(found), found.queued) == (Kind.DROPPED, (0, 2, 0), Fate.RESET)
    assert (found.served, found.held, change.is_undrained) == (False, Fate.DRAINED, False)
    (next_one,) = by_name(side(tcp(**LATE)), side(tcp()), Way.HOT_RESTART).values()
    assert (next_one.kind, next_one.served) == (Kind.FULL_NEW, True)


@pytest.mark.parametrize("way", [*Way])
def test_what_an_option_without_a_name_leads_to_is_not_known_by_any_way(way):
    option = {"level": 6, "name": 77, "int_value": 1, "state": "STATE_LISTENING"}
    late = tcp("late", 10001, socket_options=[option])
    found = by_name(side(tcp()), side(tcp(), late), way)["late"]
    assert (found.served, "kind" in found.unknown) == (None, True)
    known = by_name(side(late), side(late), way)["late"]
    assert (known.served, known.unknown) == (True, {})


@pytest.mark.parametrize("served", [False, True], ids=["static", "of a control plane"])
@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize(("version", "refused"), [("1.36.4", False), ("1.40.0", True)])
def test_version_decides_whether_udp_without_bind_is_taken(way, served, version, refused):
    def of(*listeners):
        return Side({}, listeners, 2) if served else side(*listeners)

    found = predict_change(of(udp()), of(udp(bind_to_port=False)), way, version=version)
    (change,) = found.listeners
    # A new Envoy whose own listener is refused does not start.
    ends = way is Way.RESTART and not served
    assert (change.kind is (Kind.ENDS_ENVOY if ends else Kind.REFUSED)) is refused
    assert ("bind_to_port: false is not supported" in change.words) is refused


def test_a_listener_that_was_given_up_is_tried_again_by_each_push():
    wild = {**tcp("wild"), **at(10000, "0.0.0.0"), **ALONE}
    given_up = tcp(**ALONE)
    words = "cannot bind '127.0.0.1:10000': Address already in use"
    for new in ([{**wild, "stat_prefix": "a"}, given_up], [given_up]):
        change = predict_change(side(wild, given_up), side(*new), Way.PUSH, version="1.40.0")
        (found,) = [one for one in change.listeners if one.name == "ingress"]
        assert (found.kind, found.words, found.served) == (Kind.REFUSED, words, False)
        assert change.is_refused
    there = Listeners.started({"wild": wild, "ingress": given_up}, 2, "1.40.0")
    there.push({})
    (found,) = there.push({"ingress": given_up})
    assert (found.kind, found.served, found.made) == (Kind.ADDED, True, 1)
    same = predict_change(side(wild, given_up), side(wild, given_up), Way.PUSH)
    assert not same.differs


def test_a_name_is_taken_by_a_listener_that_is_not_to_be_bound_too():
    more = {"additional_addresses": [{"address": {"pipe": {"path": "@b"}}}], "bind_to_port": False}
    found = changed(path("@a", **more), path("@c", **more))
    assert found.kind is Kind.REFUSED
    assert found.words == "cannot bind '@b': Address already in use"
    again = {"additional_addresses": [{"address": {"pipe": {"path": "/b"}}}], "bind_to_port": False}
    assert changed(path("/a", **again), path("/c", **again)).kind is Kind.FULL_NEW


@pytest.mark.parametrize("version", ["1.36.4", "1.40.0", ""])
def test_of_datagrams_that_are_not_to_be_bound_is_known_what_1_40_makes_of_them(version):
    unbound = udp(bind_to_port=False)
    empty = side()
    for way in (Way.PUSH, Way.HOT_RESTART):
        served = [Side(empty.config, tuple(each), 2) for each in ([], [unbound])]
        (found,) = predict_change(served[0], served[1], way, version=version).listeners
        is_refused = version == "1.40.0"
        assert (found.kind is Kind.REFUSED) is is_refused
        assert ("kind" in found.unknown) is not is_refused
        assert found.served is (False if is_refused else None)
        if not version:
            assert found.unknown["kind"].endswith("and later ones refuse it")


# Overload

STOPS = {"actions": [{"name": "envoy.overload_actions.stop_accepting_connections"}]}
OTHERS = {"actions": [{"name": "envoy.overload_actions.stop_accepting_requests"}]}
BYPASS: dict[str, Any] = {"bypass_overload_manager": True}


def http3(**more: Any) -> dict[str, Any]:
    return udp(udp_listener_config={"quic_options": {}}, **more)


@pytest.mark.parametrize(
    "listener, goes_on",
    [
        (tcp(), False),
        (tcp(bypass_overload_manager=False), False),
        (tcp(**BYPASS), True),
        ({**tcp(), "bypassOverloadManager": True}, True),
        (path(**BYPASS), True),
        (udp(**BYPASS), False),
        (http3(), True),
    ],
)
def test_workers_wait_under_overload_for_streams_that_bypass_it_and_for_quic(listener, goes_on):
    assert goes_on_under_overload(listener) is goes_on


@pytest.mark.parametrize(
    "old, new, manager, shut",
    [
        (tcp(**BYPASS), tcp(**BYPASS, stat_prefix="a"), STOPS, True),
        (tcp(**BYPASS), tcp(**BYPASS, freebind=True), STOPS, True),
        (tcp(), tcp(**BYPASS), STOPS, True),
        (tcp(**BYPASS), tcp(stat_prefix="a"), STOPS, False),
        (tcp(**BYPASS), tcp(**BYPASS), STOPS, False),
        (tcp(**BYPASS), tcp(**BYPASS, filter_chains=[{"name": "x"}]), STOPS, False),
        (tcp(**BYPASS), tcp(**BYPASS, stat_prefix="a"), OTHERS, False),
        (udp(**BYPASS), udp(**BYPASS, stat_prefix="a"), STOPS, False),
    ],
)
def test_a_push_under_overload_shuts_a_listener_that_bypasses_it(old, new, manager, shut):
    before, after = (side(one, overload_manager=manager) for one in (old, new))
    for way in Way:
        (found,) = predict_change(before, after, way, version="1.40.0").listeners
        assert found.shut_by_overload is (shut and way is Way.PUSH)


def test_a_listener_that_is_added_is_shut_by_overload_too():
    old, new = side(overload_manager=STOPS), side(tcp(**BYPASS), overload_manager=STOPS)
    (found,) = predict_change(old, new, Way.PUSH).listeners
    assert (found.kind, found.shut_by_overload) == (Kind.ADDED, True)


@pytest.mark.parametrize("form, heeds", [(tcp, True), (path, True), (udp, False), (http3, None)])
def test_no_listener_for_datagrams_takes_heed_of_bypassing(form, heeds):
    for way in Way:
        found = changed(form(), form(**BYPASS), way)
        assert [one.in_effect for one in found.reasons] == [heeds]
