"""A change of a plan from a command line: `enable_reuse_port=false`."""

from pathlib import Path

import pytest

from envoyassert.scenario.change import ChangeError, changed
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan

LISTENER_TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"
TEXT = f"""
name: one
envoy:
  config:
    admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 9901}}}}}}
    static_resources:
      listeners:
        - {{name: a, address: {{socket_address: {{address: 0.0.0.0, port_value: 80}}}}}}
        - {{name: b, address: {{socket_address: {{address: 0.0.0.0, port_value: 81}}}}}}
  files:
    data.yaml:
      resources:
        - {{"@type": "{LISTENER_TYPE}", name: c}}
        - {{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", name: d}}
    text.json: '{{"resources": [{{"@type": "{LISTENER_TYPE}", "name": "e"}}]}}'
    notes.txt: just text
expect: [{{process: {{stays_up: true}}}}]
"""


@pytest.fixture
def plan() -> RunPlan:
    (made,) = expand(parse_scenario(TEXT, Path("one.yaml")))
    return made


def resources(plan: RunPlan, name: str):
    content = plan.files[name]
    assert isinstance(content, dict)
    return content["resources"]


def test_field_changes_every_listener_static_and_discovered(plan):
    new = changed(plan, "enable_reuse_port=false")
    static = new.config["static_resources"]["listeners"]
    assert [listener["enable_reuse_port"] for listener in static] == [False, False]
    listener, cluster = resources(new, "data.yaml")
    assert listener["enable_reuse_port"] is False
    assert "enable_reuse_port" not in cluster
    assert resources(new, "text.json")[0]["enable_reuse_port"] is False
    assert new.files["notes.txt"] == "just text"
    assert "enable_reuse_port" not in str(plan)


def test_path_changes_one_place_and_the_listeners_that_are_known(plan):
    path = "static_resources.listeners.b.address.socket_address.port_value"
    new = changed(plan, f"{path}=8081")
    assert [str(r.addresses[0]) for r in new.listeners if r.kind == "static"] == [
        "0.0.0.0:80",
        "0.0.0.0:8081",
    ]
    assert [str(r.addresses[0]) for r in plan.listeners if r.kind == "static"][1] == "0.0.0.0:81"


def test_concurrency_changes_the_number_of_workers(plan):
    assert changed(plan, "concurrency=4").workers == 4


def test_changes_add_up(plan):
    new = changed(changed(plan, "transparent=true"), "tcp_backlog_size=64")
    listener = new.config["static_resources"]["listeners"][0]
    assert (listener["transparent"], listener["tcp_backlog_size"]) == (True, 64)


@pytest.mark.parametrize(
    "change, message",
    [
        ("enable_reuse_port", "`enable_reuse_port` is no change"),
        ("=1", "`=1` is no change"),
        ("enable_reuse_pot=false", "did you mean `enable_reuse_port`?"),
        ("nonsense=1", "is no plain field of a listener"),
        ("concurrency=many", "a concurrency is a number"),
        ("concurrency=true", "a concurrency is a number"),
        ("static_resources.listeners.x.transparent=true", "no element of the list is named `x`"),
        ("transparent=[1", "`transparent=[1`: "),
    ],
)
def test_change_that_cannot_be_made_is_an_error_with_a_remedy(plan, change, message):
    with pytest.raises(ChangeError) as caught:
        changed(plan, change)
    assert message in str(caught.value)


def test_field_of_no_listener_is_an_error():
    text = "name: two\nenvoy: {config: {}}\nexpect: [{process: {stays_up: true}}]\n"
    (empty,) = expand(parse_scenario(text, Path("two.yaml")))
    with pytest.raises(ChangeError, match="has no listeners of its own to change"):
        changed(empty, "enable_reuse_port=false")
