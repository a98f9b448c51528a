"""Variants of a sound Envoy: what the shipped scenarios must let pass."""

from __future__ import annotations

from collections.abc import Mapping
from fcntl import F_DUPFD_CLOEXEC

from tests.mutants.catalogue import words as w
from tests.mutants.mutant import Mutant

_NUMBERS, _ORDER, _TIME, _MORE = "numbers", "order", "time", "something more"
#: Beside the core: the rest of what start-up is, and more of what comes later.
_ON = (
    "ipv6", "socket_options_by_state", "unix_abstract", "port_zero", "exact_balance",
    "lds_in_place_update", "lds_address_change", "drain_listeners",
)  # fmt: skip
_FREE = (
    "connection_limit", "reuse_port_spread", "exact_balance", "clean_exit", "held_connections",
    "socket_options_by_state",
)  # fmt: skip
_LISTENER = {
    "name": "another",
    "address": {"socket_address": {"address": "127.0.0.3", "port_value": 18080}},
    "filter_chains": [{"filters": [{
        "name": "envoy.filters.network.echo",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"
        },
    }]}],
}  # fmt: skip
_UNSHARED = {**_LISTENER, "enable_reuse_port": False}
_PIPE = {**_LISTENER, "address": {"pipe": {"path": "@envoyassert_another"}}}
_CLUSTER = {
    "name": "another",
    "type": "STATIC",
    "load_assignment": {"cluster_name": "another", "endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9}}}}
    ]}]},
}  # fmt: skip
_CHECKED = {
    **_CLUSTER,
    "health_checks": [{
        "timeout": "1s", "interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1,
        "tcp_health_check": {},
    }],
}  # fmt: skip


def _listeners(*more: Mapping[str, object]) -> dict[str, object]:
    return {"static_resources": {"listeners": more}}


def _clusters(*more: Mapping[str, object]) -> dict[str, object]:
    return {"static_resources": {"clusters": more}}


_CONFIGURED = tuple(
    Mutant(name, what, "", _MORE, scenarios, alone=alone, config=config, args=args)
    for name, what, scenarios, alone, config, args in (
        ("another_listener", "the config has a listener more", _FREE, True, _listeners(_LISTENER), ()),
        ("another_shared_listener", "the config has a listener more, without reuse_port", _FREE, True, _listeners(_UNSHARED), ()),
        ("another_unix_listener", "the config has a Unix listener more", _FREE, True, _listeners(_PIPE), ()),
        ("another_cluster", "the config has a cluster more", _ON, False, _clusters(_CLUSTER), ()),
        ("another_checked_cluster", "a cluster more, whose health is checked by connections", _ON, False, _clusters(_CHECKED), ()),
        ("no_hot_restart", "hot restart is disabled: other sockets, other numbers", _ON, False, {}, ("--disable-hot-restart",)),
        ("debug_log", "Envoy logs at level debug", _ON, False, {}, ("--log-level", "debug")),
    )
)  # fmt: skip

_NAMESPACES = (
    Mutant(
        "netns_entered_twice",
        "main enters a network namespace in which it is already",
        "setns : call call",
        _MORE,
        ("listener_netns",),
        alone=True,
    ),
)

