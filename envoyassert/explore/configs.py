"""Listener sets made at random, from the fields that decide about sockets.

Hypothesis makes them, and cuts them down: the simplest value of each field is that it is absent.
Source of the fields: Envoy's config.listener.v3.Listener, config.core.v3.Address and SocketOption,
config.bootstrap.v3.Bootstrap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envoyassert.draft.stand_in import bootstrap_with, serving
from envoyassert.errors import MachineError
from envoyassert.explore.case import PRESSURE, Case
from envoyassert.scenario.overload import overload_manager
from envoyassert.versions import satisfies

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise MachineError(
        "this needs Hypothesis, which is not installed", "pip install 'envoyassert[explore]'"
    ) from error

Listener = dict[str, Any]

_PORT = 10000
_ADMIN_PORT = 9901
#: Protocols of listeners; the first is the simplest.
PROTOCOLS = ("TCP", "UDP", "UNIX", "QUIC", "INTERNAL")
_MOST_LISTENERS = 3
_INTERNAL = {
    "name": "envoy.bootstrap.internal_listener",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3"
        ".InternalListener"
    },
}
#: level, name and value of options that the kernel takes before bind, after it, and after listen.
_OPTIONS: Mapping[str, Sequence[tuple[int, int, dict[str, Any]]]] = {
    "TCP": (
        (1, 9, {"int_value": 1}),  # SO_KEEPALIVE
        (6, 1, {"int_value": 1}),  # TCP_NODELAY
        (1, 8, {"int_value": 65536}),  # SO_RCVBUF
        (1, 12, {"int_value": 4}),  # SO_PRIORITY
        (6, 9, {"int_value": 3}),  # TCP_DEFER_ACCEPT
        (6, 23, {"int_value": 7}),  # TCP_FASTOPEN
        (1, 13, {"buf_value": "AQAAAAUAAAA="}),  # SO_LINGER
        (6, 13, {"buf_value": "cmVubw=="}),  # TCP_CONGESTION
        (1, 15, {"int_value": 1}),  # SO_REUSEPORT
        (1, 15, {"int_value": 0}),
        (1, 2, {"int_value": 0}),  # SO_REUSEADDR
    ),
    "UDP": (
        (1, 8, {"int_value": 65536}),
        (1, 12, {"int_value": 4}),
        (1, 7, {"int_value": 65536}),  # SO_SNDBUF
        (1, 6, {"int_value": 1}),  # SO_BROADCAST
        (1, 2, {"int_value": 1}),
        (17, 103, {"int_value": 1200}),  # UDP_SEGMENT
    ),
    "UNIX": (
        (1, 8, {"int_value": 65536}),
        (1, 7, {"int_value": 65536}),
        (1, 9, {"int_value": 1}),
        (1, 16, {"int_value": 1}),  # SO_PASSCRED
    ),
}
_STATES = ("STATE_PREBIND", "STATE_BOUND", "STATE_LISTENING")


def cases(version: str, *, served: bool = False) -> st.SearchStrategy[Case]:
    """Return a strategy of bootstraps with a number of workers.

    Args:
        version: of the Envoy that is to take them.
        served: whether the listeners come by LDS.
    """
    return _case(version, served)


@st.composite
def _case(draw: st.DrawFn, version: str, served: bool) -> Case:
    count = draw(st.integers(0 if not served else 1, _MOST_LISTENERS))
    made = with_own_places([draw(listeners(number, version)) for number in range(count)])
    concurrency = draw(st.integers(1, 4))
    if any(map(takes_one_worker, made)):
        concurrency = 1
    admin = draw(_admins()) if not served else _tcp_admin()
    more = draw(_more(version))
    return Case(concurrency, tuple(made), _bootstrap(admin, more), served=served)


def _bootstrap(admin: Any, more: dict[str, Any]) -> dict[str, Any]:
    """Return a bootstrap without its listeners, with all that these need."""
    whole: dict[str, Any] = bootstrap_with([], admin)
    # The cluster of UDP, whatever a later push brings.
    with_udp: Any = bootstrap_with([dict(serving("UDP"))])
    whole["static_resources"] = {"clusters": with_udp["static_resources"]["clusters"]}
    return {**whole, "bootstrap_extensions": [_INTERNAL], **more}


def _tcp_admin() -> dict[str, Any]:
    return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": _ADMIN_PORT}}}


def _admins() -> st.SearchStrategy[dict[str, Any] | None]:
    places = st.sampled_from(
        (
            _tcp_admin()["address"],
            {"socket_address": {"address": "::1", "port_value": _ADMIN_PORT}},
            {"socket_address": {"address": "0.0.0.0", "port_value": _ADMIN_PORT}},  # noqa: S104
            {"socket_address": {"address": "::", "port_value": _ADMIN_PORT, "ipv4_compat": True}},
            {"pipe": {"path": "${rundir}/admin.sock"}},
            {"pipe": {"path": "${rundir}/admin.sock", "mode": 0o660}},
        )
    )
    made = places.flatmap(
        lambda place: st.fixed_dictionaries(
            {"address": st.just(place)},
            optional={"socket_options": _options("UNIX" if "pipe" in place else "TCP")},
        )
    )
    return st.one_of(made, st.none())


def _more(version: str) -> st.SearchStrategy[dict[str, Any]]:
    runtime = st.fixed_dictionaries(
        {},
        optional={
            # Envoy has no such guard any more: it says so, and goes on.
            "envoy.reloadable_features.listener_reuse_port_default_enabled": st.booleans(),
            "overload.global_downstream_max_connections": st.just(100),
        },
    ).filter(bool)
    layers = runtime.map(lambda layer: {"layers": [{"name": "static", "static_layer": layer}]})
    optional: dict[str, st.SearchStrategy[Any]] = {
        "layered_runtime": layers,
        "overload_manager": st.just(overload_manager(PRESSURE)),
    }
    if satisfies(version, ">=1.39"):
        optional["enable_worker_cpu_affinity"] = st.just(True)
    return st.fixed_dictionaries({}, optional=optional)


@st.composite
def listeners(draw: st.DrawFn, number: int, version: str) -> Listener:
    """Make a listener.

    Args:
        draw: given by Hypothesis.
        number: which one it is: its name, and its usual port.
        version: of the Envoy that is to take it.
    """
    protocol = draw(st.sampled_from(PROTOCOLS))
    name = f"listener_{number}"
    if protocol == "INTERNAL":
        return {"name": name, "internal_listener": {}, **serving("TCP")}
    listener: Listener = {
        "name": name,
        "address": draw(places(protocol, number)),
        **serving(protocol),
        **draw(st.fixed_dictionaries({}, optional=fields(protocol, number, version))),
    }
    return possible(listener)


def places(protocol: str, number: int, apart: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of addresses.

    Args:
        protocol: of the listener.
        number: of the listener.
        apart: number of the address among the listener's own.
    """
    if protocol == "UNIX":
        path = f"${{rundir}}/{number}-{apart}.sock"
        # An abstract name is of the network namespace, which is the run's own.
        return st.sampled_from(
            (
                {"pipe": {"path": path}},
                {"pipe": {"path": path, "mode": 0o600}},
                {"pipe": {"path": path, "mode": 0o777}},
                {"pipe": {"path": f"@explore-{number}-{apart}"}},
            )
        )
    port = _PORT + number + 100 * apart
    hosts: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        (
            {"address": "127.0.0.1"},
            {"address": "127.0.0.2"},
            {"address": "0.0.0.0"},  # noqa: S104 - in a network namespace of the run's own
            {"address": "::1"},
            {"address": "::"},
            {"address": "::", "ipv4_compat": True},
            {"address": "::ffff:127.0.0.1", "ipv4_compat": True},
        )
    )
    ports = st.sampled_from((port, port, port, port, 0, _PORT))
    kind = {"protocol": "UDP"} if protocol in ("UDP", "QUIC") else {}
    return st.builds(
        lambda host, port: {"socket_address": {**host, "port_value": port, **kind}}, hosts, ports
    )


