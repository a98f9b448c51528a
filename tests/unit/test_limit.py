"""Limits of what Envoy may do: how they become a command line, and how descriptors are counted."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from envoyassert.driver.limit import LimitDriver, limit_with_spare
from envoyassert.errors import LaunchError, MachineError
from envoyassert.launch.limits import (
    USER,
    Limits,
    container_options,
    find_agent,
    hand_over,
    has_user,
    in_container,
    limit_files,
    starting_command,
)
from envoyassert.steps.base import StepProblem
from envoyassert.steps.limit import LimitStep
from envoyassert.steps.registry import AnyStep, limits_at_launch

ROOT = os.geteuid() == 0


class Child:
    """A process of this test in Envoy's place."""

    def __init__(self, pid: int) -> None:
        self.pid = pid


@pytest.fixture
def child() -> Iterator[Any]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield Child(process.pid)
        process.kill()


def step(text: dict[str, object]) -> LimitStep:
    parsed = TypeAdapter(AnyStep).validate_python(text)
    assert isinstance(parsed, LimitStep)
    return parsed


def status_under(limits: Limits) -> dict[str, str]:
    """What the kernel says of a process that is started under limits."""
    program = ["cat", "/proc/self/status", "/proc/self/limits"]
    command = starting_command(limits, {"MARK": "here"}, program)
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={})
    pairs = (line.partition(":") for line in done.stdout.splitlines())
    return {name: value.strip() for name, _, value in pairs} | {"text": done.stdout}


