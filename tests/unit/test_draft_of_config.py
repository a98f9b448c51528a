"""What a config alone says of Envoy's sockets: each line was seen on 1.36.4 and 1.40.0."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.draft.expected import Draft
from envoyassert.draft.from_config import draft_of_config
from envoyassert.draft.scenario_text import draft_text
from envoyassert.draft.stand_in import bootstrap_of_draft
from envoyassert.predict.sockets import SocketSet
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.source import parse_yaml

REUSE_PORT = "before_bind SO_REUSEPORT=1"
TCP = ["before_bind SO_REUSEADDR=1", REUSE_PORT]
OF_UDP = ["bound SO_RXQ_OVFL=1", "bound UDP_GRO=1"]
UDP = [REUSE_PORT, "before_bind IP_MTU_DISCOVER=2", "bound IP_PKTINFO=1", *OF_UDP]
UDP_V6 = [
    REUSE_PORT,
    "before_bind IPV6_MTU_DISCOVER=2",
    "bound IPV6_RECVPKTINFO=1",
    *OF_UDP,
]
BUFFER = {"level": 1, "name": 8, "int_value": 8192}
QUIC: dict[str, Any] = {"udp_listener_config": {"quic_options": {}}}


def place(host: str = "127.0.0.1", port: int = 10000, **more: Any) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port, **more}}


def udp(host: str = "127.0.0.1", **more: Any) -> dict[str, Any]:
    return place(host, protocol="UDP", **more)


def drafted(*listeners: dict[str, Any], workers: int = 2, **config: Any) -> Draft:
    named = [{"name": f"l{number}", **one} for number, one in enumerate(listeners)]
    return draft_of_config({"static_resources": {"listeners": named}, **config}, workers)


def only(listener: dict[str, Any], workers: int = 2) -> SocketSet:
    (found,) = drafted(listener, workers=workers).sets
    return found


def options(found: SocketSet) -> list[str]:
    return sorted(f"{o.phase} {o.name}={o.value}" for o in found.options)


@pytest.mark.parametrize(
    ("listener", "expected"),
    [
        ({"address": place()}, TCP),
        ({"address": place(), "socket_options": [{**BUFFER, "state": "STATE_LISTENING"}]},
         [*TCP, "listening SO_RCVBUF=8192"]),
        ({"address": place(), "socket_options": [{**BUFFER, "int_value": 2**32 - 1}]},
         [*TCP, "before_bind SO_RCVBUF=-1"]),
        ({"address": place(), "tcp_fast_open_queue_length": 0}, [*TCP, "listening TCP_FASTOPEN=0"]),
        # Nothing of UDP listens: what is to be set after listen is not set at all.
        ({"address": udp()}, UDP),
        ({"address": udp(), "socket_options": [{**BUFFER, "state": "STATE_LISTENING"}]}, UDP),
        ({"address": udp(), "socket_options": [{**BUFFER, "state": 1}]},
         [*UDP, "bound SO_RCVBUF=8192"]),
        ({"address": udp(), "tcp_fast_open_queue_length": 5}, UDP),
        ({"address": udp(), "tcp_keepalive": {"keepalive_time": 5}}, UDP),
        ({"address": udp("::1")}, ["before_bind IPV6_V6ONLY=1", *UDP_V6]),
        ({"address": udp("::", ipv4_compat=True)},
         ["before_bind IPV6_V6ONLY=0", *UDP_V6, "before_bind IP_MTU_DISCOVER=2"]),
        ({"address": udp(), **QUIC},
         [*UDP, "bound SO_ATTACH_REUSEPORT_CBPF=None", "bound IP_RECVTOS=1"]),
        ({"address": udp("::", ipv4_compat=True), **QUIC},
         ["before_bind IPV6_V6ONLY=0", *UDP_V6, "before_bind IP_MTU_DISCOVER=2",
          "bound SO_ATTACH_REUSEPORT_CBPF=None", "bound IPV6_RECVTCLASS=1", "bound IP_RECVTOS=1"]),
        # A Unix socket has the options for the states after bind, and those alone.
        ({"address": {"pipe": {"path": "@a"}}, "transparent": False,
          "socket_options": [BUFFER, {**BUFFER, "state": 1, "int_value": 1},
                             {**BUFFER, "state": 2, "int_value": 2}]},
         ["bound SO_RCVBUF=1", "listening SO_RCVBUF=2"]),
        ({"address": {"pipe": {"path": "@a"}}, "tcp_keepalive": {}}, []),
        # A field of keepalive that is 0 leaves out all of it.
        ({"address": place(), "tcp_keepalive": {}}, [*TCP, "before_bind SO_KEEPALIVE=1"]),
        ({"address": place(), "tcp_keepalive": {"keepalive_time": 5}},
         [*TCP, "before_bind SO_KEEPALIVE=1", "before_bind TCP_KEEPIDLE=5"]),
        *(({"address": place(), "tcp_keepalive": {"keepalive_time": 5, field: 0}}, TCP)
          for field in ("keepalive_time", "keepalive_probes", "keepalive_interval")),
    ],
)  # fmt: skip
def test_options_on_each_socket(listener: dict[str, Any], expected: list[str]) -> None:
    found = only(listener)
    assert options(found) == sorted(expected)
    assert found.exact


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "listener",
    [
        {"address": udp(), **QUIC},
        {"address": udp("::", ipv4_compat=True), **QUIC},
        {"address": udp(), "socket_options": [{"level": 0, "name": 13, "int_value": 1}]},
    ],
    ids=["quic", "quic of both families", "datagrams that ask for the ECN bits themselves"],
)
def test_stand_in_for_what_was_seen_has_the_same_sockets(
    listener: dict[str, Any], workers: int
) -> None:
    seen = drafted(listener, workers=workers)
    bootstrap, notes = bootstrap_of_draft(seen)
    (shown,), (again,) = seen.sets, draft_of_config(bootstrap, workers).sets
    assert replace(again, options=()) == replace(shown, options=())
    assert options(again) == options(shown)
    assert ("made certificate" in "".join(notes)) is (listener.keys() >= QUIC.keys())


def test_quic_needs_no_packet_filter_with_one_worker() -> None:
    found = only({"address": udp(), **QUIC}, workers=1)
    assert options(found) == sorted([*UDP, "bound IP_RECVTOS=1"])


@pytest.mark.parametrize(
    ("own", "workers", "via"),
    [
        ([], 2, "dup"),
        ([{"level": 1, "name": 15, "int_value": 1}], 2, ""),
        ([{"level": 1, "name": 15, "int_value": 1}], 1, "reuse_port"),
        ([{"level": 1, "name": 15, "int_value": 1, "state": "STATE_BOUND"}], 2, "dup"),
    ],
)
def test_one_socket_with_reuse_port_by_an_option_is_no_dup(
    own: list[Any], workers: int, via: str
) -> None:
    listener = {"address": place(), "enable_reuse_port": False, "socket_options": own}
    assert only(listener, workers).via == via


def test_unix_listener_with_fast_open_is_given_up_after_listen() -> None:
    found = only({"address": {"pipe": {"path": "@a"}}, "tcp_fast_open_queue_length": 5})
    assert (found.role, found.sockets, found.descriptors) == ("none", 1, 0)


def test_listener_whose_second_listen_the_kernel_refuses_is_given_up() -> None:
    apart = {"level": 1, "name": 15, "int_value": 0}
    late = {**BUFFER, "state": "STATE_LISTENING"}
    found = only({"address": place(), "socket_options": [apart, late]})
    assert (found.role, found.sockets, found.descriptors, found.listens) == ("none", 2, 0, 1)
    assert not found.exact
    assert "listening SO_RCVBUF=8192" not in options(found)
    assert only({"address": place(), "socket_options": [apart]}, workers=1).role == "workers"


def test_users_options_of_udp_come_before_envoys_own() -> None:
    own = {"level": 0, "name": 10, "int_value": 0}
    found = only({"address": udp(), "socket_options": [own]})
    assert [o.value for o in found.options if o.name == "IP_MTU_DISCOVER"] == [0, 2]


def test_same_address_in_two_network_namespaces_is_distinguished() -> None:
    blue = {"address": place(network_namespace_filepath="/run/netns/blue")}
    found = [item["listener"]["netns"] for item in expected(blue, {"address": place()})]
    assert found == ["${rundir}/netns/blue", "own"]


def test_port_zero_of_one_listener_in_two_network_namespaces_is_distinguished() -> None:
    chosen = place(port=0)
    blue = place(port=0, network_namespace_filepath="/run/netns/blue")
    items = expected({"address": blue, "additional_addresses": [{"address": chosen}]})
    where = {"name": "l0", "address": "127.0.0.1", "port": 0, "protocol": "TCP"}
    assert [item["listener"] for item in items] == [
        {**where, "netns": "${rundir}/netns/blue"},
        {**where, "netns": "own"},
    ]


def test_network_namespaces_are_made_with_the_addresses_that_are_bound_in_them() -> None:
    def at(host: str, file: str = "", port: int = 80) -> Any:
        away = {"network_namespace_filepath": file} if file else {}
        return {"address": place(host, port, **away)}

    found = drafted(
        at("10.0.0.1", "/run/netns/blue"),
        at("2001:db8::1", "/run/netns/blue"),
        at("127.0.0.1", "/proc/7/ns/net"),
        at("127.0.0.1", "${rundir}/netns/made"),
        at("10.0.0.2", "/var/run/netns/blue", port=0),
        at("10.0.0.3"),
    )
    made, given = found.envoy
    assert made.value == [
        {"name": "blue", "file": "/run/netns/blue", "addresses": ["10.0.0.1", "2001:db8::1"]},
        {"name": "proc_7_ns_net", "file": "/proc/7/ns/net"},
        "made",
        {"name": "blue_2", "file": "/var/run/netns/blue", "addresses": ["10.0.0.2"]},
    ]
    # Of the one on port 0 Envoy binds all sockets but the first in its own namespace.
    assert given.value == ["10.0.0.2", "10.0.0.3"]
    text = draft_text(found, "a", "envoy.yaml", "envoy.yaml")
    assert parse_yaml(text, "a.yaml").data["requires"] == {"launcher": "process"}
    # A zone is looked up where Envoy is.
    away = drafted(at("fe80::1%eth5", "/run/netns/blue"), at("fe80::1%lo", "/run/netns/blue"))
    assert [one.value for one in away.envoy][1:] == [["%eth5"]]
    parse_scenario(text, Path("a.yaml"))


def test_port_zero_in_a_network_namespace_has_one_socket_there() -> None:
    chosen = place(port=0, network_namespace_filepath="/run/netns/blue")
    found = drafted({"address": chosen})
    assert [(one.sockets, one.role) for one in found.sets] == [(1, "worker_0")]
    assert not found.closed
    assert "no expectation is about the others" in found.silences[0]


def test_unix_listener_that_is_not_bound_to_its_port_is_bound_and_does_not_listen() -> None:
    at = {"address": {"pipe": {"path": "/a", "mode": 0o600}}, "bind_to_port": False}
    found = drafted({**at, "socket_options": [{**BUFFER, "state": 1}, {**BUFFER, "state": 2}]})
    (one,) = found.sets
    assert (one.role, one.sockets, one.descriptors, one.listens) == ("none", 1, 2, 0)
    assert options(one) == ["bound SO_RCVBUF=8192"]
    assert found.notes == ()
    assert "listen_calls: none" in draft_text(found, "a", "envoy.yaml", "envoy.yaml")


def test_the_admin_endpoint_is_tcp_whatever_its_address_says() -> None:
    found = drafted(admin={"address": udp()}).sets
    assert [one.protocol for one in found] == ["TCP"]


def test_of_two_static_listeners_with_one_name_the_first_counts() -> None:
    twins = [{"name": "a", "address": place(port=port)} for port in (1, 2)]
    found = drafted(*twins)
    assert [one.address.port for one in found.sets] == [1]
    assert found.notes == ("1 of the listeners has the name of one before: Envoy ignores it",)


@pytest.mark.parametrize("lds", [False, True])
def test_note_mentions_no_others_where_the_draft_has_it(lds: bool) -> None:
    tunnel = place("rc://a:b:c@up:1", 0, resolver_name="envoy.resolvers.reverse_connection")
    listeners: list[Any] = [{"address": place()}, {"internal_listener": {}}, {"address": tunnel}]
    more: dict[str, Any] = (
        {"dynamic_resources": {"lds_config": {"path_config_source": {"path": "./lds.yaml"}}}}
        if lds
        else {}
    )
    names = ("internal_listener", "reverse_tunnel.downstream_socket_interface")
    more["bootstrap_extensions"] = [{"name": f"envoy.bootstrap.{name}"} for name in names]
    text = draft_text(drafted(*listeners, **more), "a", "envoy.yaml", "envoy.yaml")
    assert "# Note: 2 of the listeners must have no socket" in text
    assert ("no_others says so" in text) is ("- no_others:" in text) is not lds


def test_listeners_that_differ_only_in_their_place_have_names_of_their_own() -> None:
    chosen = {"name": "", "address": place(port=0)}
    assert [one.name for one in drafted(chosen, chosen).sets] == ["127.0.0.1:0", "127.0.0.1:0 #2"]


NO_SOCKETS: dict[str, dict[str, Any]] = {
    "no listeners": {},
    "internal": {"name": "i", "internal_listener": {}},
    "not bound": {"address": place(), "bind_to_port": False},
    "a tunnel": {
        "address": place("rc://a:b:c@up:1", 0, resolver_name="envoy.resolvers.reverse_connection")
    },
}


@pytest.mark.parametrize("listener", NO_SOCKETS.values(), ids=NO_SOCKETS)
def test_config_in_which_nothing_binds_leaves_no_room_for_a_socket(
    listener: dict[str, Any],
) -> None:
    names = ("internal_listener", "reverse_tunnel.downstream_socket_interface")
    extensions = [{"name": f"envoy.bootstrap.{name}"} for name in names]
    found = drafted(*([listener] if listener else []), bootstrap_extensions=extensions)
    assert (found.sets, found.closed, found.admin) == ((), True, False)
    expect = yaml.safe_load(draft_text(found, "a", "envoy.yaml", "envoy.yaml"))["expect"]
    assert expect == [{"no_others": True}, {"process": {"stays_up": True}}]


def expected(*listeners: dict[str, Any], **config: Any) -> list[dict[str, Any]]:
    """What the scenario expects of listeners, and of nothing else."""
    text = draft_text(drafted(*listeners, **config), "a", "envoy.yaml", "envoy.yaml")
    items = parse_yaml(text, "a.yaml").data["expect"]
    return [item for item in items if "listener" in item]


@pytest.mark.parametrize(
    ("again", "host"),
    [(place(), "127.0.0.1"), (place("0:0:0::1"), "::1"), (place("fe80::1%eth8"), "fe80::1")],
)
def test_address_that_stands_there_twice_is_one_expectation(again: Any, host: str) -> None:
    first = {"socket_address": {**again["socket_address"], "address": host}}
    (item,) = expected({"address": first, "additional_addresses": [{"address": again}]})
    assert item["listener"] == {"address": host, "port": 10000, "protocol": "TCP"}
    assert item["bound"]["times"] == item["listen_calls"]["times"] == item["descriptors"] == 4
    assert item["only_options"] == {"before_bind": {**V6[":" in host], **SHARED}}


SHARED = {"SO_REUSEADDR": 1, "SO_REUSEPORT": 1}
V6 = {True: {"IPV6_V6ONLY": 1}, False: {}}


def test_address_twice_with_unlike_options_has_what_they_have_in_common() -> None:
    own = {"socket_options": {"socket_options": [BUFFER]}}
    again = {"address": place(), **own}
    (item,) = expected({"address": place(), "additional_addresses": [again]})
    assert "only_options" not in item
    assert set(item["options"]) == set(SHARED)


@pytest.mark.parametrize(
    ("own", "again", "served"),
    [
        ([], [], False),
        ([], [15], False),
        ([15], [15], True),
    ],
)
def test_shared_address_twice_listens_only_where_each_socket_shares_it(
    own: list[int], again: list[int], served: bool
) -> None:
    shares = {"level": 1, "name": 15, "int_value": 1}
    more = {"socket_options": {"socket_options": [shares for _ in again]}}
    items = expected(
        {
            "address": place(),
            "enable_reuse_port": False,
            "socket_options": [shares for _ in own],
            "additional_addresses": [
                {"address": place(), **more},
                {"address": place(port=10001), **more},
            ],
        }
    )
    first, last = items
    assert first["bound"]["times"] == 2
    assert ("served_by" in first, "served_by" in last) == (not served, not served)
    assert first["listen_calls"] == {"times": 4 if served else 2, "by": "main"}
    # Envoy gives the listener up before its last address listens.
    assert last["listen_calls"] == ({"times": 2, "by": "main"} if served else "none")


ZERO = [f"keepalive_{field}" for field in ("probes", "time", "interval")]


@pytest.mark.parametrize("field", ZERO)
def test_keepalive_of_an_additional_address_sets_nothing_with_a_field_that_is_zero(
    field: str,
) -> None:
    full = dict.fromkeys(ZERO, 5)
    more = [
        {"address": place(port=10001), "tcp_keepalive": {**full, field: 0}},
        {"address": place(port=10002)},
    ]
    for listener, inherits in ((full, True), ({**full, field: 0}, False)):
        found = drafted(
            {"address": place(), "tcp_keepalive": listener, "additional_addresses": more}
        )
        kept = [any(o.name == "SO_KEEPALIVE" for o in one.options) for one in found.sets]
        assert kept == [inherits, False, inherits]


@pytest.mark.parametrize(
    "listener",
    [
        {"tcp_keepalive": {"keepalive_time": 0}},
        {"tcp_keepalive": {}, "bind_to_port": False},
        {"additional_addresses": [{"address": place(port=10001), "tcp_keepalive": {}}]},
        {"tcp_keepalive": {}, "name": "l0"},
    ],
)
def test_keepalive_wherever_it_stands_needs_an_envoy_that_knows_it(listener: Any) -> None:
    found = drafted({"address": place()}, {"address": place(port=2), **listener})
    assert found.requires == ">=1.37"
    assert drafted({"address": place()}).requires == ""
    upstream = {"name": "up", "upstream_connection_options": {"tcp_keepalive": {}}}
    bootstrap = {"static_resources": {"listeners": [], "clusters": [upstream]}}
    assert draft_of_config(bootstrap).requires == ""


@pytest.mark.parametrize(
    "name",
    ["a b", " a ", "a\tb", "a\nb", "x" * 3000, ".inf", ".5", "...", "é\u2028", "\x85", "\x7f", "#",
     '"', "\\", "null", "12", "\ufeff", "\u202e", "\U000e0001", "$port", "- a", "{", "K", "\u212a"],
)  # fmt: skip
def test_names_and_paths_are_read_as_they_were_written(name: str) -> None:
    (named,) = expected({"name": name, "address": place(port=0)})
    assert named["listener"]["name"] == name
    if len(name) > 100:
        return  # Envoy takes no path that is as long
    (path,) = expected({"address": {"pipe": {"path": f"/run/{name}"}}})
    assert path["listener"]["path"] == f"/run/{name}"


def test_notes_stay_on_their_lines() -> None:
    cluster = {
        "load_assignment": {
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": place("up\nexpect: []")}}]}]
        }
    }
    static = {"listeners": [{"address": place()}], "clusters": [cluster]}
    text = draft_text(draft_of_config({"static_resources": static}), "a", "e.yaml", "e\u2028.yaml")
    assert "up\\x0aexpect: []" in text
    assert text.startswith("# Drafted from e\\u2028.yaml. ")
    assert yaml.safe_load(text)["description"] == "The sockets of e\u2028.yaml."


def test_link_local_address_is_given_to_its_device() -> None:
    one = {
        "address": place("fe80::1%eth7"),
        "additional_addresses": [{"address": place("fe80::2%lo")}],
    }
    (field,) = drafted(one).envoy
    assert (field.key, field.value) == ("addresses", ["fe80::1%eth7", "fe80::2"])


def test_unnamed_listener_in_a_namespace_is_called_as_in_the_run() -> None:
    chosen = {"name": "", "address": place(port=0, network_namespace_filepath="/run/netns/blue")}
    found = drafted(chosen)
    (item,) = [one["listener"] for one in expected(chosen)]
    assert item["name"] == "127.0.0.1:0 in ${rundir}/netns/blue"
    config = {"static_resources": {"listeners": [chosen]}}
    text = draft_text(found, "a", config, "envoy.yaml")
    (plan,) = expand(parse_scenario(text, Path("a.yaml")))  # which knows a listener of that name
    assert plan.in_rundir("/r").listeners[0].name == "127.0.0.1:0 in /r/netns/blue"


def test_options_after_bind_of_a_mapped_address_on_port_zero_are_left_open() -> None:
    """Envoy sets those of IPv4 then, also on the only socket."""
    mapped = place("::ffff:127.0.0.1", 0, ipv4_compat=True)
    assert only({"address": mapped}, workers=1).exact
    found = only({"address": mapped, "transparent": True}, workers=1)
    assert (found.exact, options(found)) == (False, TCP)
