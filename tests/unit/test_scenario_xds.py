"""A control plane of a scenario: what it puts into the bootstrap, and what serves whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.xds import CLUSTER, FILE, resource_name

SCENARIO = """
name: served
matrix: {MATRIX}
envoy:
  config:
    admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
    static_resources: {clusters: [{name: own}]}
  xds:
    listeners:
      - name: ingress
        address: {socket_address: {address: 127.0.0.1, port_value: 15006}}
expect:
  - listener: {name: ingress}
    served_by: workers
"""


def plans(matrix: str = "concurrency: [1]") -> list[RunPlan]:
    text = SCENARIO.replace("MATRIX", matrix)
    return expand(parse_scenario(text, Path("served.yaml")))


def served(plan: RunPlan) -> list[dict[str, Any]]:
    content = plan.files[FILE]
    assert isinstance(content, dict)
    resources: list[dict[str, Any]] = content["resources"]
    return resources


@pytest.mark.parametrize(
    "via, kind", [("file", None), ("ads", "GRPC"), ("delta_ads", "DELTA_GRPC")]
)
def test_bootstrap_asks_for_listeners_the_way_that_is_chosen(via: str, kind: str | None) -> None:
    (plan,) = plans(f"xds.via: [{via}]")
    assert plan.id == f"served[via={via}]"
    dynamic = plan.config["dynamic_resources"]
    assert dynamic.get("ads_config", {}).get("api_type") == kind
    assert ("path_config_source" in dynamic["lds_config"]) == (kind is None)
    names = [cluster["name"] for cluster in plan.config["static_resources"]["clusters"]]
    assert names == (["own"] if kind is None else ["own", CLUSTER])
    assert "xds" not in plan.config


@pytest.mark.parametrize("via", ["file", "ads"])
def test_served_listeners_are_known_to_the_run(via: str) -> None:
    (plan,) = plans(f"xds.via: [{via}]")
    found = [(record.name, record.kind) for record in plan.listeners]
    assert found == [("admin", "admin"), ("ingress", "lds")]


def test_field_of_a_listener_as_axis_varies_what_is_served() -> None:
    values = [
        served(plan)[0]["enable_reuse_port"] for plan in plans("enable_reuse_port: [true, false]")
    ]
    assert values == [True, False]


def test_overlay_by_value_reaches_what_is_served() -> None:
    overlay = (
        "port: {other: {xds: {listeners: {ingress: {address: {socket_address: {port_value: 1}}}}}}}"
    )
    (plan,) = plans(overlay)
    assert served(plan)[0]["address"]["socket_address"] == {
        "address": "127.0.0.1",
        "port_value": 1,
    }


def test_clusters_are_asked_for_only_where_some_are_served() -> None:
    cluster = "{'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster, name: one}"
    with_cluster, without = plans(f"what: {{one: {{xds: {{resources: [{cluster}]}}}}, none: {{}}}}")
    assert "cds_config" in with_cluster.config["dynamic_resources"]
    assert "cds_config" not in without.config["dynamic_resources"]


def test_endpoints_go_by_the_name_of_their_cluster() -> None:
    assert resource_name({"cluster_name": "one", "name": "x"}) == "one"
    assert resource_name({"name": "x"}) == "x"
