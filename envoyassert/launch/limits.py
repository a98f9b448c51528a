"""What an Envoy may do, set before it is started, and who starts it.

A local process is started by prlimit(1) and setpriv(1), each of which becomes the next program: the
process that Envoy is in the end is the one that was started, or a child of its agent. The last of
them is env(1), which alone gives Envoy its environment, so that the mark in it is never on one of
the others.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envoyassert.errors import LaunchError, MachineError
from envoyassert.launch.programs import find_program

#: net.ipv4.ip_unprivileged_port_start of a new network namespace.
_PORT_START = 1024
_SYSCTL = "net.ipv4.ip_unprivileged_port_start"


@dataclass(frozen=True)
class Limits:
    """What an Envoy may do.

    Args:
        nofile: RLIMIT_NOFILE, soft and hard; None for what this process has.
        uid: user and group; None for those of the launcher.
        capabilities: all capabilities that it has, `CAP_…`; None for what goes with its user.
        port_start: the first port that needs no capability; None for the launcher's default.
    """

    nofile: int | None = None
    uid: int | None = None
    capabilities: tuple[str, ...] | None = None
    port_start: int | None = None

    @property
    def privileges(self) -> bool:
        """Whether user or capabilities are set."""
        return self.uid is not None or self.capabilities is not None

    @property
    def first_free_port(self) -> int | None:
        """The first port that needs no capability; None for the launcher's default."""
        if self.port_start is None and self.privileges:
            return _PORT_START
        return self.port_start


def starting_command(
    limits: Limits, env: Mapping[str, str], command: list[str], agent: Sequence[str] = ()
) -> list[str]:
    """Return the command line that starts a command under limits; its own environment is empty.

    Args:
        limits: what it may do.
        env: its environment, in this order.
        command: path of the program, and its arguments.
        agent: a program and its arguments that starts the command behind them, under the same
            limits.

    Raises:
        MachineError: a tool that is needed is not installed.
    """
    words: list[str] = []
    if limits.nofile is not None:
        words += [_tool("prlimit"), f"--nofile={limits.nofile}:{limits.nofile}"]
    if limits.privileges:
        words.append(_tool("setpriv"))
    if limits.uid is not None:
        user = str(limits.uid)
        words += ["--reuid", user, "--regid", user, "--clear-groups"]
    if limits.capabilities is not None:
        kept = ",".join(
            ["-all", *(f"+{name[4:].lower()}" for name in limits.capabilities)]  # CAP_CHOWN: chown
        )
        words += [f"--inh-caps={kept}", f"--bounding-set={kept}"]
        # Root gets what is in the bounding set; for others only ambient ones survive exec.
        words += [f"--ambient-caps={kept}"] if limits.uid else []
    marks = (f"{name}={value}" for name, value in env.items())
    return [*words, *agent, _tool("env"), "-i", *marks, *command]


def container_options(limits: Limits) -> dict[str, Any]:
    """Return the same as options of docker-py's `containers.create`.

    Raises:
        LaunchError: a container cannot have it.
    """
    options: dict[str, Any] = {}
    if limits.nofile is not None:
        from docker.types import Ulimit

        options["ulimits"] = [Ulimit(name="nofile", soft=limits.nofile, hard=limits.nofile)]
    if limits.uid is not None:
        options["user"] = f"{limits.uid}:{limits.uid}"
    if limits.capabilities is not None:
        if limits.uid and limits.capabilities:
            raise LaunchError(
                "a container engine gives capabilities to root alone",
                "add `requires: {launcher: process}` to the scenario",
            )
        options["cap_drop"] = ["ALL"]
        options["cap_add"] = [name.removeprefix("CAP_") for name in limits.capabilities]
    if limits.first_free_port is not None:
        options["sysctls"] = {_SYSCTL: str(limits.first_free_port)}
    return options


def free_ports_from(first: int) -> None:
    """Set the first port that needs no capability in the calling thread's network namespace.

    Raises:
        OSError: not permitted.
    """
    Path("/proc/sys", *_SYSCTL.split(".")).write_text(str(first), "ascii")


def hand_over(directory: Path, uid: int) -> None:
    """Give a directory and all in it to a user.

    Raises:
        MachineError: the user cannot get at it.
    """
    closed = [parent for parent in directory.parents if not parent.stat().st_mode & 0o001]
    if closed:
        raise MachineError(
            f"the user {uid} may not enter {closed[-1]}", "set TMPDIR to a directory for everybody"
        )
    # By descriptors, as the user may have been given it before and rename what is in it.
    for _, _, files, descriptor in os.fwalk(directory):
        os.fchown(descriptor, uid, uid)
        for name in files:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            # A second name may be one outside.
            if found.st_nlink == 1:
                os.chown(name, uid, uid, dir_fd=descriptor, follow_symlinks=False)


def _tool(name: str) -> str:
    found = find_program(name)
    if found is None:
        raise MachineError(
            f"{name} is not installed, which the step `limit` and `envoy.agent` need",
            "install util-linux and coreutils (apt-get install util-linux)",
        )
    return found


def find_agent(name: str, environment: Mapping[str, str], directory: str) -> None:
    """Look for the program that is to start Envoy.

    Args:
        name: its name, or its path.
        environment: its own, on whose PATH a name is looked for.
        directory: where it is started: a relative path begins there.

    Raises:
        LaunchError: it is not there, or may not be executed.
    """
    named = os.path.join(directory, name) if "/" in name else name  # noqa: PTH118
    if shutil.which(named, path=environment.get("PATH", os.defpath)) is None:
        raise LaunchError(
            f"the agent {name} cannot be executed: there is no such program",
            "name one in `envoy.agent`, by its path or on the PATH of `envoy.env`",
        )
