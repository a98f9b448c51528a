"""A scenario's matrix to runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from envoyassert.errors import ScenarioError
from envoyassert.scenario import matrix
from envoyassert.scenario.load import LoadedScenario, load_scenario, parse_scenario
from envoyassert.scenario.matrix import count_values, expand
from envoyassert.words.listener import ListenerExpectation

ENVOY = """
envoy:
  config:
    admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
    static_resources:
      listeners:
        - name: a
          address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
        - name: b
          address: {socket_address: {address: 127.0.0.1, port_value: 10001}}
          enable_reuse_port: true
"""
EXPECT = "expect: [{process: {live: true}}]\n"


def scenario(matrix: str = "", *, envoy: str = ENVOY, expect: str = EXPECT) -> LoadedScenario:
    text = f"name: s\n{f'matrix: {matrix}' if matrix else ''}{envoy}{expect}"
    return parse_scenario(text, Path("s.yaml"))


def problem(loaded: LoadedScenario, **more: Any) -> str:
    with pytest.raises(ScenarioError) as caught:
        expand(loaded, **more)
    (found,) = caught.value.problems
    return str(found)


def reuse_port(config: dict[str, Any]) -> list[Any]:
    return [x.get("enable_reuse_port") for x in config["static_resources"]["listeners"]]


def test_scenario_without_a_matrix_is_one_run() -> None:
    (plan,) = expand(scenario())
    assert plan.id == "s"
    assert (plan.matrix, plan.concurrency, plan.deadline_s, plan.timeout_s) == ({}, 2, 10.0, None)
    assert (plan.version, plan.image, plan.binary, plan.launcher) == ("", "", "", "")
    assert plan.pull == "missing"
    assert [record.name for record in plan.listeners] == ["admin", "a", "b"]
    assert str(plan.admin) == "127.0.0.1:9901"
    assert [index for index, _ in plan.expectations] == [0]


def test_axes_are_multiplied_in_the_order_of_the_file() -> None:
    plans = expand(scenario("{concurrency: [1, 2], enable_reuse_port: [true, false]}"))
    assert [plan.id for plan in plans] == [
        "s[concurrency=1,enable_reuse_port=true]",
        "s[concurrency=1,enable_reuse_port=false]",
        "s[concurrency=2,enable_reuse_port=true]",
        "s[concurrency=2,enable_reuse_port=false]",
    ]
    assert [plan.concurrency for plan in plans] == [1, 1, 2, 2]
    assert [reuse_port(plan.config) for plan in plans[:2]] == [[True, True], [False, False]]
    assert plans[0].matrix_text == {"concurrency": "1", "enable_reuse_port": "true"}


def test_path_into_the_config_changes_that_value_alone() -> None:
    plans = expand(scenario("{static_resources.listeners.b.enable_reuse_port: [true, false]}"))
    assert [plan.id for plan in plans] == [
        "s[enable_reuse_port=true]",
        "s[enable_reuse_port=false]",
    ]
    assert [reuse_port(plan.config) for plan in plans] == [[None, True], [None, False]]


def test_paths_with_the_same_end_are_shown_in_full() -> None:
    axes = "static_resources.listeners.{}.freebind: [true]"
    (plan,) = expand(scenario(f"{{{axes.format(0)}, {axes.format(1)}}}"))
    assert plan.id == (
        "s[static_resources.listeners.0.freebind=true,static_resources.listeners.1.freebind=true]"
    )


def test_named_axis_overlays_the_config_by_value() -> None:
    matrix = (
        "{reuse: {default: {}, 'off': {static_resources: {listeners: "
        "{b: {enable_reuse_port: false}}}}, unset: {static_resources: {listeners: "
        "{b: {enable_reuse_port: null}}}}}}"
    )
    plans = expand(scenario(matrix))
    assert [plan.id for plan in plans] == ["s[reuse=default]", "s[reuse=off]", "s[reuse=unset]"]
    assert [reuse_port(plan.config)[1] for plan in plans] == [True, False, None]


def test_overlay_of_the_scenario_comes_before_the_matrix() -> None:
    envoy = ENVOY + "  overlay: {static_resources: {listeners: {a: null}}}\n"
    (plan,) = expand(scenario("{enable_reuse_port: [false]}", envoy=envoy))
    assert reuse_port(plan.config) == [False]
    assert [record.name for record in plan.listeners] == ["admin", "b"]


def test_concurrency_zero_is_one_worker() -> None:
    (plan,) = expand(scenario(envoy=ENVOY + "  concurrency: 0\n"))
    assert (plan.concurrency, plan.workers) == (0, 1)


def test_when_keeps_expectations_with_their_indexes() -> None:
    expect = """expect:
  - listener: {name: a}
    bound: {times: 1}
    when: {concurrency: 1}
  - process: {live: true}
    when: {concurrency: [2, 4]}
  - no_others: true
  - no_others: true
    when: {enable_reuse_port: true, concurrency: 1}
