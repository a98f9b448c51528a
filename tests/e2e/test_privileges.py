"""What an Envoy may do, by the kernel's own word of the process: no more than its sockets need."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from envoyassert.errors import LaunchError
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.launch.choose import Preference, choose_launcher, validate_config
from envoyassert.launch.envoy_source import EnvoySource, parse_envoy_argument
from envoyassert.launch.limits import USER
from envoyassert.launch.version import binary_version
from envoyassert.probe import Probe
from envoyassert.probe.strace_tracer import StraceProbe
from envoyassert.runner import LiveRun
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

VERSIONS = ("1.36.4", "1.40.0")
#: linux/capability.h
BIT = {"CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}
LAUNCHERS = [
    "process",
    pytest.param("docker", marks=pytest.mark.docker),
]


def address(port: int, **more: Any) -> Any:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port, **more}}


def listener(port: int = 10000, **more: Any) -> Any:
    kind = "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"
    echo = {"name": "envoy.filters.network.echo", "typed_config": {"@type": kind}}
    chains = [{"filters": [echo]}]
    return {"name": f"l{port}", "address": address(port), "filter_chains": chains, **more}


def mark(value: int = 7) -> Any:
    return [{"level": 1, "name": 36, "int_value": value, "state": "STATE_PREBIND"}]


def status_of(pid: int) -> dict[str, str]:
    """What the kernel says of a process (proc(5))."""
    text = Path(f"/proc/{pid}/status").read_text("utf-8")
    return {name: value.strip() for name, _, value in (x.partition(":") for x in text.splitlines())}


@contextlib.contextmanager
def running(
    probe: Any, launcher: Preference, version: str, *listeners: Any, **more: Any
) -> Iterator[LiveRun]:
    """A scenario's Envoy, once its steps are done."""
    admin = {"address": address(9901)}
    config = {"admin": admin, "static_resources": {"listeners": [*listeners]}}
    envoy = {"concurrency": 2, "config": config, **more.pop("envoy", {})}
    scenario = {"name": "s", "envoy": envoy, "expect": [{"process": {"live": True}}], **more}
    (plan,) = expand(
        parse_scenario(json.dumps(scenario), Path("s.yaml")), envoys=[parse_envoy_argument(version)]
    )
    source = parse_envoy_argument(version)
    with choose_launcher(launcher, source) as place, LiveRun(plan, probe, place) as run:
        run.carry_out_steps()
        yield run
        trace = run.trace()
        verdict = judge(trace, plan.expectations, workers=plan.workers)
        assert verdict.status is Status.PASS, [str(finding) for finding in verdict.findings]


def held(status: dict[str, str]) -> set[str]:
    """Names of the capabilities of a process, which may get no others."""
    sets = {status[name] for name in ("CapPrm", "CapEff", "CapBnd")}
    assert len(sets) == 1, status
    (bits,) = {int(one, 16) for one in sets}
    names = {name for name, bit in BIT.items() if bits >> bit & 1}
    assert bits == sum(1 << BIT[name] for name in names), hex(bits)
    return names


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_envoy_is_an_ordinary_user_without_capabilities(
    probe: Probe, launcher: Preference, version: str
) -> None:
    with running(probe, launcher, version, listener()) as run:
        status = status_of(run.pid)
    assert status["Uid"].split() == status["Gid"].split() == [str(USER)] * 4
    assert status["Groups"].split() in ([], [str(USER)])
    assert held(status) == set()
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"  # SECCOMP_MODE_FILTER


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "given, wanted",
    [
        (listener(80), {"CAP_NET_BIND_SERVICE"}),
        (listener(transparent=True), {"CAP_NET_RAW"}),
        (listener(socket_options=mark()), {"CAP_NET_ADMIN"}),
    ],
    ids=["port", "transparent", "mark"],
)
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_envoy_has_the_capabilities_that_its_listeners_need_and_no_others(
    probe: Probe, launcher: Preference, version: str, given: Any, wanted: set[str]
) -> None:
    with running(probe, launcher, version, given) as run:
        status = status_of(run.pid)
    # In a container ports need none, and only root is given any.
    in_container = launcher == "docker"
    wanted = wanted - {"CAP_NET_BIND_SERVICE"} if in_container else wanted
    assert held(status) == wanted
    uid = 0 if in_container and wanted else USER
    assert status["Uid"].split() == [str(uid)] * 4
    assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize("version", VERSIONS)
def test_envoy_that_enters_network_namespaces_may(probe: Probe, version: str) -> None:
    place = address(10000, network_namespace_filepath="${rundir}/netns/a")
    more = {"envoy": {"netns": ["a"]}, "requires": {"launcher": "process"}}
    with running(probe, "process", version, listener(address=place), **more) as run:
        assert held(status_of(run.pid)) == {"CAP_SYS_ADMIN"}