@pytest.mark.skipif(not ROOT, reason="only root gives privileges away")
def test_user_keeps_the_capabilities_that_are_named_and_no_other() -> None:
    shown = status_under(Limits(uid=1337, capabilities=("CAP_NET_BIND_SERVICE",)))
    assert shown["Uid"].split() == ["1337"] * 4
    assert shown["Gid"].split() == ["1337"] * 4
    bit = f"{1 << 10:016x}"  # CAP_NET_BIND_SERVICE (linux/capability.h)
    assert [shown[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")] == [bit] * 4


@pytest.mark.skipif(not ROOT, reason="only root gives privileges away")
@pytest.mark.parametrize("uid", [None, 0])
def test_root_without_capabilities_has_none(uid: int | None) -> None:
    assert int(status_under(Limits(uid=uid, capabilities=()))["CapEff"], 16) == 0


def test_limit_of_files_holds_in_the_program_and_its_environment_is_the_given_one() -> None:
    shown = status_under(Limits(nofile=64))
    files = next(line for line in shown["text"].splitlines() if line.startswith("Max open files"))
    assert files.split()[3:5] == ["64", "64"]
    printed = subprocess.run(
        starting_command(Limits(nofile=64), {"MARK": "here"}, ["/usr/bin/env"]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout == "MARK=here\n"


def test_agent_is_limited_too_and_the_environment_is_for_what_it_starts() -> None:
    agent = ["/bin/sh", "-c", 'echo "agent:$MARK:$(ulimit -n)"; "$@"', "agent"]
    printed = subprocess.run(
        starting_command(Limits(nofile=64), {"MARK": "here"}, ["/usr/bin/env"], agent),
        capture_output=True,
        text=True,
        check=True,
        env={},
    )
    assert printed.stdout == "agent::64\nMARK=here\n"


def test_tool_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    with pytest.raises(MachineError, match="setpriv is not installed"):
        starting_command(Limits(uid=1), {}, ["x"])


def test_program_gets_no_further_privileges_unless_the_scenario_says_so() -> None:
    assert status_under(Limits())["NoNewPrivs"] == "1"
    assert status_under(Limits(no_new_privs=False))["NoNewPrivs"] == "0"


@pytest.mark.parametrize(
    "limits, uid, capabilities, port_start",
    [
        (Limits(), USER, ("CAP_NET_RAW",), None),
        (Limits(nofile=9, port_start=80), USER, ("CAP_NET_RAW",), 80),
        (Limits(capabilities=()), USER, (), 1024),
        (Limits(capabilities=("CAP_CHOWN",)), USER, ("CAP_CHOWN",), 1024),
        (Limits(uid=1337), 1337, (), 1024),
        (Limits(uid=1337, capabilities=("CAP_CHOWN",)), 1337, ("CAP_CHOWN",), 1024),
        (Limits(uid=0), 0, None, 1024),
        (Limits(uid=0, port_start=0), 0, None, 0),
        (Limits(uid=0, capabilities=()), 0, (), 1024),
    ],
    ids=str,
)
def test_what_the_scenario_does_not_say_is_an_ordinary_user_with_what_its_sockets_need(
    limits: Limits,
    uid: int,
    capabilities: tuple[str, ...] | None,
    port_start: int | None,
) -> None:
    full = limits.in_full(["CAP_NET_RAW"], USER)
    assert (full.uid, full.capabilities, full.port_start) == (uid, capabilities, port_start)
    assert full.nofile == limits.nofile


def test_user_namespace_without_other_users_has_no_ordinary_one() -> None:
    assert has_user("         0          0 4294967295\n", USER)
    assert has_user("0 1000 1\n1 100000 65536\n", USER)
    assert not has_user("0 1000 1\n", USER)
    assert Limits().in_full((), None).uid is None


@pytest.mark.skipif(not ROOT, reason="only root gives privileges away")
@pytest.mark.parametrize(
    ("dropped", "lacks"),
    [(("setuid", "setgid"), "CAP_SETGID, CAP_SETUID"), (("kill",), "CAP_KILL")],
)
def test_process_that_may_not_change_users_says_what_it_lacks(
    dropped: tuple[str, ...], lacks: str
) -> None:
    program = "from envoyassert.launch.limits import ordinary_user; ordinary_user()"
    names = ",".join(f"-{name}" for name in dropped)
    without = ["setpriv", f"--bounding-set={names}", f"--inh-caps={names}"]
    done = subprocess.run(
        [*without, sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert f"as an ordinary user: it lacks {lacks}\n" in done.stderr


@pytest.mark.skipif(not ROOT, reason="only root gives privileges away")
def test_running_process_of_another_user_is_limited() -> None:
    with subprocess.Popen(["setpriv", "--reuid", str(USER), "sleep", "60"]) as process:
        try:
            status = Path(f"/proc/{process.pid}/status")
            while f"Uid:\t{USER}" not in status.read_text("utf-8"):
                os.sched_yield()
            limit_files(process.pid, 40)
            limits = Path(f"/proc/{process.pid}/limits").read_text("ascii")
        finally:
            process.kill()
    files = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert files.split()[3] == "40"
    assert files.split()[4] != "40"


def test_container_has_user_and_limits_but_no_capabilities_for_a_user() -> None:
    full = in_container(Limits(nofile=64, uid=1337), (), None)
    options = container_options(full)
    assert options["user"] == "1337:1337"
    assert (options["cap_drop"], options["cap_add"]) == (["ALL"], [])
    assert options["ulimits"][0]["Hard"] == 64
    # An engine would lower it; the same scenario means the same in both launchers.
    assert options["sysctls"] == {"net.ipv4.ip_unprivileged_port_start": "1024"}
    assert container_options(in_container(Limits(uid=0), (), None)) == {
        "user": "0:0",
        "sysctls": {"net.ipv4.ip_unprivileged_port_start": "1024"},
        "security_opt": ["no-new-privileges"],
    }
    with pytest.raises(LaunchError, match="root alone"):
        container_options(Limits(uid=1337, capabilities=("CAP_CHOWN",)))


@pytest.mark.parametrize(
    "needed, image_user, user, capabilities, port_start",
    [
        ((), None, f"{USER}:{USER}", [], None),
        ((), 101, "101:101", [], None),
        (("CAP_NET_BIND_SERVICE",), None, f"{USER}:{USER}", [], "0"),
        (("CAP_NET_RAW",), 101, "0:0", ["NET_RAW"], None),
        (("CAP_SYS_ADMIN",), None, f"{USER}:{USER}", [], None),
    ],
)
def test_container_has_an_ordinary_user_or_root_with_what_its_sockets_need(
    needed: tuple[str, ...],
    image_user: int | None,
    user: str,
    capabilities: list[str],
    port_start: str | None,
) -> None:
    options = container_options(in_container(Limits(), needed, image_user))
    assert (options["user"], options["cap_add"]) == (user, capabilities)
    assert options["cap_drop"] == ["ALL"]
    assert options["security_opt"] == ["no-new-privileges"]
    assert options.get("sysctls", {}).get("net.ipv4.ip_unprivileged_port_start") == port_start


def test_directory_that_the_user_cannot_enter_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "run").mkdir(parents=True)
    closed.chmod(0o700)
    with pytest.raises(MachineError, match="may not enter"):
        hand_over(closed / "run", os.getuid())


@pytest.mark.parametrize(
    "numbers, spare, wanted",
    [([0, 1, 2], 0, 3), ([0, 1, 2], 2, 5), ([0, 1, 4], 1, 3), ([0, 1, 4], 2, 5), ([0, 9], 8, 10)],
)
def test_limit_leaves_so_many_descriptors_free(numbers: list[int], spare: int, wanted: int) -> None:
    assert limit_with_spare(numbers, spare) == wanted
    assert wanted - len([number for number in numbers if number < wanted]) == spare


def test_running_process_is_limited(child: Any) -> None:
    LimitDriver(child).carry_out(step({"limit": {"nofile": 77}}), 1)
    assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE)[0] == 77
    LimitDriver(child).carry_out(step({"limit": {"spare_files": 1}}), 1)
    assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE)[0] < 77


def test_process_that_has_ended_cannot_be_limited() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    ended: Any = Child(process.pid)
    with pytest.raises(StepProblem, match="cannot be limited"):
        LimitDriver(ended).carry_out(step({"limit": {"nofile": 77}}), 1)


def test_limits_before_the_start_are_those_of_all_such_steps() -> None:
    steps = [
        step({"limit": {"nofile": 64, "uid": 1}, "before": "startup"}),
        step({"limit": {"uid": 2, "capabilities": []}, "before": "startup"}),
        step({"limit": {"nofile": 32}}),
    ]
    assert Limits(**limits_at_launch(steps)) == Limits(nofile=64, uid=2, capabilities=())
    assert Limits(**limits_at_launch(steps[2:])) == Limits()


@pytest.mark.parametrize(
    "text, complaint",
    [
        ({"limit": {"uid": 1}}, "before Envoy starts"),
        ({"limit": {"spare_files": 1}, "before": "startup"}, "running Envoy"),
        ({"limit": {"nofile": 9, "spare_files": 1}}, "either nofile or spare_files"),
        ({"limit": {"nofile": 9}, "before": "startup", "load": {}}, "load"),
        ({"limit": {}}, "give one of"),
    ],
)
def test_limit_that_cannot_be_is_refused(text: dict[str, object], complaint: str) -> None:
    if "load" in text:
        text["load"] = {"listener": {"port": 1}, "send": "x"}
    with pytest.raises(ValidationError, match=complaint):
        step(text)


@pytest.mark.parametrize(
    ("name", "path"),
    [("absent", "/usr/bin:/bin"), ("/nowhere/agent", ""), ("./plain", ""), ("sh", "/nowhere")],
)
def test_agent_that_is_not_there_is_called_so(tmp_path: Path, name: str, path: str) -> None:
    (tmp_path / "plain").touch(0o644)
    with pytest.raises(LaunchError, match=f"the agent {name} cannot be executed"):
        find_agent(name, {"PATH": path} if path else {}, str(tmp_path))


def test_agent_is_found_by_its_name_or_its_path(tmp_path: Path) -> None:
    (tmp_path / "own").touch(0o755)
    for name in ("sh", "/bin/sh", "./own"):
        find_agent(name, {}, str(tmp_path))
