"""`envoyassert attach --follow`: an Envoy's life after its start, as phases."""

from __future__ import annotations

import secrets
import signal
from pathlib import Path

import pytest
import yaml

from envoyassert.graph.fold import fold
from envoyassert.judge.scopes import certify_phases
from envoyassert.trace_file import read_trace
from tests.e2e.attaching import Attaching, envoy_command, envoyassert, running
from tests.e2e.launching import bootstrap, echo_listener

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

_LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"


@pytest.fixture
def named(tmp_path):
    """Return a function that gives a command's Envoy a name that nothing else has."""

    def name(command: list[str]) -> list[str]:
        path = tmp_path / f"ea-{secrets.token_hex(4)}"
        path.symlink_to(command[0])
        return [str(path), *command[1:]]

    return name


#: Of phases by their number, by their kind, of each and of the last one.
SCENARIO = """\
name: followed
expect:
- {listener: {name: l10000}, served_by: workers}
- {listener: {port: 10001}, at_end_of: startup, sockets: {live: 0}}
- {listener: {name: l10001}, during: added_1, bound: {times: workers, by: main}}
- {listener: {name: l10001}, at_end_of: added, served_by: workers}
- {listener: {port: 10000}, at_end_of: removed, sockets: {live: 0}, served_by: none}
- {process: {stays_up: true}, at_end_of: each}
- {listener: {name: l10001}, at_end_of: last, served_by: workers}
- {never: {call: bind, listener: {port: 10002}}}
"""
#: The later Envoy of a hot restart has the sockets of the first, and bound none.
RESTARTED = """\
name: restarted
expect:
- {listener: {name: l10000}, envoy: first, at_end_of: epoch, bound: {times: workers}}
- {listener: {name: l10000}, envoy: epoch_1, at_end_of: epoch_1, bound: {times: 0}}
- {listener: {name: l10000}, envoy: epoch_1, at_end_of: last, served_by: workers}
"""
#: What is wrong of one phase each.
WRONG = {
    "removed_2": (
        "at_end_of: removed, sockets: {live: 0}",
        "at_end_of: removed, sockets: {live: 1}",
    ),
    "added_1": ("times: workers", "times: 7"),
}


def write_listeners(path: Path, *ports: int) -> None:
    """Replace the file of LDS as Envoy notices it: by a rename."""
    resources = [{"@type": _LISTENER, **yaml.safe_load(echo_listener(port))} for port in ports]
    new = path.with_suffix(".new")
    new.write_text(yaml.safe_dump({"resources": resources}))
    new.rename(path)


def test_listeners_that_come_and_go_are_phases(tmp_path, named):
    lds, trace = tmp_path / "lds.yaml", tmp_path / "up.ndjson"
    write_listeners(lds, 10000)
    config = {
        **yaml.safe_load(bootstrap()),
        "node": {"id": "a", "cluster": "b"},
        "dynamic_resources": {"lds_config": {"path_config_source": {"path": str(lds)}}},
    }
    command = named(envoy_command(tmp_path, yaml.safe_dump(config)))
    scenario = tmp_path / "followed.yaml"
    scenario.write_text(SCENARIO)
    arguments = ("--follow", "--settle", "0.3s", "--scenario", scenario, "-o", trace)
    with (
        Attaching("--exe", command[0], *arguments) as attached,
        running(command),
    ):
        attached.wait_for("the phase startup is over")
        write_listeners(lds, 10000, 10001)
        attached.wait_for("the phase added_1 is over")
        write_listeners(lds, 10001)
        attached.wait_for("the phase removed_2 is over")
        done = attached.end(signal.SIGTERM)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS followed" in done.stdout
    for phase, (right, wrong) in WRONG.items():
        scenario.write_text(SCENARIO.replace(right, wrong))
        judged = envoyassert("replay", trace, "--scenario", scenario)
        assert judged.returncode == 1, judged.stdout + judged.stderr
        assert phase in judged.stdout
    read = read_trace(trace)
    assert [phase.name for phase in read.phases][:3] == ["startup", "added_1", "removed_2"]
    names = [[one.name for one in phase.listeners or ()] for phase in read.phases[:3]]
    assert names == [["admin", "l10000"], ["admin", "l10000", "l10001"], ["admin", "l10001"]]
    assert all(phase.witness is not None for phase in read.phases)


def test_epochs_of_a_hot_restart_are_one_trace(tmp_path, named):
    trace, go = tmp_path / "up.ndjson", tmp_path / "go"
    config = bootstrap(echo_listener())
    command = named([*envoy_command(tmp_path, config), "--base-id", "7"])
    script = (
        f'"$@" --restart-epoch 0 & while ! [ -e {go} ]; do sleep 0.05; done;'
        ' "$@" --restart-epoch 1 --parent-shutdown-time-s 600 & wait'
    )
    with (
        Attaching("--exe", command[0], "--follow", "--settle", "0.3s", "-o", trace) as attached,
        running(["sh", "-c", script, "sh", *command]),
    ):
        attached.wait_for("the phase startup is over")
        go.touch()
        attached.wait_for("the phase epoch_1 is over")
        done = attached.end(signal.SIGTERM)
    assert done.returncode == 0, done.stderr
    read = read_trace(trace)
    assert [phase.name for phase in read.phases][:2] == ["startup", "epoch_1"]
    pids = [member.pid for member in read.phases[1].envoys]
    assert [member.name for member in read.phases[1].envoys] == ["first", "epoch_1"]
    executed = [event.pid for event in read.events if event.call == "exec"]
    assert executed == pids
    certificate = certify_phases(read, fold(read))
    assert [check for check in certificate.checks if not check.ok] == []
    assert not list(tmp_path.glob("up_2*")), "one trace for both"
    scenario = tmp_path / "restarted.yaml"
    scenario.write_text(RESTARTED)
    judged = envoyassert("replay", trace, "--scenario", scenario)
    assert judged.returncode == 0, judged.stdout + judged.stderr
