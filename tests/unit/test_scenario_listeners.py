"""Listeners as a config names them."""

from __future__ import annotations

from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.draft.from_config import draft_of_config
from envoyassert.scenario.listeners import (
    admin_address,
    configured_listeners,
    discovered_names,
    discovers_listeners,
)
from envoyassert.trace import ListenerRecord


def place(host: str, port: int, **more: Any) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port, **more}}


def records(*listeners: Any, **config: Any) -> tuple[ListenerRecord, ...]:
    return configured_listeners({"static_resources": {"listeners": list(listeners)}, **config})


def test_admin_comes_first_and_static_listeners_follow_in_order() -> None:
    assert records(
        {"name": "b", "address": place("127.0.0.1", 2)},
        {"name": "a", "address": place("::1", 1)},
        admin={"address": place("127.0.0.1", 9901)},
    ) == (
        ListenerRecord("admin", "TCP", (Address.inet("127.0.0.1", 9901),), "admin"),
        ListenerRecord("b", "TCP", (Address.inet("127.0.0.1", 2),), "static"),
        ListenerRecord("a", "TCP", (Address.inet("::1", 1),), "static"),
    )


def test_admin_is_where_envoy_is_and_a_listener_where_its_address_says() -> None:
    away = place("127.0.0.1", 80, network_namespace_filepath="/run/netns/blue")
    admin, far = records({"name": "far", "address": away}, admin={"address": away})
    assert [str(address) for address in admin.addresses] == ["127.0.0.1:80"]
    assert [str(address) for address in far.addresses] == ["127.0.0.1:80 in /run/netns/blue"]
    found = admin_address({"admin": {"address": away}})
    assert (str(found), found.netns if found else None) == ("127.0.0.1:80", "")


def test_additional_addresses_are_kept_in_order() -> None:
    (record,) = records(
        {
            "name": "l",
            "address": place("127.0.0.1", 10000),
            "additional_addresses": [{"address": place("::1", 0)}, {"address": place("::", 1)}],
        }
    )
    assert [str(address) for address in record.addresses] == [
        "127.0.0.1:10000",
        "[::1]:0",
        "[::]:1",
    ]


@pytest.mark.parametrize(
    "address, protocol, text",
    [
        (place("127.0.0.1", 53, protocol="UDP"), "UDP", "127.0.0.1:53"),
        (place("127.0.0.1", 53, protocol="TCP"), "TCP", "127.0.0.1:53"),
        ({"pipe": {"path": "/run/l.sock"}}, "UNIX", "/run/l.sock"),
        ({"pipe": {"path": "@l"}}, "UNIX", "@l"),
        ({"socketAddress": {"address": "::", "portValue": 80}}, "TCP", "[::]:80"),
    ],
)
def test_listener_has_its_protocol_and_address(
    address: dict[str, Any], protocol: str, text: str
) -> None:
    (record,) = records({"name": "l", "address": address})
    assert (record.protocol, str(record.addresses[0])) == (protocol, text)


@pytest.mark.parametrize(
    "field",
    [
        {"bind_to_port": False},
        {"bindToPort": False},
        {"deprecated_v1": {"bind_to_port": False}},
        {"internal_listener": {}},
        {"api_listener": {"api_listener": {}}},
    ],
)
def test_listener_that_asks_for_no_socket_has_no_address(field: dict[str, Any]) -> None:
    (record,) = records({"name": "l", "address": place("127.0.0.1", 80), **field})
    assert record == ListenerRecord("l", "TCP", (), "static")


def test_listener_without_a_name_is_called_by_its_address() -> None:
    first, second = records({"address": place("127.0.0.1", 80)}, {})
    assert (first.name, second.name) == ("127.0.0.1:80", "(unnamed)")


LDS = {
    "resources": [
        {
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": "virtualInbound",
            "address": place("0.0.0.0", 15006),
        },
        {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "c"},
    ]
}
LDS_TEXT = """resources:
  - "@type": type.googleapis.com/envoy.config.listener.v3.Listener
    name: virtualInbound
    address: {socket_address: {address: 0.0.0.0, port_value: 15006}}
"""


