"""plan: it takes what draft takes, as drafted, and says the same of what cannot be drafted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.cli import plan as command
from envoyassert.cli import plan_run
from envoyassert.cli.configs import plan_of_file
from envoyassert.scenario.plan import RunPlan
from tests.unit.cli_words import run_cli


class StartedError(BaseException):
    """What is raised instead of a run."""


TRACE = Path(__file__).parents[1] / "traces" / "reuse_port_off-1.40.0.ndjson"


def listener(name: str, port: int, host: str = "127.0.0.1", **more: Any) -> dict[str, Any]:
    address = {"address": host, "port_value": port, **more}
    return {"name": name, "address": {"socket_address": address}}


def bootstrap(*listeners: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"static_resources": {"listeners": list(listeners)}, **more}


DUMP = {
    "configs": [
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
            "dynamic_listeners": [
                {"name": "in", "active_state": {"listener": listener("in", 15006, "10.7.7.7")}}
            ],
        }
    ]
}
ASKING = bootstrap(
    listener("metrics", 15090),
    node={"id": "pod", "cluster": "front"},
    dynamic_resources={"lds_config": {"ads": {}}},
)
SHARED_UDP = {**listener("u", 53, protocol="UDP"), "enable_reuse_port": False}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(name: str, data: Any) -> Path:
        path = Path(name)
        path.write_text(json.dumps(data) if path.suffix == ".json" else yaml.safe_dump(data))
        return path

    return written


def listeners_of(plan: RunPlan) -> list[str]:
    return [f"{record.name} {address}" for record in plan.listeners for address in record.addresses]


def test_plan_of_each_input_is_as_drafted(file):
    config = file("envoy.yaml", bootstrap(listener("a", 80, "10.1.2.3")))
    plan = plan_of_file(config)
    assert (plan.addresses, plan.loaded.scenario.requires.launcher) == (("10.1.2.3",), "process")
    away = listener("b", 80, "10.1.2.3", network_namespace_filepath="/run/netns/blue")
    plan = plan_of_file(file("away.yaml", bootstrap(away)))
    assert plan.netns == {"blue": ("10.1.2.3",)}
    plan = plan_of_file(file("dump.json", DUMP))
    assert (listeners_of(plan), plan.addresses) == (["in 10.7.7.7:15006"], ("10.7.7.7",))
    plan = plan_of_file(TRACE)
    assert len(plan.listeners) == 2
    assert plan.concurrency == 2
    plan = plan_of_file(file("nothing.yaml", bootstrap()))
    assert plan.listeners == ()


def test_plan_with_a_dump_serves_its_listeners(file):
    dump, asking = file("dump.json", DUMP), file("asking.yaml", ASKING)
    plan = plan_of_file(asking, served=dump)
    assert listeners_of(plan) == ["metrics 127.0.0.1:15090", "in 10.7.7.7:15006"]
    assert listeners_of(plan_of_file(asking)) == ["metrics 127.0.0.1:15090"]


@pytest.mark.parametrize(("other", "workers"), [(SHARED_UDP, 1), (listener("a", 81), 1)])
def test_plan_takes_as_many_workers_as_envoy_takes_with_either(file, monkeypatch, other, workers):
    """Of UDP without SO_REUSEPORT Envoy takes one worker, and a comparison needs equal numbers."""
    ran: list[int] = []

    def run_both(plans, _launcher):
        ran.extend(plan.concurrency for plan in plans)
        raise StartedError

    monkeypatch.setattr(plan_run, "run_both", run_both)
    files = file("old.yaml", bootstrap(SHARED_UDP)), file("new.yaml", bootstrap(other))
    with pytest.raises(StartedError):
        command.plan.main([*map(str, files), "--run"], standalone_mode=False)
    assert ran == [workers, workers]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("other.yaml", {"foo": {}}),
        ("list.yaml", [1]),
        ("nothing.json", {"configs": []}),
        ("listening.json", {"listener_statuses": []}),
    ],
)
def test_plan_says_what_draft_says_of_what_cannot_be_drafted(capsys, file, name, content):
    path = file(name, content)
    drafted = run_cli(capsys, "draft", path)
    planned = run_cli(capsys, "plan", path, path, "--model")
    assert (drafted.code, planned.code) == (4, 2)
    assert (drafted.out + drafted.err).startswith(f"{name}:1:1: error: ")
    assert planned.out + planned.err == drafted.out + drafted.err


def test_plan_says_of_a_file_once_what_a_draft_notes(capsys, file, monkeypatch):
    twins = bootstrap(
        listener("a", 80), listener("a", 81), {**listener("b", 82), "bind_to_port": False}
    )
    path = file("envoy.yaml", twins)

    def run_both(*_):
        raise StartedError

    monkeypatch.setattr(plan_run, "run_both", run_both)
    with pytest.raises(StartedError):
        command.plan.main([str(path), str(path), "--run"], standalone_mode=False)
    note = "envoy.yaml: 1 of the listeners has the name of one before: Envoy ignores it\n"
    assert capsys.readouterr().err == note  # and nothing of expectations, which it has not


def test_scenario_is_not_given_what_is_served(capsys, file):
    dump = file("dump.json", DUMP)
    scenario = {
        "name": "mine",
        "envoy": {"config": ASKING},
        "expect": [{"process": {"live": True}}],
    }
    path = file("mine.yaml", scenario)
    done = run_cli(capsys, "plan", path, path, "--with", dump)
    assert (done.code, "mine.yaml is a scenario" in done.err) == (2, True)
    done = run_cli(capsys, "plan", "--traces", TRACE, TRACE, "--with", dump)
    assert (done.code, "--with means nothing beside --traces" in done.err) == (2, True)
