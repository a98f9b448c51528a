"""Servers that a config asks and that are not there: what is found, and what takes their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.scenario.absent import (
    NO_RESOURCES,
    NOTHING,
    longest_wait_s,
    looked_up,
    source_names,
    with_node,
    without_servers,
)
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import DEADLINE_S, expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.xds import CLUSTER, FILE

DIGITS = "9" * 400
SERVER = "{api_config_source: {api_type: GRPC, grpc_services: [{envoy_grpc: {cluster_name: far}}]}"

BOOTSTRAP: dict[str, Any] = yaml.safe_load(
    f"""
node: {{id: pod}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 9901}}}}}}
layered_runtime: {{layers: [{{name: a, rtds_layer: {{name: a, rtdsConfig: {SERVER}}}}}}}]}}
dynamic_resources:
  ads_config: {{api_type: DELTA_GRPC, set_node_on_first_message_only: true, grpc_services: []}}
  lds_config: {{ads: {{}}, initial_fetch_timeout: 0s, resource_api_version: V3}}
  cdsConfig: {{ads: {{}}}}
static_resources:
  secrets: [{{name: s}}]
  clusters:
  - name: one
    eds_cluster_config: {{eds_config: {{ads: {{}}, initial_fetch_timeout: 4s}}}}
  - name: by_file
    eds_cluster_config: {{eds_config: {{path_config_source: {{path: here}}}}}}
  listeners:
  - name: front
    filter_chains:
    - filters:
      - typed_config:
          rds: {{route_config_name: any, config_source: {SERVER}, initialFetchTimeout: 20s}}}}
          route_config: {{vhds: {{config_source: {SERVER}}}}}}}
          metadata: {{ads: {{}}, other: 1}}
