"""The changes of the table: each field of a listener that has to do with sockets, and what is not a
listener's and still decides about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envoyassert.predict.effects import Way
from tests.unit.test_transition_scenario import ECHO, bootstrap, listener, place

#: Options of a socket by level and name: <asm-generic/socket.h>, <linux/in.h>.
_KEEPALIVE = {"level": 1, "name": 9, "int_value": 1}
_PRIORITY = {"level": 1, "name": 12}
_TOS = {"level": 0, "name": 1, "int_value": 16}


@dataclass(frozen=True)
class Case:
    """One change.

    Args:
        name: in words.
        old: the section `envoy` of a scenario.
        new: that of what it is changed to.
        why: of those to look at first, what they show; "" for the others.
    """

    name: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    why: str = ""
    ways: tuple[Way, ...] = tuple(Way)


def _envoy(*listeners: dict[str, Any], **more: Any) -> dict[str, Any]:
    admin = more.pop("admin", None)
    config = bootstrap(*listeners, **({"admin": admin} if admin else {}))
    return {"config": config, "concurrency": 2, **more}


def _case(
    name: str, new: Mapping[str, Any], old: Mapping[str, Any] | None = None, why: str = ""
) -> Case:
    """Return a change of one listener: what it has beside name, address and filters."""
    return Case(name, _envoy(listener(**(old or {}))), _envoy(listener(**new)), why)


def _option(state: str, **more: Any) -> dict[str, Any]:
    return {"socket_options": [{**_KEEPALIVE, "state": state, **more}]}


def _priority(value: int) -> dict[str, Any]:
    return {"socket_options": [{**_PRIORITY, "int_value": value, "state": "STATE_PREBIND"}]}


def _more(*ports: int) -> dict[str, Any]:
    return {"additional_addresses": [{"address": place(port)} for port in ports]}


_UDP = {"address": place(15006, protocol="UDP")}
_SHARED = {"enable_reuse_port": False}
_NO_SOCKET = {"bind_to_port": False}
_EXACT: dict[str, Any] = {"connection_balance_config": {"exact_balance": {}}}
_INSPECTOR = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
_FILTERS = [{"name": "tls", "typed_config": {"@type": _INSPECTOR}}]
_NO_PUSH = (Way.HOT_RESTART, Way.RESTART)


def _unix(name: str, **more: Any) -> dict[str, Any]:
    return {"address": {"pipe": {"path": f"${{rundir}}/{name}", **more}}}


def _netns(name: str) -> dict[str, Any]:
    file = f"${{rundir}}/netns/{name}"
    own = listener(address=place(15006, network_namespace_filepath=file))
    return _envoy(own, netns=["blue", "green"])


CASES = (
    _case("nothing", {}),
    _case(
        "filter chains alone",
        {"filter_chains": [{"filters": [{**ECHO, "name": "echo"}]}]},
        why="a change of filter chains keeps sockets, queues and connections that wait",
    ),
    _case("listener filters added", {"listener_filters": _FILTERS}),
    _case(
        "enable_reuse_port: true → false",
        _SHARED,
        why="a push of another `enable_reuse_port` is refused; a hot restart loses what waits",
    ),
    _case("enable_reuse_port: false → true", {}, _SHARED),
    _case(
        "socket option added, before bind",
        _option("STATE_PREBIND"),
        why="a push of other socket options closes queues with clients in them",
    ),
    _case("socket option added, after bind", {"socket_options": [{**_TOS, "state": 1}]}),
    _case("socket option added, after listen", _option("STATE_LISTENING")),
    _case("socket option changed", _priority(5), _priority(4)),
    _case("socket option removed", {}, _option("STATE_PREBIND")),
    _case("socket option added, one queue", {**_SHARED, **_option("STATE_PREBIND")}, _SHARED),
    _case("tcp_backlog_size", {"tcp_backlog_size": 64}),
    _case("freebind", {"freebind": True}),
    _case("transparent", {"transparent": True}),
    _case("tcp_fast_open_queue_length", {"tcp_fast_open_queue_length": 16}),
    _case("tcp_keepalive", {"tcp_keepalive": {"keepalive_time": 60}}),
    _case("enable_mptcp", {"enable_mptcp": True}),
    _case("bind_to_port: true → false", _NO_SOCKET),
    _case("bind_to_port: false → true", {}, _NO_SOCKET),
    _case(
        "ipv4_compat: false → true",
        {"address": place(15006, "::", ipv4_compat=True)},
        {"address": place(15006, "::")},
    ),
    _case("address", {"address": place(15006, "127.0.0.2")}),
    _case("port", {"address": place(15007)}),
    _case("protocol: TCP → UDP", _UDP),
    _case(
        "additional address added",
        _more(15007),
        why="an address that is added makes new sockets for those that stay",
    ),
    _case("additional address removed", {}, _more(15007)),
    _case("additional addresses in another order", _more(15008, 15007), _more(15007, 15008)),
    _case("additional address added, one queue", {**_SHARED, **_more(15007)}, _SHARED),
    _case(
        "exact_balance added",
        _EXACT,
        why="a push of `exact_balance` is acknowledged, duplicates all descriptors, and is never "
        "in effect",
    ),
    _case("exact_balance removed", {}, _EXACT),
    _case("drain_type", {"drain_type": "MODIFY_ONLY"}),
    _case("per_connection_buffer_limit_bytes", {"per_connection_buffer_limit_bytes": 4096}),
    _case("name", {"name": "other"}),
    Case("listener added", _envoy(listener()), _envoy(listener(), listener("more", 15007))),
    Case("listener removed", _envoy(listener(), listener("more", 15007)), _envoy(listener())),
    _case("Unix: path", _unix("second.sock"), _unix("first.sock")),
    _case("Unix: mode", _unix("local.sock", mode=0o600), _unix("local.sock", mode=0o660)),
    _case("UDP: freebind", {**_UDP, "freebind": True}, _UDP),
    _case("UDP: filters", {**_UDP, "listener_filters": [{"name": "other"}]}, _UDP),
    Case("network namespace", _netns("blue"), _netns("green")),
    Case(
        "--concurrency: 2 → 4",
        _envoy(listener()),
        _envoy(listener(), concurrency=4),
        "from 2 to 4 workers a hot restart binds two sockets beside those that it inherits",
        _NO_PUSH,
    ),
    Case(
        "--concurrency: 4 → 2",
        _envoy(listener(), concurrency=4),
        _envoy(listener()),
        "a hot restart with fewer workers loses what waits for those that are gone",
        _NO_PUSH,
    ),
    Case(
        "admin: address",
        _envoy(listener()),
        _envoy(listener(), admin={"address": place(9902)}),
        ways=_NO_PUSH,
    ),
    Case(
        "--socket-path",
        _envoy(listener()),
        _envoy(listener(), args=["--socket-path", "@other"]),
        ways=_NO_PUSH,
    ),
)