VARIANTS = _CONFIGURED + _NAMESPACES + tuple(
    Mutant(name, what, rules, bug, _ON)
    for name, what, rules, bug in (
        ("untouched", "the shim alone, without a rule", "", _MORE),
        ("fcntl_for_dup", "fcntl(F_DUPFD) for dup", "dup : as fcntl arg 1 0 arg 2 0 call", _NUMBERS),
        ("fcntl_cloexec", "fcntl(F_DUPFD_CLOEXEC) for dup", f"dup : as fcntl arg 1 {F_DUPFD_CLOEXEC} arg 2 0 call", _NUMBERS),
        ("fcntl_high", "duplicates have high numbers", f"dup : as fcntl arg 1 {F_DUPFD_CLOEXEC} arg 2 500 call", _NUMBERS),
        ("dup3_for_dup", "dup3 to a number of its own for the first dup", "dup nth=1 : as dup3 arg 1 700 arg 2 0 call", _NUMBERS),
        ("cloexec", "sockets close on exec", "socket : with 1 0x80000 call", _MORE),
        ("protocol_named", "the protocol is named", "socket arg1=2049 arg0=2 : arg 2 6 call", _MORE),
        ("numbers_shifted", "every socket has a number that is two higher", "socket : fresh fresh call", _NUMBERS),
        ("socket_between", "an unrelated socket is made before every bind", "bind : fresh call", _MORE),
        ("socket_comes_and_goes", "an unrelated socket comes and goes before every bind", "bind : fresh close call", _MORE),
        ("probe_with_option", "an option is set on an unrelated socket", f"bind : fresh {w.SET_KEEPALIVE} call", _MORE),
        ("probe_reuse_port", "SO_REUSEPORT is tried on an unrelated socket", f"bind : fresh {w.SET_REUSEPORT} 1 close call", _MORE),
        ("probe_by_worker", "a worker probes the kernel before it registers", f"{w.ADD} : fresh {w.SET_REUSEPORT} 1 close call", _MORE),
        ("extra_epoll", "an epoll more, with nothing in it", f"{w.ADD} nth=1 : epoll_create call", _MORE),
        ("extra_epolls", "an epoll more for every registration", f"{w.ADD} : epoll_create call", _MORE),
        ("fresh_watched", "an epoll of its own has an unrelated socket", f"{w.ADD} nth=1 : call fresh watch {w.IN}", _MORE),
        ("asks_bound_name", "every socket is asked for its name after bind", "bind : call getsockname", _MORE),
        ("asks_listening_name", "listening sockets are asked for their name", "listen : call getsockname", _MORE),
        ("asks_served_name", "workers ask their sockets for the name", f"{w.ADD} : getsockname call", _MORE),
        ("gap_before_socket", "10 ms before every socket", "socket : work 10 call", _TIME),
        ("gap_before_bind", "10 ms before every bind", "bind : work 10 call", _TIME),
        ("gap_before_listen", "10 ms before every listen", "listen : work 10 call", _TIME),
        ("gap_after_listen", "10 ms after every listen", "listen : call work 10", _TIME),
        ("gap_before_dup", "10 ms before every dup", "dup : work 10 call", _TIME),
        ("gap_before_close", "5 ms before every close", "close : work 5 call", _TIME),
        ("slow_option", "5 ms for every option", "setsockopt : work 5 call", _TIME),
        ("slow_epoll", "5 ms before main makes an epoll", "epoll_create1 : work 5 call", _TIME),
        ("slow_admin", "the admin endpoint listens 30 ms late", "listen on=admin : work 30 call", _TIME),
        ("late_first_worker", "the first registration comes 50 ms late", f"{w.ADD} nth=1 : work 50 call", _ORDER),
        ("late_second_worker", "the second registration comes 50 ms late", f"{w.ADD} nth=2 : work 50 call", _ORDER),
        ("late_workers", "each registration comes 20 ms late", f"{w.ADD} : work 20 call", _ORDER),
        ("late_removal", "each removal from an epoll comes 10 ms late", f"{w.DEL} : work 10 call", _ORDER),
        ("slow_accept", "a worker takes 2 ms before it accepts", "accept4 : work 2 call", _TIME),
        ("connection_keepalive", "SO_KEEPALIVE on every connection", f"accept4 : call new {w.SET_KEEPALIVE}", _MORE),
        ("connection_priority", "SO_PRIORITY on every connection", "accept4 : call new set 1 12 1", _MORE),
        ("connection_cloexec", "connections close on exec", "accept4 : with 3 0x80000 call", _MORE),
        ("connection_name", "every connection is asked for its name", "accept4 : call new getsockname", _MORE),
        ("receive_buffer", "a larger receive buffer", "bind : set 1 8 262144 call", _MORE),
        ("priority", "SO_PRIORITY on listening sockets", "bind : set 1 12 2 call", _MORE),
        ("reuse_addr_twice", "SO_REUSEADDR is set twice to the same", f"{w.REUSEADDR} : call call", _MORE),
        ("reuse_port_twice", "SO_REUSEPORT is set twice to the same", f"{w.REUSEPORT} : call call", _MORE),
        ("unlink_twice", "the path of a Unix socket is removed twice", "unlink : call call ok", _MORE),
        ("filter_that_allows", "a seccomp filter lets every call be made", "bind nth=1 : allow call", _MORE),
        ("chmod_twice", "the mode of a Unix socket is set twice", "chmod : call call", _MORE),
    )
)  # fmt: skip
