"""An Envoy that was not started by envoyassert: it is looked at, asked, and left alone."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from envoyassert.addresses import Address
from envoyassert.attach.place import inner_pid, where_is
from envoyassert.clock import monotonic_ns
from envoyassert.errors import MachineError, ScenarioError
from envoyassert.events import Event
from envoyassert.launch.admin import AdminUnreachableError
from envoyassert.launch.base import STOP_DEADLINE_S, Exit, LaunchSpec
from envoyassert.launch.elf import read_build_id
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.inside import proc_root, read_inside
from envoyassert.launch.kernel import wait_readable
from envoyassert.launch.namespace import NamespaceThread, in_netns_of, joined_namespace
from envoyassert.launch.running import NamespacedEnvoy
from envoyassert.launch.version import recall, reported_version
from envoyassert.live.arguments import EnvoyArguments, envoy_arguments_of, with_config_yaml
from envoyassert.live.place import ProcessPlace
from envoyassert.predict.deciding import deciding_config, discovered_at_start
from envoyassert.probe import Watch
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import (
    admin_address,
    configured_listeners,
    discovers_listeners,
    proto_field,
    with_lists,
)
from envoyassert.trace import UNKNOWN_STATUS, EnvoyIdentity, ListenerRecord

T = TypeVar("T")

#: How long the record of a process's end may take after the process is gone.
_END_S = 2.0
_PAUSE_S = 0.01


class AttachedEnvoy(NamespacedEnvoy):
    """One foreign Envoy; see `RunningEnvoy` for the methods.

    Args:
        arm: what records it.
        pid: the process that is recorded, as seen from here: Envoy, or what starts it.
        began_ns: CLOCK_MONOTONIC nanoseconds of its exec, or before it.
        place: where it lives; None if that is not known.
    """

    def __init__(
        self, arm: Watch, pid: int, began_ns: int, place: ProcessPlace | None = None
    ) -> None:
        spec = LaunchSpec(EnvoySource(binary=f"/proc/{pid}/exe"), "")
        super().__init__(spec, "", "")
        self._started_s = time.monotonic() - (monotonic_ns() - began_ns) / 1e9
        self._arm = arm
        self._pid = pid
        self.began_ns = began_ns
        self.place = place
        self.inner_pids: dict[str, int] = {}
        self.arguments = EnvoyArguments()
        self.filename = ""
        self.listeners: tuple[ListenerRecord, ...] = ()
        self.config: dict[str, Any] | None = None
        self.note = ""
        self._netns_inode = 0
        self.discovers = True
        self._executable = -1
        self._build_id = ""
        self._exit: Exit | None = None
        self._netns: NamespaceThread | None = None
        self._pidfd = -1
        # It may have ended already: its end is in the records.
        with contextlib.suppress(OSError):
            self._pidfd = os.pidfd_open(pid)

    def learn(self, executed: Event) -> None:
        """Read of Envoy what can be read only while it lives: its executable and its config.

        Args:
            executed: the exec by which it became Envoy.
        """
        pid = executed.pid
        self._envoy_pid = pid
        self.place = self.place or where_is(pid)
        inside = inner_pid(pid)
        if inside != pid:
            self.inner_pids[str(pid)] = inside
        self.filename = str(executed.args["filename"] or "")
        self.arguments = envoy_arguments_of(_whole_argv(pid) or executed.args["argv"])
        if self._executable >= 0:
            os.close(self._executable)  # of what had been taken for it before
        self._executable, self._build_id = -1, ""
        with contextlib.suppress(OSError):
            self._executable = os.open(f"/proc/{pid}/exe", os.O_RDONLY | os.O_CLOEXEC)
            self._build_id = read_build_id(self.executable)
        found = config_of(pid, self.arguments)
        with contextlib.suppress(OSError):
            self._netns_inode = Path(f"/proc/{pid}/ns/net").stat().st_ino
        self.note = found.note
        self.discovers = not found.config or discovers_listeners(found.config)
        self.listeners = configured_listeners(found.config, found.files)
        theirs = discovered_at_start(found.config, found.files)
        self.config = deciding_config(found.config, theirs) if found.config else None
        self._spec = dataclasses.replace(self._spec, admin=admin_address(found.config))
        self._admin_file = self.arguments.admin_address_path
        with contextlib.suppress(OSError):
            self._rundir = str(Path(f"/proc/{pid}/cwd").readlink())

    def hands_over_to(self, other: AttachedEnvoy) -> bool:
        """Whether another Envoy is a later epoch of this one's hot restart.

        They meet in their network namespace by the base id (Envoy, hot_restarting_base.cc), which
        an Envoy may have chosen by itself.
        """
        own, later = self.arguments, other.arguments
        return (
            later.restart_epoch > own.restart_epoch
            and own.base_id in (None, later.base_id)
            and self._netns_inode == other._netns_inode != 0
        )

    @property
    def admin(self) -> Address | None:
        """The address of its admin endpoint by its config; None if it has none."""
        return self._spec.admin

    @property
    def started_s(self) -> float:
        """time.monotonic() at its exec."""
        return self._started_s

    @property
    def started_pid(self) -> int:
        """The process that is recorded, as seen from here."""
        return self._pid

    @property
    def executable(self) -> str:
        """Its executable, which stays open here; "" if it could not be opened."""
        return "" if self._executable < 0 else f"/proc/self/fd/{self._executable}"

    @property
    def identity(self) -> EnvoyIdentity:
        """Which Envoy it is; nothing of it is executed to learn that."""
        return EnvoyIdentity(self._version(), self._build_id, f"process {self.filename}")

    def _version(self) -> str:
        if not self._build_id:
            return ""
        known = recall(f"{self._build_id}-{os.fstat(self._executable).st_size}")
        return known or self._version_by_admin()

    def _version_by_admin(self) -> str:
        """Ask Envoy itself; once the trace is taken, for the question is recorded too."""
        try:
            status, body = self.admin_get("/server_info")
        except (AdminUnreachableError, ProcessLookupError):
            return ""
        return reported_version(body) if status == 200 else ""

    def in_netns(self, call: Callable[[], T], netns: str = "") -> T:
        """Run `call` inside its network namespace; return what it returns.

        Args:
            call: what to run.
            netns: another network namespace, by the file that Envoy enters it by.

        Raises:
            ProcessLookupError: it ended before its namespace was entered.
            PermissionError: this process may not enter it.
        """
        if netns:
            return in_netns_of(self.pid, netns, call)
        if self._netns is None:
            with contextlib.suppress(OSError):
                own = Path("/proc/self/ns/net").stat().st_ino
                if Path(f"/proc/{self.pid}/ns/net").stat().st_ino == own:
                    return call()
            try:
                self._netns = joined_namespace(self.pid, "envoyassert-attached")
            except MachineError as error:  # what is asked there says why it has no answer
                raise PermissionError(error.message) from error
        return self._netns.call(call)

    def exited(self, timeout_s: float = 0.0) -> Exit | None:
        """Wait up to `timeout_s` for the process to end; return how, or None if it runs.

        It is no child of this process, so how it ended is read from its trace.
        """
        if self._exit is not None:
            return self._exit
        if self._pidfd >= 0 and not wait_readable(self._pidfd, timeout_s):
            return None
        end_s = time.monotonic() + _END_S
        while self._exit is None:
            self._arm.drain(_END_S)
            self._exit = _end_among(self._arm.snapshot().events, self._pid)
            if self._exit is None and time.monotonic() >= end_s:
                self._exit = Exit(UNKNOWN_STATUS, None)
            elif self._exit is None:
                time.sleep(_PAUSE_S)
        return self._exit

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> Exit:
        """Leave it alone: let go of what is held of it, and return how it ended, if it has."""
        self.close()
        return self._exit or Exit(None, None)

    def close(self) -> None:
        """Let go of what is held of it. May be repeated."""
        if self._netns is not None:
            self._netns.close()
        for descriptor in (self._pidfd, self._executable):
            if descriptor >= 0:
                os.close(descriptor)
        self._pidfd = self._executable = -1

    def log(self) -> str:
        """Return nothing: what it prints goes where it was started to print."""
        return ""


def _whole_argv(pid: int) -> list[str]:
    """Return the words of a command line; [] of a process that has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []
    return [word.decode("utf-8", "surrogateescape") for word in words]