def _options(protocol: str, states: Sequence[str] = _STATES) -> st.SearchStrategy[list[Any]]:
    kinds = {"TCP": "stream", "UDP": "datagram", "QUIC": "datagram", "UNIX": "stream"}
    known = _OPTIONS["UDP" if protocol == "QUIC" else protocol]
    one = st.builds(
        lambda option, state, kind: {
            "level": option[0],
            "name": option[1],
            **option[2],
            "state": state,
            **({"type": {kind: {}}} if kind else {}),
        },
        st.sampled_from(known),
        st.sampled_from(states),
        st.sampled_from(("", "", kinds[protocol], "stream", "datagram")),
    )
    return st.lists(one, min_size=1, max_size=3)


def fields(protocol: str, number: int, version: str) -> dict[str, st.SearchStrategy[Any]]:
    """Return a strategy for each field of a listener that decides about its sockets.

    Args:
        protocol: of the listener.
        number: of the listener.
        version: of the Envoy that is to take it.
    """
    if protocol == "INTERNAL":
        return {}
    balances: list[dict[str, Any]] = [{"exact_balance": {}}]
    if satisfies(version, ">=1.39"):
        balances.append({"cpu_locality_balance": {}})
    found: dict[str, st.SearchStrategy[Any]] = {
        "enable_reuse_port": st.booleans(),
        "reuse_port": st.booleans(),
        "socket_options": _options(protocol),
        "tcp_backlog_size": st.sampled_from((64, 1, 0, 5000)),
        "bypass_overload_manager": st.just(True),
        "additional_addresses": st.lists(
            st.integers(1, 9).flatmap(lambda apart: _additional(protocol, number, apart, version)),
            min_size=1,
            max_size=2,
        ),
    }
    if protocol != "UNIX":
        found["freebind"] = st.booleans()
        found["transparent"] = st.booleans()
    if protocol in ("TCP", "UNIX"):
        found["bind_to_port"] = st.sampled_from((True, False))  # Envoy refuses it of UDP
        found["connection_balance_config"] = st.sampled_from(balances)
        found["max_connections_to_accept_per_socket_event"] = st.just(1)
    if protocol == "TCP":
        found["enable_mptcp"] = st.booleans()
        found["tcp_fast_open_queue_length"] = st.sampled_from((5, 0))
        found["use_original_dst"] = st.booleans()
        if satisfies(version, ">=1.37"):
            found["tcp_keepalive"] = _keepalives()
    return found