"""
)


def plan_of(envoy: str, config: dict[str, Any] = BOOTSTRAP) -> RunPlan:
    data = {
        "name": "absent",
        "envoy": {"config": config, **yaml.safe_load(envoy)},
        "expect": [{"process": {"live": True}}],
    }
    (plan,) = expand(parse_scenario(yaml.safe_dump(data, sort_keys=False), Path("absent.yaml")))
    return plan


def test_sources_are_those_that_name_a_server_in_either_spelling() -> None:
    names = ["rtds_config", "lds_config", "cds_config", "eds_config", "rds", "vhds"]
    assert source_names(BOOTSTRAP) == names


def test_nothing_is_asked_of_a_server_any_more_and_all_else_stays() -> None:
    left = without_servers(BOOTSTRAP, "/nothing")
    assert source_names(left) == []
    assert left["dynamic_resources"]["ads_config"] == BOOTSTRAP["dynamic_resources"]["ads_config"]
    assert left["dynamic_resources"]["lds_config"] == {
        "path_config_source": {"path": "/nothing"},
        "initial_fetch_timeout": "0s",
        "resource_api_version": "V3",
    }
    clusters = left["static_resources"]["clusters"]
    assert clusters[1] == BOOTSTRAP["static_resources"]["clusters"][1]
    (chain,) = left["static_resources"]["listeners"][0]["filter_chains"]
    (http,) = chain["filters"]
    assert http["typed_config"]["rds"]["config_source"]["path_config_source"]
    assert http["typed_config"]["route_config"] == {}
    assert http["typed_config"]["metadata"] == {"ads": {}, "other": 1}


def test_empty_control_plane_is_said_and_has_its_file() -> None:
    plan = plan_of("control_plane: empty")
    assert plan.files[NOTHING] == NO_RESOURCES
    assert source_names(plan.config) == []
    assert plan.config["node"] == {"id": "pod", "cluster": "envoyassert"}
    asked = "rtds_config, lds_config, cds_config, eds_config, rds, vhds"
    assert plan.stood_in == (
        f"{asked}: answered with nothing, instead of a server",
        "node: an id and a cluster that the config lacks",
    )
    assert plan.deadline_s == DEADLINE_S


def test_config_that_asks_no_server_is_left_as_it_is() -> None:
    config = {"static_resources": {"listeners": []}, "node": {"id": "a", "cluster": "b"}}
    plan = plan_of("control_plane: empty", config)
    assert (plan.config, plan.stood_in) == (config, ())


@pytest.mark.parametrize("node", ["text", 1, ["id"]])
def test_node_that_is_no_mapping_is_left_to_envoy(node: Any) -> None:
    assert with_node({"node": node}, "any") == {"node": node}


def test_whole_node_is_kept() -> None:
    whole = {"node": {"id": "a", "cluster": "b", "metadata": {}}}
    assert with_node(whole, "x") is whole


@pytest.mark.parametrize("via, api_type", [("ads", "GRPC"), ("delta_ads", "DELTA_GRPC")])
def test_served_listeners_take_the_place_of_the_configs_own_source(via: str, api_type: str) -> None:
    plan = plan_of(f"xds: {{via: {via}}}")
    dynamic = plan.config["dynamic_resources"]
    assert dynamic["lds_config"] == {"ads": {}, "resource_api_version": "V3"}
    assert dynamic["ads_config"] == {
        "set_node_on_first_message_only": True,
        "api_type": api_type,
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": CLUSTER}}],
    }
    assert dynamic["cdsConfig"] == {"ads": {}}
    assert plan.config["node"] == {"id": "pod"}
    said = "lds_config: answered by envoy.xds, instead of the config's own"
    assert plan.stood_in == (said,)


def test_listeners_from_a_file_leave_the_configs_own_stream_as_it_is() -> None:
    plan = plan_of("{xds: {via: file, listeners: [{name: in}]}, control_plane: empty}")
    dynamic = plan.config["dynamic_resources"]
    assert dynamic["ads_config"] == BOOTSTRAP["dynamic_resources"]["ads_config"]
    assert dynamic["lds_config"]["path_config_source"] == {"path": f"${{rundir}}/{FILE}"}
    assert "lds_config" in plan.stood_in[0]
    assert "lds_config" not in plan.stood_in[1]


@pytest.mark.parametrize(
    "config, seconds",
    [
        ("{}", 0),
        # What is waited for without end is not waited for.
        ("dynamic_resources: {lds_config: {ads: {}, initial_fetch_timeout: 0s}}", 0),
        ("dynamic_resources: {lds_config: {ads: {}}}", 15),
        ("dynamic_resources: {lds_config: {ads: {}}, cds_config: {ads: {}}}", 30),
        ("dynamic_resources: {lds_config: {ads: {}, initialFetchTimeout: 2.5s}}", 2.5),
        ("dynamic_resources: {lds_config: {ads: {}, initial_fetch_timeout: soon}}", 15),
        ("dynamic_resources: {lds_config: {ads: {}, initial_fetch_timeout: [1s]}}", 15),
        # Nor is what lasts longer than a day.
        (
            f"dynamic_resources: {{lds_config: {{ads: {{}}, initial_fetch_timeout: {DIGITS}s}}}}",
            86_400,
        ),
        ("dynamic_resources: {lds_config: {path_config_source: {path: here}}}", 0),
    ],
)
def test_deadline_exceeds_what_the_config_makes_envoy_wait(config: str, seconds: float) -> None:
    data = yaml.safe_load(config)
    assert longest_wait_s(data) == seconds
    assert plan_of("{}", data).deadline_s == DEADLINE_S + seconds


def test_stages_are_waited_for_one_after_the_other_and_within_one_at_once() -> None:
    assert longest_wait_s(BOOTSTRAP) == 4 + 15 + 20


def test_names_are_those_of_endpoints() -> None:
    config = yaml.safe_load(
        """
static_resources:
  clusters:
  - load_assignment:
      endpoints:
      - lbEndpoints:
        - endpoint: {address: {socketAddress: {address: a.test, port_value: 1}}}
        - endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 1}}}
        - endpoint: {address: {pipe: {path: b.test}}}
      - lb_endpoints: [{endpoint: {address: {socket_address: {address: a.test}}}}]
  - load_assignment:
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: localhost}}}}]}]
"""
    )
    assert looked_up(config) == ["a.test"]


def test_deadline_of_the_scenario_is_kept() -> None:
    assert plan_of("deadline: 3s").deadline_s == 3