"""
    plans = expand(
        scenario("{concurrency: [1, 2, 4], enable_reuse_port: [true, false]}", expect=expect)
    )
    assert [[index for index, _ in plan.expectations] for plan in plans] == [
        [0, 2, 3],
        [0, 2],
        [1, 2],
        [1, 2],
        [1, 2],
        [1, 2],
    ]


def test_when_does_not_take_a_number_for_a_flag() -> None:
    matrix = "{transparent: [true, false]}"
    expect = "expect: [{no_others: true}, {process: {live: true}, when: {transparent: true}}]\n"
    plans = expand(scenario(matrix, expect=expect))
    assert [len(plan.expectations) for plan in plans] == [2, 1]
    with pytest.raises(ScenarioError, match="`transparent` is never `1`"):
        scenario(matrix, expect=expect.replace("transparent: true", "transparent: 1"))


def test_placeholders_are_filled_everywhere() -> None:
    envoy = """
envoy:
  concurrency: 3
  config:
    admin: {address: {pipe: {path: "${rundir}/admin.sock"}}}
    static_resources: {listeners: [{name: "l${concurrency}"}]}
    node: {id: "n-${concurrency}-${HOME}", metadata: {workers: "${concurrency}"}}
  files: {lds.yaml: "path: ${rundir}/x", data.yaml: {path: "${rundir}/y"}}
  args: [--log-path, "${rundir}/envoy.log"]
  env: {STATE: "${rundir}"}
"""
    expect = """expect:
  - listener: {path: "${rundir}/admin.sock"}
    bound: {times: 1}
    in_order: [bind, {call: listen, listener: {path: "${rundir}/admin.sock"}}]
  - never: {call: unlink, args: {path: "${rundir}/admin.sock"}}
  - listener: {name: "l${concurrency}"}
    bound: {times: 1}
"""
    (plan,) = expand(scenario(envoy=envoy, expect=expect))
    filled = plan.in_rundir("/run/7")
    assert filled.config["node"] == {"id": "n-3-${HOME}", "metadata": {"workers": 3}}
    assert str(filled.admin) == "/run/7/admin.sock"
    assert [str(address) for r in filled.listeners for address in r.addresses] == [
        "/run/7/admin.sock"
    ]
    assert filled.own_files() == {
        "lds.yaml": "path: /run/7/x",
        "data.yaml": '{\n  "path": "/run/7/y"\n}\n',
    }
    assert filled.args == ("--log-path", "/run/7/envoy.log")
    assert filled.env == {"STATE": "/run/7"}
    (_, listener), (_, never), (_, named) = filled.expectations
    assert isinstance(named, ListenerExpectation)
    assert named.listener.name == filled.listeners[-1].name == "l3"
    assert isinstance(listener, ListenerExpectation)
    assert listener.listener.path == "/run/7/admin.sock"
    assert "${" not in repr(listener)
    assert "${" not in repr(never)
    assert "${rundir}" in repr(plan.expectations)


AWAY = """
requires: {launcher: process}
envoy:
  netns: [{name: blue, file: /run/netns/blue, addresses: [10.1.2.3]}, green]
  config:
    static_resources:
      listeners:
      - name: a
        address: &away
          socketAddress:
            {address: 10.1.2.3, portValue: 80, networkNamespaceFilepath: /run/netns/blue}
        additional_addresses: [{address: *away}]
