"""`{from: PATH}`: files and listeners of a scenario that lie in files of their own."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from envoyassert.errors import ScenarioError
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.schema import scenario_schema

LISTENER = {
    "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "name": "ingress",
    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 15006}},
}
CLUSTER = {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "backend"}
ADMIN = {"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}}
LDS = {"lds_config": {"path_config_source": {"path": "${rundir}/lds.yaml"}}}


def scenario(directory: Path, **envoy: object) -> Path:
    path = directory / "one.yaml"
    expect = [{"listener": {"name": "ingress"}, "bound": {"times": "workers"}}]
    data = {"name": "one", "envoy": {"config": ADMIN, **envoy}, "expect": expect}
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def plan_of(path: Path, *, untrusted: bool = False) -> RunPlan:
    (plan,) = expand(load_scenario(path, untrusted=untrusted))
    return plan


def problem_of(path: Path, *, untrusted: bool = False) -> str:
    with pytest.raises(ScenarioError) as raised:
        plan_of(path, untrusted=untrusted)
    return str(raised.value)


def test_a_file_of_the_run_has_the_text_of_another(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    text = "# mine\nresources:\n- " + json.dumps(LISTENER) + "\n"
    (tmp_path / "conf" / "lds.yaml").write_text(text)
    config = {**ADMIN, "dynamic_resources": LDS}
    path = scenario(tmp_path, config=config, files={"lds.yaml": {"from": "conf/lds.yaml"}})
    plan = plan_of(path)
    assert plan.files["lds.yaml"] == text
    # The listeners in it are known, so that a selector names one.
    assert [record.name for record in plan.listeners] == ["admin", "ingress"]


@pytest.mark.parametrize(
    "content",
    [{"version_info": "1", "resources": [LISTENER]}, [LISTENER]],
    ids=["a response", "a list"],
)
@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_control_plane_serves_what_a_file_holds(
    tmp_path: Path, content: object, suffix: str
) -> None:
    dump = json.dumps if suffix == "json" else yaml.safe_dump
    (tmp_path / f"lds.{suffix}").write_text(dump(content))
    (tmp_path / "cds.yaml").write_text(yaml.safe_dump({"resources": [CLUSTER]}))
    served = {"listeners": {"from": f"lds.{suffix}"}, "resources": {"from": "cds.yaml"}}
    plan = plan_of(scenario(tmp_path, xds=served))
    assert plan.xds is not None
    assert (plan.xds.listeners, plan.xds.resources) == ((LISTENER,), (CLUSTER,))
    assert [record.name for record in plan.listeners] == ["admin", "ingress"]


def test_an_axis_reaches_what_a_file_holds(tmp_path: Path) -> None:
    (tmp_path / "lds.yaml").write_text(yaml.safe_dump({"resources": [LISTENER]}))
    path = scenario(tmp_path, xds={"listeners": {"from": "lds.yaml"}})
    path.write_text("matrix: {enable_reuse_port: [true, false]}\n" + path.read_text())
    plans = expand(load_scenario(path))
    assert [plan.xds.listeners[0]["enable_reuse_port"] for plan in plans if plan.xds] == [
        True,
        False,
    ]


def test_a_file_that_is_not_there_is_an_error_at_its_name(tmp_path: Path) -> None:
    path = scenario(tmp_path, files={"lds.yaml": {"from": "gone.yaml"}})
    line = path.read_text().splitlines().index("      from: gone.yaml") + 1
    assert problem_of(path) == (
        f"{path}:{line}:13: error: gone.yaml: cannot be read: no such file or directory "
        "(the path is relative to the scenario)"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("resources: [\n", "lds.yaml:"),
        ("static_resources: {}\n", "lds.yaml:1:1: error: this holds no resources"),
        ("resources: [{address: {}}]\n", "one.yaml:"),
    ],
)
def test_a_file_that_does_not_fit_is_one_error(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "lds.yaml").write_text(content)
    text = problem_of(scenario(tmp_path, xds={"listeners": {"from": "lds.yaml"}}))
    assert text.startswith(f"{tmp_path}/{said}"), text
    assert len(text.splitlines()) == 1, text


def test_nothing_stands_beside_the_name_of_a_file(tmp_path: Path) -> None:
    path = scenario(tmp_path, files={"lds.yaml": {"from": "other.yaml", "mode": 7}})
    line = path.read_text().splitlines().index("      mode: 7") + 1
    assert problem_of(path).startswith(f"{path}:{line}:7: error: `from` names a file alone")


def test_a_name_must_be_text(tmp_path: Path) -> None:
    text = problem_of(scenario(tmp_path, xds={"listeners": {"from": 5}}))
    assert "`from` must be the name of a file" in text


def test_an_untrusted_scenario_has_no_file_from_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (tmp_path / "lds.yaml").write_text("secret\n")
    (folder / "link.yaml").symlink_to(tmp_path / "lds.yaml")
    for name in ("../lds.yaml", "link.yaml", str(tmp_path / "lds.yaml")):
        path = scenario(folder, files={"lds.yaml": {"from": name}})
        assert "this leads out of its folder" in problem_of(path, untrusted=True)
        assert "secret" not in problem_of(path, untrusted=True)


def test_a_part_is_valid_in_the_schema() -> None:
    validator = jsonschema_rs.Draft202012Validator(scenario_schema())
    base = {"name": "one", "expect": [{"process": {"live": True}}]}
    for envoy in (
        {"files": {"lds.yaml": {"from": "a.yaml"}}},
        {"xds": {"listeners": {"from": "a.yaml"}, "resources": {"from": "b.yaml"}}},
        {"xds": {"listeners": [LISTENER]}},
    ):
        validator.validate({**base, "envoy": {"config": {}, **envoy}})
    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate({**base, "envoy": {"config": {}, "xds": {"listeners": {"of": "x"}}}})


def test_what_a_file_holds_is_looked_at_though_the_scenario_has_no_placeholder(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.txt").write_text("in ${rundri}\n")
    path = scenario(tmp_path, files={"a.txt": {"from": "a.txt"}})
    assert "${" not in path.read_text()
    assert "`${rundri}` is not known (did you mean `${rundir}`?)" in problem_of(path)
