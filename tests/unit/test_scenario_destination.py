"""Where clients go: every kind of listener, and what a scenario may say of its clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.addresses import Address
from envoyassert.errors import ScenarioError
from envoyassert.scenario.destination import (
    DestinationError,
    ListenerPlace,
    configured_places,
    destination,
)
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.needs import redirected_places
from envoyassert.scenario.selector import Selector
from envoyassert.steps.redirect import Redirect, RedirectStep
from envoyassert.trace import ListenerRecord

PORT = 18080
BLUE = "/run/netns/blue"
HOSTS = ("127.0.0.1", "127.0.0.9", "10.0.0.1", "::1", "fd00::1", "::ffff:127.0.0.1")


def at(host: str, port: int = PORT, netns: str = "") -> Address:
    return Address.inet(host, port).within(netns)


def record(name: str, *addresses: Address, protocol: str = "TCP") -> ListenerRecord:
    return ListenerRecord(name, protocol, addresses)


def goes(
    selector: dict[str, Any], *listeners: ListenerRecord, bound: tuple[ListenerPlace, ...] = ()
) -> tuple[str, str]:
    places = [*configured_places(listeners), *bound]
    names = [one.name for one in listeners]
    protocol, address = destination(Selector.model_validate(selector), places, names)
    return protocol, str(address)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "bound", ["127.0.0.1", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "10.0.0.1"]
)
@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_client_of_an_address_goes_there_whatever_listens_on_its_port(
    host: str, bound: str, protocol: str
) -> None:
    web = record("web", at(bound), protocol=protocol)
    asked = {"address": host, "port": PORT}
    assert goes(asked, web) == (protocol, str(at(host)))
    for said in ("TCP", "UDP", "MPTCP"):
        assert goes({**asked, "protocol": said}, web) == (said, str(at(host)))
    for netns, where in (("own", ""), (BLUE, BLUE)):
        wanted = str(at(host, netns=where))
        assert goes({**asked, "protocol": "TCP", "netns": netns}, web) == ("TCP", wanted)


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1"])
def test_client_of_a_port_or_a_name_goes_to_the_listener_s_address(bound: str) -> None:
    web = record("web", at(bound))
    assert goes({"port": PORT}, web) == goes({"name": "web"}, web) == ("TCP", str(at(bound)))


@pytest.mark.parametrize(
    "selector, wanted",
    [
        # Of an address that two listeners could mean, the one that has it; then who covers it.
        ({"address": "127.0.0.1", "port": 53}, ("TCP", "127.0.0.1:53")),
        ({"address": "10.0.0.1", "port": 53}, ("UDP", "10.0.0.1:53")),
        ({"address": "127.0.0.1", "port": 80}, ("TCP", f"127.0.0.1:80 in {BLUE}")),
        ({"address": "127.0.0.1", "port": 80, "netns": "own"}, ("TCP", "127.0.0.1:80")),
        ({"name": "six", "address": "127.0.0.1"}, ("TCP", "127.0.0.1:18003")),
        ({"name": "six", "address": "::1"}, ("TCP", "[::1]:18003")),
        ({"name": "both", "address": "::1"}, ("TCP", "[::1]:8080")),
        ({"name": "ports", "port": 8082}, ("TCP", "127.0.0.1:8082")),
        ({"name": "dns"}, ("UDP", "0.0.0.0:53")),
        ({"name": "blue"}, ("TCP", f"127.0.0.1:80 in {BLUE}")),
        ({"name": "local"}, ("UNIX", "/run/local.sock")),
        ({"path": "/run/other.sock"}, ("UNIX", "/run/other.sock")),
        ({"abstract": "nameless"}, ("UNIX", "@nameless")),
        # An address that no listener has.
        ({"address": "::1", "port": 9}, ("TCP", "[::1]:9")),
        ({"address": "::1", "port": 9, "protocol": "UDP"}, ("UDP", "[::1]:9")),
        ({"address": "::1", "port": 9, "netns": BLUE}, ("TCP", f"[::1]:9 in {BLUE}")),
    ],
)
def test_what_is_left_open_is_that_of_the_listener(
    selector: dict[str, Any], wanted: tuple[str, str]
) -> None:
    listeners = [
        record("web", at("127.0.0.1", 53)),
        record("dns", at("0.0.0.0", 53), protocol="UDP"),
        record("blue", at("127.0.0.1", 80, BLUE)),
        record("six", at("::", 18003)),
        record("both", at("127.0.0.1", 8080), at("::1", 8080)),
        record("ports", at("127.0.0.1", 8081), at("127.0.0.1", 8082)),
        record("local", Address.unix("/run/local.sock"), protocol="UNIX"),
        record("virtual"),
    ]
    assert goes(selector, *listeners) == wanted


@pytest.mark.parametrize(
    "selector, problem",
    [
        ({"port": 53}, "TCP 127.0.0.1:53, UDP 127.0.0.1:53 (add `protocol`)"),
        ({"address": "127.0.0.1", "port": 53}, "UDP 127.0.0.1:53 (add `protocol`)"),
        ({"port": 80}, f"TCP 127.0.0.1:80, TCP 127.0.0.1:80 in {BLUE} (add `netns`)"),
        ({"address": "127.0.0.9", "port": 80}, f"TCP 127.0.0.9:80 in {BLUE} (add `netns`)"),
        ({"name": "both"}, "TCP 127.0.0.1:8080, TCP [::1]:8080 (add `address`)"),
        ({"port": 8080}, "TCP 127.0.0.1:8080, TCP [::1]:8080 (add `address`)"),
        ({"name": "both", "address": "10.0.0.1"}, "is not at listener both, address 10.0.0.1"),
        ({"name": "ports"}, "TCP 127.0.0.1:1, TCP 127.0.0.1:2 (add `port`)"),
        ({"name": "zeros"}, "TCP 127.0.0.1:0 (give one of the equal addresses a port of its own)"),
        ({"name": "nets"}, "leave out `name`, and give `address`, `port` and `netns`"),
        ({"name": "virtual"}, "`virtual` has no socket of its own (give `address` and `port`"),
        ({"name": "bith"}, "the config has no listener `bith` (did you mean `both`?)"),
        ({"port": 81}, "no listener has port 81 (add `address`"),
        ({"port": 53, "netns": BLUE}, "no listener has port 53, netns /run/netns/blue"),
        ({"port": 1, "protocol": "UDP"}, "no listener has port 1, protocol UDP"),
        ({"port": 53, "protocol": "UNIX"}, "a Unix socket has no port"),
    ],
)
def test_client_that_cannot_be_addressed_is_a_problem(
    selector: dict[str, Any], problem: str
) -> None:
    listeners = [
        record("web", at("127.0.0.1", 53)),
        record("dns", at("127.0.0.1", 53), protocol="UDP"),
        record("own", at("127.0.0.1", 80)),
        record("blue", at("127.0.0.1", 80, BLUE)),
        record("both", at("127.0.0.1", 8080), at("::1", 8080)),
        record("ports", at("127.0.0.1", 1), at("127.0.0.1", 2)),
        record("zeros", at("127.0.0.1", 0), at("127.0.0.1", 0)),
        record("nets", at("127.0.0.1", 3), at("127.0.0.1", 3, BLUE)),
        record("virtual"),
    ]
    with pytest.raises(DestinationError) as caught:
        goes(selector, *listeners)
    assert problem in str(caught.value)


def test_port_that_the_kernel_chose_is_the_listener_s() -> None:
    asked = at("0.0.0.0", 0)
    bound = ListenerPlace("any", "TCP", asked, at("0.0.0.0", 40001))
    names = ["any"]
    for selector, wanted in (
        ({"name": "any"}, "0.0.0.0:40001"),
        ({"name": "any", "port": 0}, "0.0.0.0:40001"),
        ({"name": "any", "address": "127.0.0.2"}, "127.0.0.2:40001"),
    ):
        _, address = destination(Selector.model_validate(selector), [bound], names)
        assert str(address) == wanted


def test_mptcp_listener_is_asked_by_tcp_unless_the_scenario_says_otherwise() -> None:
    bound = (ListenerPlace("", "TCP", at("127.0.0.1"), at("127.0.0.1")),)
    assert goes({"port": PORT}, bound=bound)[0] == "TCP"
    assert goes({"port": PORT, "protocol": "MPTCP"}, bound=bound)[0] == "MPTCP"


CONFIG = """\
name: x
requires: {launcher: process}
envoy:
  netns: [blue]
  config:
    static_resources:
      listeners:
      - {name: web, address: {socket_address: {address: 127.0.0.1, port_value: 18080}}}
      - {name: dns, address: {socket_address: {address: 0.0.0.0, port_value: 53, protocol: UDP}}}
      - name: virtual
        address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
        bind_to_port: false