def _keepalives() -> st.SearchStrategy[dict[str, int]]:
    value = st.sampled_from((3, 0))
    names = ("keepalive_probes", "keepalive_time", "keepalive_interval")
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, value))


def _additional(
    protocol: str, number: int, apart: int, version: str
) -> st.SearchStrategy[dict[str, Any]]:
    options = st.one_of(_options(protocol), st.just([]))
    optional: dict[str, st.SearchStrategy[Any]] = {
        "socket_options": options.map(lambda given: {"socket_options": given})
    }
    if protocol == "TCP" and satisfies(version, ">=1.37"):
        optional["tcp_keepalive"] = _keepalives()
    return st.fixed_dictionaries({"address": places(protocol, number, apart)}, optional=optional)


def possible(listener: Listener) -> Listener:
    """Return a listener without what Envoy refuses of it, whatever else there is.

    Args:
        listener: as it was made.
    """
    kept = dict(listener)
    if not _may_be_compatible(kept):
        # Envoy asks of the first address whether the others may have it.
        kept.pop("additional_addresses" if _has_compatible(kept) else "", None)
    return kept


def _may_be_compatible(listener: Listener) -> bool:
    place = listener["address"].get("socket_address", {})
    return str(place.get("address", "")).startswith("::") and place["address"] != "::1"


def _has_compatible(listener: Listener) -> bool:
    more = listener.get("additional_addresses", ())
    return any("ipv4_compat" in entry["address"].get("socket_address", {}) for entry in more)


def takes_one_worker(listener: Listener) -> bool:
    """Return whether Envoy refuses more than one worker: of UDP without SO_REUSEPORT."""
    place = listener.get("address", {}).get("socket_address", {})
    return place.get("protocol") == "UDP" and listener.get("enable_reuse_port") is False


def with_own_places(made: Sequence[Listener]) -> list[Listener]:
    """Return listeners without addresses that another one has: Envoy refuses the second.

    An address that is there already gets a port of its own.
    """
    taken: set[tuple[Any, ...]] = set()
    found = []
    for number, listener in enumerate(made):
        one = dict(listener)
        more = [dict(entry) for entry in one.get("additional_addresses", ())]
        for apart, entry in enumerate((one, *more)):
            place = entry.get("address", {}).get("socket_address")
            if place is None:
                name = entry.get("address", {}).get("pipe", {}).get("path", "")
                if (name,) in taken and name.startswith("@"):
                    entry["address"] = {"pipe": {"path": f"{name}-{apart}"}}
                taken.add((name,))
                continue
            if _key(place) in taken:
                entry["address"] = {
                    "socket_address": {**place, "port_value": _PORT + 1000 + 10 * number + apart}
                }
                place = entry["address"]["socket_address"]
            if place["port_value"]:
                taken.add(_key(place))
        if more:
            one["additional_addresses"] = more
        found.append(one)
    return found


def _key(place: Mapping[str, Any]) -> tuple[Any, ...]:
    host = place["address"].removeprefix("::ffff:")
    return host, place["port_value"], place.get("protocol", "TCP")
