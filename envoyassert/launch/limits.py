"""What an Envoy may do, set before it is started, and who starts it.

Without a word of the scenario's, it is an ordinary user, has the capabilities that its sockets
need, and gets no others by what it executes (no_new_privs).

A local process is started by prlimit(1) and setpriv(1), each of which becomes the next program: the
process that Envoy is in the end is the one that was started, or a child of its agent. The last of
them is env(1), which alone gives Envoy its environment, so that the mark in it is never on one of
the others.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from envoyassert.errors import LaunchError, MachineError
from envoyassert.frozen import frozen
from envoyassert.launch.programs import find_program, run_program

#: net.ipv4.ip_unprivileged_port_start of a new network namespace.
_PORT_START = 1024
_SYSCTL = "net.ipv4.ip_unprivileged_port_start"
_BIND = "CAP_NET_BIND_SERVICE"
#: How long a tool may take.
_TOOL_S = 10.0
#: The user, and group, that Envoy is by default. No distribution gives this number to an account
#: (systemd.io/UIDS-GIDS), and it is one of the 65,536 that a container usually has.
USER = 61000
#: linux/capability.h: what it takes to make another user of a process, to end one, and to give
#: files away.
_NEEDED_HERE = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8}


@frozen
class Limits:
    """What an Envoy may do.

    Args:
        nofile: RLIMIT_NOFILE, soft and hard; None for what this process has.
        uid: user and group; None for an ordinary user.
        capabilities: all capabilities that it has, `CAP_…`; None for all of the launcher's if it
            is root by `uid`, none if it is another user by `uid`, else for what its sockets need.
        port_start: the first port that needs no capability; None for 1024 with `uid` or
            `capabilities`, else for the launcher's default.
        no_new_privs: whether what it executes gives it no further privileges.
        seccomp: whether its calls are filtered as Docker does by default.
    """

    nofile: int | None = None
    uid: int | None = None
    capabilities: tuple[str, ...] | None = None
    port_start: int | None = None
    no_new_privs: bool = True
    seccomp: bool = True

    def in_full(self, needed: Sequence[str], user: int | None) -> Limits:
        """Return the same with all said that is left to a default.

        Args:
            needed: capabilities that its sockets need.
            user: the ordinary user; None for that of this process.
        """
        uid, capabilities, start = self.uid, self.capabilities, self.port_start
        if start is None and (uid is not None or capabilities is not None):
            start = _PORT_START
        if capabilities is None and uid != 0:
            capabilities = tuple(needed) if uid is None else ()
        return replace(
            self,
            uid=user if uid is None else uid,
            capabilities=capabilities,
            port_start=start,
        )


def ordinary_user() -> int | None:
    """Return the user that Envoy is by default; None for that of this process.

    In a user namespace that has no other users, root of it is an ordinary user outside.

    Raises:
        MachineError: this process may not start anything as another user.
    """
    if not has_user(Path("/proc/self/uid_map").read_text("ascii"), USER):
        return None
    status = Path("/proc/thread-self/status").read_text("utf-8", "replace")
    held = int(next(line for line in status.splitlines() if line.startswith("CapEff:"))[7:], 16)
    missing = [name for name, bit in _NEEDED_HERE.items() if not held >> bit & 1]
    if missing:
        raise MachineError(
            f"this process may not start Envoy as an ordinary user: it lacks {', '.join(missing)}",
            "run with these capabilities",
        )
    return USER


def has_user(uid_map: str, uid: int) -> bool:
    """Whether a user namespace has a user, by its uid_map (user_namespaces(7))."""
    spans = (map(int, line.split()) for line in uid_map.splitlines())
    return any(first <= uid < first + count for first, _, count in spans)


def starting_command(
    limits: Limits, env: Mapping[str, str], command: list[str], agent: Sequence[str] = ()
) -> list[str]:
    """Return the command line that starts a command under limits; its own environment is empty.

    Args:
        limits: what it may do, in full.
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
    rights = ["--no-new-privs"] if limits.no_new_privs else []
    if limits.uid is not None:
        user = str(limits.uid)
        rights += ["--reuid", user, "--regid", user, "--clear-groups"]
    if limits.capabilities is not None:
        kept = ",".join(
            ["-all", *(f"+{name[4:].lower()}" for name in limits.capabilities)]  # CAP_CHOWN: chown
        )
        rights += [f"--inh-caps={kept}", f"--bounding-set={kept}"]
        # Root gets what is in the bounding set; for others only ambient ones survive exec.
        rights += [f"--ambient-caps={kept}"] if limits.uid else []
    if rights:
        words += [_tool("setpriv"), *rights]
    marks = (f"{name}={value}" for name, value in env.items())
    return [*words, *agent, _tool("env"), "-i", *marks, *command]