@pytest.mark.parametrize("version", VERSIONS)
def test_port_of_a_later_update_counts(probe: Probe, version: str) -> None:
    xds = {"via": "ads", "listeners": [listener()]}
    steps = [{"update_listeners": {"add": [listener(80)]}, "name": "more"}]
    with running(probe, "process", version, envoy={"xds": xds}, steps=steps) as run:
        assert held(status_of(run.pid)) == {"CAP_NET_BIND_SERVICE"}


@pytest.mark.parametrize(
    "limit, uid",
    [({"uid": 0}, 0), ({"uid": 1337}, 1337), ({"capabilities": ["CAP_NET_RAW"]}, USER)],
    ids=str,
)
def test_scenario_about_privileges_has_those_that_it_names(
    probe: Probe, limit: dict[str, Any], uid: int
) -> None:
    steps = [{"limit": limit, "before": "startup"}]
    with running(probe, "process", "1.40.0", listener(transparent=uid == USER), steps=steps) as run:
        status = status_of(run.pid)
    assert status["Uid"].split() == [str(uid)] * 4
    mine = status_of(os.getpid())
    assert status["CapEff"] == (mine["CapEff"] if uid == 0 else f"{(uid == USER) << 13:016x}")


def test_scenario_may_leave_out_what_confines_envoy(probe: Probe) -> None:
    steps = [{"limit": {"seccomp": "none", "no_new_privs": False}, "before": "startup"}]
    for launcher in ("process", "docker"):
        with running(probe, launcher, "1.40.0", listener(), steps=steps) as run:
            status = status_of(run.pid)
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("0", "0"), launcher
        assert held(status) == set()


def test_strace_and_the_envoy_that_it_traces_are_an_ordinary_user() -> None:
    with running(StraceProbe.load(), "process", "1.40.0", listener(80)) as run:
        envoy = status_of(run.pid)
        tracer = status_of(int(envoy["TracerPid"]))
    for status in (envoy, tracer):
        assert status["Uid"].split() == [str(USER)] * 4
        assert held(status) == {"CAP_NET_BIND_SERVICE"}
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
    assert "strace" in tracer["Name"]


CONNECT = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
except OSError as error:
    sys.exit(type(error).__name__)
"""


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_control_plane_is_for_envoy_s_user_alone(probe: Probe, launcher: Preference) -> None:
    xds = {"via": "ads", "listeners": [listener()]}
    with running(probe, launcher, "1.40.0", envoy={"xds": xds}) as run:
        # Where it is on this machine.
        (path,) = run._launcher.shared_dir().glob("*.sock")
        said = []
        for user in (USER, 65534):
            command = [sys.executable, "-c", CONNECT, str(path), str(user)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            said.append(done.stderr.strip())
    assert said == ["", "PermissionError"]


def test_run_directory_is_for_envoy_s_user_alone(probe: Probe) -> None:
    with running(probe, "process", "1.40.0", listener()) as run:
        found = Path(run._launcher.rundir()).stat()
        assert (found.st_uid, found.st_mode & 0o777) == (USER, 0o700)


def fields_of(lines: Sequence[str]) -> dict[str, str]:
    """What a script printed of its own status."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


ASKED = "grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs):' /proc/self/status"
NOTHING = {
    "Uid": "\t".join([str(USER)] * 4),
    "CapEff": "0" * 16,
    "CapBnd": "0" * 16,
    "NoNewPrivs": "1",
}


def test_executable_that_is_asked_for_its_version_is_an_ordinary_user(
    tmp_path: Path, marker: Path
) -> None:
    script = tmp_path / "envoy"
    script.write_text(f"#!/bin/sh\n{ASKED} >{marker}\necho version: 0/1.40.0/x\n")
    script.chmod(0o755)
    assert binary_version(script, "") == "1.40.0"
    assert fields_of(marker.read_text().splitlines()) == NOTHING


def test_executable_that_validates_a_config_is_an_ordinary_user(tmp_path: Path) -> None:
    script = tmp_path / "envoy"
    script.write_text(f"#!/bin/sh\n{ASKED}\nexit 1\n")
    script.chmod(0o755)
    outcome = validate_config(EnvoySource(binary=str(script)), "{}", preference="process")
    assert outcome.exit_code == 1
    assert fields_of(outcome.log_tail) == NOTHING


@pytest.mark.parametrize("version", VERSIONS)
def test_envoy_validates_as_an_ordinary_user(version: str) -> None:
    outcome = validate_config(EnvoySource(version=version), "{}", preference="process")
    assert outcome.exit_code == 0, outcome.log_tail


def test_config_is_not_validated_by_what_only_root_may_execute(tmp_path: Path) -> None:
    script = tmp_path / "envoy"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o700)
    with pytest.raises(LaunchError, match="envoy cannot be executed: Permission denied"):
        validate_config(EnvoySource(binary=str(script)), "{}", preference="process")