steps: []
expect: [{process: {live: true}}]
"""


def problems(*steps: dict[str, Any], **envoy: Any) -> list[str]:
    data = yaml.safe_load(CONFIG)
    data["steps"] = list(steps)
    data["envoy"].update(envoy)
    try:
        expand(parse_scenario(yaml.safe_dump(data, sort_keys=False), Path("x.yaml")))
    except ScenarioError as error:
        return [problem.message for problem in error.problems]
    return []


def connect(**selector: Any) -> dict[str, Any]:
    return {"connect": {"listener": selector}}


@pytest.mark.parametrize(
    "selector",
    [
        {"name": "web"},
        {"port": 53},
        {"address": "::1", "port": 18080},
        {"address": "127.0.0.1", "port": 10000},
        {"address": "127.0.0.1", "port": 1, "netns": "${rundir}/netns/blue"},
        {"address": "127.0.0.1", "port": 1, "netns": "/run/netns/of_the_machine"},
    ],
)
def test_client_that_can_be_addressed_loads(selector: dict[str, Any]) -> None:
    assert problems(connect(**selector)) == []
    load = {"listener": selector, "send": "x"}
    assert problems({"drain": {}, "load": load}) == []


@pytest.mark.parametrize(
    "selector, problem",
    [
        ({"name": "wob"}, "the config has no listener `wob`"),
        ({"name": "virtual"}, "listener `virtual` has no socket of its own"),
        ({"port": 10000}, "no listener has port 10000"),
        ({"port": 53, "protocol": "TCP"}, "no listener has port 53, protocol TCP"),
        ({"port": 18080, "netns": "${rundir}/netns/blue"}, "no listener has port 18080"),
        (
            {"address": "127.0.0.1", "port": 1, "netns": "${rundir}/netns/green"},
            "no network namespace `green` is made",
        ),
    ],
)
def test_client_that_cannot_be_addressed_is_an_error_at_load(
    selector: dict[str, Any], problem: str
) -> None:
    assert any(one.startswith(problem) for one in problems(connect(**selector)))
    load = {"listener": selector, "send": "x"}
    assert any(one.startswith(problem) for one in problems({"drain": {}, "load": load}))


def test_listeners_are_named_in_the_order_of_the_config() -> None:
    names = [f"{letter}_{number}" for number in range(4) for letter in "zyx"]
    config = yaml.safe_load(CONFIG)["envoy"]["config"]
    config["static_resources"]["listeners"] = [
        {"name": name, "address": {"socket_address": {"address": HOSTS[0], "port_value": port}}}
        for port, name in enumerate(names, PORT)
    ]
    data = yaml.safe_load(CONFIG) | {"steps": [connect(name="quite another")]}
    data["envoy"]["config"] = config
    with pytest.raises(ScenarioError, match=f"it has: {', '.join(names)}"):
        expand(parse_scenario(yaml.safe_dump(data, sort_keys=False), Path("x.yaml")))


def test_listener_that_comes_during_the_run_may_be_asked() -> None:
    place = {"socket_address": {"address": "127.0.0.1", "port_value": 7}}
    moved = {"static_resources": {"listeners": {"web": {"address": place}}}}
    start = {"start": {"overlay": moved}, "name": "second"}
    assert problems(start, connect(port=7)) == []
    # By then which of the two is meant is known.
    assert problems(start, connect(name="web")) == []
    text = f"resources: [{{'@type': x/envoy.config.listener.v3.Listener, address: {place}}}]"
    replaced = {"replace_file": {"path": "${rundir}/lds.yaml", "content": text}}
    assert problems(replaced, connect(port=7)) == []
    assert problems(connect(port=7)) != []


def test_listeners_from_elsewhere_are_not_known_at_load() -> None:
    config = yaml.safe_load(CONFIG)["envoy"]["config"]
    config["dynamic_resources"] = {"lds_config": {"path_config_source": {"path": "/lds.yaml"}}}
    assert problems(connect(port=7), config=config) == []


def test_redirected_address_is_asked_by_tcp_though_its_port_is_one_of_udp() -> None:
    rule = Redirect(address="10.0.0.1", port=53, to=PORT)
    places = [
        *configured_places([record("dns", at("0.0.0.0", 53), protocol="UDP")]),
        *redirected_places([RedirectStep(redirect=rule)]),
    ]
    for host, protocol in (("10.0.0.1", "TCP"), ("10.0.0.2", "UDP")):
        asked = Selector(address=host, port=53)
        assert destination(asked, places) == (protocol, at(host, 53))
    redirect = {"redirect": rule.model_dump()}
    assert problems(redirect, connect(address="10.0.0.1", port=53)) == []