def in_container(limits: Limits, needed: Sequence[str], user: int | None) -> Limits:
    """Return what an Envoy in a container may do, with all said that is left to a default.

    An engine gives capabilities to root alone, so one that needs any is root with these; for ports
    none is needed, as the engine lets everybody bind them. What would reach beyond the container is
    not given.

    Args:
        limits: what the scenario says.
        needed: capabilities that its sockets need.
        user: the image's own ordinary user, None if it has none.
    """
    own = [name for name in needed if name in ("CAP_NET_ADMIN", "CAP_NET_RAW")]
    full = limits.in_full(own, user or USER)
    if limits.uid is None and full.capabilities:
        full = replace(full, uid=0)
    return replace(full, port_start=0) if _BIND in needed and full.port_start is None else full


def container_options(limits: Limits) -> dict[str, Any]:
    """Return the same as options of docker-py's `containers.create`.

    Args:
        limits: what it may do, in full.

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
    if limits.port_start is not None:
        options["sysctls"] = {_SYSCTL: str(limits.port_start)}
    if limits.no_new_privs:
        options["security_opt"] = ["no-new-privileges"]
    if not limits.seccomp:
        options["security_opt"] = [*options.get("security_opt", ()), "seccomp=unconfined"]
    return options


def limit_files(pid: int, soft: int) -> None:
    """Set RLIMIT_NOFILE of a process, which may be another user's; what it may raise it to stays.

    Without CAP_SYS_RESOURCE only its own user may (prlimit(2)), so it is done as that user.

    Args:
        pid: the process.
        soft: the limit.

    Raises:
        OSError: not permitted, or the process has ended.
        MachineError: a tool that is needed is not installed.
    """
    text = Path(f"/proc/{pid}/limits").read_text("ascii")
    found = next(line for line in text.splitlines() if line.startswith("Max open files"))
    hard = found.split()[4]
    if hard != "unlimited":
        hard = str(max(int(hard), soft))
    limit = [_tool("prlimit"), "--pid", str(pid), f"--nofile={soft}:{hard}"]
    owner = Path(f"/proc/{pid}").stat()
    if owner.st_uid != os.geteuid():
        rights = ["--reuid", str(owner.st_uid), "--regid", str(owner.st_gid), "--clear-groups"]
        limit = [_tool("setpriv"), *rights, *limit]
    done = run_program(limit, _TOOL_S)
    if done.returncode:
        raise PermissionError(errno.EPERM, done.stderr.strip())


def free_ports_from(first: int) -> None:
    """Set the first port that needs no capability in the calling thread's network namespace.

    Raises:
        OSError: not permitted.
    """
    Path("/proc/sys", *_SYSCTL.split(".")).write_text(str(first), "ascii")


def closed_above(path: Path) -> list[Path]:
    """Return which directories on the way to a path not every user may enter."""
    return [parent for parent in path.parents if not parent.stat().st_mode & 0o001]


def hand_over(directory: Path, uid: int) -> None:
    """Give a directory and all in it to a user.

    Raises:
        MachineError: the user cannot get at it.
    """
    closed = closed_above(directory)
    if closed:
        raise MachineError(
            f"the user {uid} may not enter {closed[-1]}", "set TMPDIR to a directory for everybody"
        )
    give(directory, uid)


def give(directory: Path, uid: int) -> None:
    """Give a directory and all in it to a user, wherever it is."""
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
            f"{name} is not installed, which Envoy is started with",
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
    named = os.path.join(directory, name) if "/" in name else name  # noqa: PTH118 - keeps `./`
    if shutil.which(named, path=environment.get("PATH", os.defpath)) is None:
        raise LaunchError(
            f"the agent {name} cannot be executed: there is no such program",
            "name one in `envoy.agent`, by its path or on the PATH of `envoy.env`",
        )