@pytest.mark.parametrize("content", [LDS, LDS_TEXT])
def test_listeners_of_a_discovery_file_are_listed(content: Any) -> None:
    wildcard = Address.inet("0.0.0.0", 15006)
    assert configured_listeners({}, {"lds.yaml": content, "cert.pem": "---"}) == (
        ListenerRecord("virtualInbound", "TCP", (wildcard,), "lds"),
    )


@pytest.mark.parametrize(
    "config",
    [
        None,
        [],
        {"static_resources": []},
        {"static_resources": {"listeners": {}}},
        {"static_resources": {"listeners": ["x"]}},
        {"static_resources": {"listeners": [{"address": place("localhost", 1)}]}},
        {"static_resources": {"listeners": [{"address": place("::1", 1)["socket_address"]}]}},
        {"admin": {"address": {"socket_address": {"address": "::1", "port_value": "x"}}}},
        {"admin": {"address": {"pipe": {"path": 3}}}},
    ],
)
def test_config_that_envoy_would_refuse_yields_no_addresses(config: Any) -> None:
    assert all(record.addresses == () for record in configured_listeners(config))
    assert admin_address(config) is None


def test_listener_discovery_is_distinguished_from_the_bootstrap() -> None:
    assert discovers_listeners({"dynamic_resources": {"lds_config": {"ads": {}}}})
    assert not discovers_listeners({"dynamic_resources": {"cds_config": {}}})


def test_names_distinguish_static_listeners() -> None:
    chosen = {"address": place("127.0.0.1", 0)}
    found = records(
        {"name": "web", **chosen},
        chosen,
        {"name": "127.0.0.1:0", **chosen},
        chosen,
        {"name": "admin", "address": place("::1", 1)},
        {"internal_listener": {}},
        {"internal_listener": {}},
        admin={"address": place("127.0.0.1", 9901)},
    )
    assert [record.name for record in found] == [
        *("admin", "web", "127.0.0.1:0 #2", "127.0.0.1:0", "127.0.0.1:0 #3", "admin #2"),
        *("(unnamed)", "(unnamed) #2"),
    ]


def test_a_listener_is_called_admin_where_there_is_no_admin_endpoint() -> None:
    assert [record.name for record in records({"name": "admin", "address": place("::1", 1)})] == [
        "admin"
    ]


def test_envoy_ignores_a_static_listener_with_the_name_of_one_before() -> None:
    found = records(
        {"name": "web", "address": place("127.0.0.1", 1), "bind_to_port": False},
        {"name": "web", "address": place("127.0.0.1", 2)},
    )
    assert [(record.name, record.addresses) for record in found] == [("web", ())]


def test_a_reverse_tunnel_asks_for_no_socket() -> None:
    tunnel = place(
        "rc://a:b:c@up:1", 0, protocol="UDP", resolver_name="envoy.resolvers.reverse_connection"
    )
    (record,) = records({"name": "dialer", "address": tunnel})
    assert record.addresses == ()


def test_names_distinguish_listeners_of_a_control_plane_from_those_of_the_bootstrap() -> None:
    """Envoy does not update a static listener; unnamed ones have no name of their own."""
    chosen = place("127.0.0.1", 0)
    names = ("static", "127.0.0.1:0", "admin", "served")
    kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
    resources = [{"@type": kind, "name": name, "address": chosen} for name in names]
    config = {
        "admin": {"address": place("127.0.0.1", 9901)},
        "static_resources": {
            "listeners": [{"name": "static", "address": chosen}, {"address": chosen}]
        },
    }
    found = configured_listeners(config, {"lds.yaml": {"resources": resources}})
    assert [(record.name, record.kind) for record in found] == [
        ("admin", "admin"),
        ("static", "static"),
        ("127.0.0.1:0", "static"),
        ("127.0.0.1:0 #2", "lds"),
        ("admin #2", "lds"),
        ("served", "lds"),
    ]
    drafted = draft_of_config(config, served=resources).sets
    assert [one.name for one in drafted] == [record.name for record in found]


@pytest.mark.parametrize("name", [[], {"a": 1}, 5])
def test_name_of_another_type_is_no_name(name: Any) -> None:
    config = {"static_resources": {"listeners": [{"name": name}, {"name": "one"}]}}
    found = dict(discovered_names(config, [{"name": name}, {"name": "one"}, {"name": "two"}]))
    assert {"name": name} in found.values()
    assert {"name": "two"} in found.values()
    assert {"name": "one"} not in found.values()
