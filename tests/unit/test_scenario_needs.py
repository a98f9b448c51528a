"""Which capabilities a config needs: those of its listeners, options and updates, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.needs import Need, capabilities_of, needs_of
from envoyassert.scenario.plan import RunPlan

BIND, RAW, ADMIN = "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_NET_ADMIN"


def address(port: int, **more: Any) -> Any:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port, **more}}


def listener(port: int = 10000, **more: Any) -> Any:
    return {"name": f"l{port}", "address": address(port), **more}


def option(level: int, name: int, value: int = 1) -> Any:
    return {"level": level, "name": name, "int_value": value, "state": "STATE_PREBIND"}


def plan(*listeners: Any, config: Any = None, steps: Any = None, **envoy: Any) -> RunPlan:
    bootstrap = {"static_resources": {"listeners": [*listeners]}, **(config or {})}
    scenario: dict[str, Any] = {"name": "s", "envoy": {"config": bootstrap, **envoy}}
    if steps:
        scenario["steps"] = steps
    scenario["expect"] = [{"process": {"live": True}}]
    (found,) = expand(parse_scenario(json.dumps(scenario), Path("s.yaml")))
    return found


@pytest.mark.parametrize(
    "found, wanted",
    [
        (plan(listener()), []),
        (plan(listener(80)), [Need(BIND, "port 80")]),
        (plan(listener(80), listener(443)), [Need(BIND, "port 443"), Need(BIND, "port 80")]),
        (plan(listener(1023)), [Need(BIND, "port 1023")]),
        (plan(listener(1024)), []),
        (plan(listener(0)), []),
        (plan(listener(80, bind_to_port=False)), []),
        (plan(listener(additional_addresses=[{"address": address(80)}])), [Need(BIND, "port 80")]),
        (plan(config={"admin": {"address": address(901)}}), [Need(BIND, "port 901")]),
        (plan(listener(transparent=True)), [Need(RAW, "transparent")]),
        (plan(listener(transparent="true")), [Need(RAW, "transparent")]),
        (plan(listener(transparent=False)), []),
        (plan(listener(freebind=True, tcp_fast_open_queue_length=5)), []),
    ],
)
def test_listener_needs_what_the_kernel_asks_for(found: RunPlan, wanted: list[Need]) -> None:
    assert [*needs_of(found)] == wanted


@pytest.mark.parametrize(
    "given, wanted",
    [
        (option(1, 2), ()),
        (option(1, 36), (ADMIN,)),
        (option(1, 12, 6), ()),
        (option(1, 12, 7), (ADMIN,)),
        (option(1, 33), (ADMIN,)),
        (option(6, 13), (ADMIN,)),
        (option(0, 19), (RAW,)),
        (option(41, 75), (RAW,)),
        (option(6, 9), ()),
        ({**option(6, 9), "name": "9"}, ()),
        (option(6, 999), (ADMIN, RAW)),
        (option(999, 1), (ADMIN, RAW)),
    ],
    ids=str,
)
def test_option_needs_what_the_kernel_asks_for(given: Any, wanted: tuple[str, ...]) -> None:
    assert capabilities_of(needs_of(plan(listener(socket_options=[given])))) == wanted
    assert capabilities_of(needs_of(plan(listener(socketOptions=given)))) == wanted
    wrapped = {"socket_options": [given]}
    more = [{"address": address(10001), "socket_options": wrapped}]
    assert capabilities_of(needs_of(plan(listener(additional_addresses=more)))) == wanted


def test_empty_options_need_nothing() -> None:
    wrapped = {"socket_options": {"socket_options": []}, "address": address(10001)}
    assert needs_of(plan(listener(additional_addresses=[wrapped]))) == ()


def test_network_namespace_needs_what_lets_it_be_entered() -> None:
    place = address(80, network_namespace_filepath="/run/netns/a")
    found = plan({"name": "l", "address": place})
    assert [*needs_of(found)] == [
        Need(BIND, "port 80"),
        Need("CAP_SYS_ADMIN", "network_namespace_filepath"),
    ]


def test_original_source_needs_to_be_set() -> None:
    kind = "type.googleapis.com/envoy.extensions.filters.listener.original_src.v3.OriginalSrc"
    filters = [{"name": "f", "typed_config": {"@type": kind, "mark": 1}}]
    found = plan(listener(listener_filters=filters))
    assert [*needs_of(found)] == [Need(ADMIN, "original_src")]


def test_first_port_for_everybody_is_that_of_the_scenario() -> None:
    free = {"limit": {"ip_unprivileged_port_start": 80}, "before": "startup"}
    assert needs_of(plan(listener(80), steps=[free])) == ()
    assert needs_of(plan(listener(79), steps=[free])) == (Need(BIND, "port 79"),)


@pytest.mark.parametrize(
    "update",
    [
        {"add": [listener(80)]},
        {"set": [listener(80)]},
        {"change": {"l10000": {"address": address(80)}}},
    ],
    ids=["add", "set", "change"],
)
def test_listeners_of_a_later_update_count(update: Any) -> None:
    xds = {"via": "ads", "listeners": [listener()]}
    found = plan(steps=[{"update_listeners": update}], xds=xds)
    assert needs_of(found) == (Need(BIND, "port 80"),)


def test_options_of_a_later_update_count() -> None:
    xds = {"via": "ads", "listeners": [listener()]}
    added = listener(10001, transparent=True, socket_options=[option(1, 36)])
    found = plan(steps=[{"update_listeners": {"add": [added]}}], xds=xds)
    assert capabilities_of(needs_of(found)) == (ADMIN, RAW)


def test_files_and_what_replaces_them_count() -> None:
    kind = "type.googleapis.com/envoy.config.listener.v3.Listener"

    def discovered(one: Any) -> str:
        return json.dumps({"resources": [{"@type": kind, **one}]})

    source = {"path_config_source": {"path": "${rundir}/lds.yaml"}}
    config = {
        "node": {"id": "n", "cluster": "c"},
        "dynamic_resources": {"lds_config": {"resource_api_version": "V3", **source}},
    }
    found = plan(
        config=config,
        files={"lds.yaml": discovered(listener(80))},
        steps=[
            {
                "replace_file": {
                    "path": "${rundir}/lds.yaml",
                    "content": discovered(listener(443, transparent=True)),
                }
            }
        ],
    )
    assert needs_of(found) == (
        Need(BIND, "port 443"),
        Need(BIND, "port 80"),
        Need(RAW, "transparent"),
    )


def test_envoy_that_is_started_later_counts() -> None:
    overlay = {"static_resources": {"listeners": {"l10000": {"address": address(80)}}}}
    found = plan(listener(), steps=[{"start": {"overlay": overlay}, "name": "second"}])
    assert needs_of(found) == (Need(BIND, "port 80"),)