def _end_among(events: list[Event], pid: int) -> Exit | None:
    signal = next((e.args["number"] for e in events if e.call == "signal" and e.pid == pid), None)
    for event in events:
        if event.call == "exit" and event.pid == pid and event.args["last"]:
            status = event.args["status"]
            if signal is not None:
                return Exit(None, signal)
            return Exit(UNKNOWN_STATUS if status is None else status, None)
    return None


#: More of a file is not read; a bootstrap of this size would be written by a machine.
_LARGEST = 16 << 20


@dataclass(frozen=True)
class FoundConfig:
    """What was found.

    Args:
        config: the bootstrap; {} if it could not be read.
        files: what the file of LDS holds, by its name.
        note: why the config is not known, "" if it is.
    """

    config: Any = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    note: str = ""


def config_of(pid: int, arguments: EnvoyArguments) -> FoundConfig:
    """Return the config that a process was started with, as far as it can be read now.

    Args:
        pid: the process, as seen from here.
        arguments: what its command line says.
    """
    config: Any = {}
    note = ""
    try:
        if arguments.config_path:
            config = _parsed(_read(pid, arguments.config_path), arguments.config_path)
        if arguments.config_yaml:
            config = with_config_yaml(config, _parsed(arguments.config_yaml, "config.yaml"))
        if not isinstance(config, dict):
            config, note = {}, "its config is no mapping"
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        if _has_ended(pid):
            reason = "is not known: Envoy ended before it could be read"
        config, note = {}, f"its config {arguments.config_path} {reason}"
    except (ScenarioError, ValueError) as error:
        first = str(error).partition("\n")[0]
        config, note = {}, f"its config cannot be read: {first}"
    config = with_lists(config)
    return FoundConfig(config, _files(pid, config), note)


def _has_ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie: that has no root directory any more."""
    try:
        Path(proc_root(pid)).stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _parsed(text: str, path: str) -> Any:
    found = parse_envoy_file(text, path).data
    return {} if found is None else found


def _files(pid: int, config: Any) -> dict[str, str]:
    """Return the file that listeners come from, if it is one and there by now."""
    source = proto_field(proto_field(config, "dynamic_resources"), "lds_config")
    watched = proto_field(proto_field(source, "path_config_source"), "path")
    path = watched or proto_field(source, "path")
    if not isinstance(path, str) or not path:
        return {}
    try:
        return {path: _read(pid, path)}
    except (OSError, ValueError):
        return {}


def _read(pid: int, path: str) -> str:
    content = read_inside(proc_root(pid, path), path, _LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"{path} is larger than {_LARGEST >> 20} MiB")
    return content.decode("utf-8")