"""


def test_network_namespace_of_the_run_takes_the_place_of_the_configs() -> None:
    (plan,) = expand(scenario(envoy=AWAY))
    filled = plan.in_rundir("/run/7")
    (record,) = filled.listeners
    assert {str(a) for a in record.addresses} == {"10.1.2.3:80 in /run/7/netns/blue"}
    assert filled.netns == {"blue": ("10.1.2.3",), "green": ()}
    assert filled.stood_in == ("/run/netns/blue: a network namespace that is made for the run",)


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("file: /run/netns/blue", "file: /run/netns/red", "names no network namespace `/run/netns"),
        ("[10.1.2.3]", "[10.1.2.333]", "is not an IP address"),
    ],
)
def test_network_namespace_that_nothing_needs_is_an_error(old: str, new: str, shown: str) -> None:
    with pytest.raises(ScenarioError, match=shown):
        expand(scenario(envoy=AWAY.replace(old, new)))


@dataclass(frozen=True)
class Choice:
    version: str = ""
    image: str = ""
    binary: str = ""

    def __str__(self) -> str:
        return self.version or self.image or self.binary


def test_envoy_that_is_named_is_started_without_the_agent_of_the_scenario() -> None:
    requires = "\nrequires: {launcher: process}"
    loaded = scenario(envoy=f"{requires}{ENVOY}  agent: [/bin/agent, --flag]\n")
    (own,) = expand(loaded)
    assert own.agent == ("/bin/agent", "--flag")
    assert own.stood_in == ()
    (named,) = expand(loaded, envoys=[Choice(version="1.36.4")])
    assert named.agent == ()
    assert named.stood_in == ("envoy.agent: not used, as 1.36.4 was named in its place",)


def test_envoy_given_from_outside_replaces_the_scenario_s_own() -> None:
    loaded = scenario("{version: [1.36.4, 1.40.0], concurrency: [1]}")
    assert [(plan.id, plan.version) for plan in expand(loaded)] == [
        ("s[version=1.36.4,concurrency=1]", "1.36.4"),
        ("s[version=1.40.0,concurrency=1]", "1.40.0"),
    ]
    plans = expand(loaded, envoys=[Choice(image="envoy:dev"), Choice(binary="/opt/envoy")])
    assert [(plan.id, plan.version, plan.image, plan.binary) for plan in plans] == [
        ("s[concurrency=1,envoy=envoy:dev]", "", "envoy:dev", ""),
        ("s[concurrency=1,envoy=/opt/envoy]", "", "", "/opt/envoy"),
    ]


def test_launchers_are_multiplied_last() -> None:
    plans = expand(scenario("{concurrency: [1, 2]}"), launchers=["docker", "process"])
    assert [(plan.id, plan.launcher) for plan in plans[:2]] == [
        ("s[concurrency=1,launcher=docker]", "docker"),
        ("s[concurrency=1,launcher=process]", "process"),
    ]
    assert len(plans) == 4


def test_plan_can_be_given_another_envoy() -> None:
    (plan,) = expand(scenario(envoy=ENVOY + "  version: 1.40.0\n"))
    assert replace(plan, version="", binary="/opt/envoy").binary == "/opt/envoy"


def test_when_on_the_version_of_an_unknown_envoy_is_refused() -> None:
    expect = EXPECT.replace("live: true}", "live: true}, when: {version: 1.40.0}")
    loaded = scenario("{version: [1.40.0]}", expect=expect)
    assert len(expand(loaded, envoys=[Choice(version="1.40.0")])) == 1
    assert problem(loaded, envoys=[Choice(version="1.41.0")]) == (
        "s.yaml:13:1: error: no expectation applies to the run [envoy=1.41.0]"
        " (every one has a `when` that excludes it)"
    )
    with pytest.raises(ScenarioError, match="`version`, which is not known of the Envoy"):
        expand(loaded, envoys=[Choice(image="envoy:dev")])


def test_binary_is_relative_to_the_scenario() -> None:
    text = f"name: s\n{ENVOY}  binary: ./envoy\n{EXPECT}"
    (plan,) = expand(parse_scenario(text, Path("/a/b/s.yaml")))
    assert plan.binary == "/a/b/envoy"


def test_config_file_is_relative_to_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "one.yaml").write_text(
        "static_resources: {listeners: [{name: only}]}\n", encoding="utf-8"
    )
    path = tmp_path / "s.yaml"
    path.write_text(
        f"name: s\nmatrix: {{freebind: [true]}}\nenvoy: {{config: configs/one.yaml}}\n{EXPECT}",
        encoding="utf-8",
    )
    (plan,) = expand(load_scenario(path))
    assert plan.config == {"static_resources": {"listeners": [{"name": "only", "freebind": True}]}}


def test_names_of_listeners_from_elsewhere_are_not_checked() -> None:
    expect = "expect: [{listener: {name: later}, bound: {times: 1}}]\n"
    envoy = "\nenvoy: {config: {dynamic_resources: {lds_config: {ads: {}}}}}\n"
    assert len(expand(scenario(envoy=envoy, expect=expect))) == 1
    assert "the config has no listener `later`" in problem(scenario(expect=expect))


def test_too_many_runs_are_refused() -> None:
    values = list(range(33))
    matrix = f"{{concurrency: {values}, tcp_backlog_size: {values}}}"
    assert problem(scenario(matrix)) == (
        "s.yaml:2:1: error: the matrix makes 1089 runs, more than 1024"
    )


def test_many_runs_of_a_large_config_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = scenario("{concurrency: [1, 2, 3]}")
    size = count_values(loaded.config)
    monkeypatch.setattr(matrix, "MAX_VALUES", 3 * size)
    assert len(expand(loaded)) == 3
    monkeypatch.setattr(matrix, "MAX_VALUES", 3 * size - 1)
    assert problem(loaded).startswith(
        f"s.yaml:2:1: error: the matrix makes 3 runs of a config of {size} values, more than "
        f"{3 * size - 1} in all (make fewer runs, "
    )


@pytest.mark.parametrize(
    "axes, values",
    [
        ("concurrency: [1, 2, 4]", {"concurrency": 2}),
        ("concurrency: [1, 4], version: [1.39.0]", {"concurrency": 1, "version": "1.39.0"}),
        ("kind: {a: {}, b: {stats_flush_interval: 1s}, c: {}}", {"kind": "b"}),
    ],
)
def test_once_is_the_value_in_the_middle_of_each_axis(axes: str, values: dict[str, Any]) -> None:
    loaded = scenario(f"{{{axes}}}")
    (plan,) = expand(loaded, once=True)
    assert plan.matrix == values
    assert plan.id in [one.id for one in expand(loaded)]
    assert plan.config == next(one for one in expand(loaded) if one.id == plan.id).config


def test_axis_with_a_known_name_takes_no_overlays() -> None:
    assert "`concurrency` takes a list of values, not overlays" in problem(
        scenario("{concurrency: {few: {}, many: {}}}")
    )


def test_field_that_is_not_known_needs_a_path() -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario("{brand_new_field: [true]}")
    assert str(caught.value) == (
        "s.yaml:2:10: error: `brand_new_field` is neither a plain field of `envoy` nor one of a"
        " listener (write the path from the top of the config:"
        " static_resources.listeners.*.brand_new_field)"
    )
    (plan,) = expand(scenario("{'static_resources.listeners.*.brand_new_field': [true]}"))
    assert [x["brand_new_field"] for x in plan.config["static_resources"]["listeners"]] == [
        True,
        True,
    ]
