"""Envoy as a local process, in network and mount namespaces of its own.

If this process is killed, Envoy dies with it (`lifeline`). Envoy itself sets PR_SET_PDEATHSIG to
SIGTERM, with hot restart only. As that signal is sent when the *thread* that forked ends, Envoy is
forked by a thread that outlives it: one in its namespaces, with the filter of its calls.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from envoyassert.errors import MachineError
from envoyassert.interrupts import interrupts_held
from envoyassert.launch import release
from envoyassert.launch.asked import check_format, not_executable
from envoyassert.launch.base import STOP_DEADLINE_S, Exit, LaunchSpec
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.executable import find_executable, load_into_page_cache
from envoyassert.launch.inside import make_directories, open_regular
from envoyassert.launch.kept_log import kept_log
from envoyassert.launch.kernel import open_tracer, wait_readable
from envoyassert.launch.namespace import NamespaceThread, add_network_namespace, new_namespace
from envoyassert.launch.own_network import give_addresses, nsswitch_in
from envoyassert.launch.processes import MARK, end_marked
from envoyassert.launch.release import Lifeline
from envoyassert.launch.rundir import (
    LOGS,
    NETNS,
    create_rundir,
    remove_rundir,
    write_files,
)
from envoyassert.launch.running import NamespacedEnvoy, command_line
from envoyassert.launch.starters import Starters
from envoyassert.scenario.xds import DIRECTORY
from envoyassert.trace import EnvoyIdentity, Outcome

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

#: What a start may fail of that is no fault of the executable.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
#: env(1), setpriv(1): what they end with if they cannot execute what they are given, and say.
_NOT_EXECUTED = (126, 127)
_OF_TOOLS = re.compile(r"\A\S*/(?:env|setpriv|prlimit): (?:.*: )?(?P<reason>.*)\n\Z")
_LOG_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND


class ProcessLauncher:
    """Starts Envoys that share one network namespace, one /dev/shm and one run directory."""

    name = "process"

    def __init__(self) -> None:
        self._directory: Path | None = None
        self._namespace: NamespaceThread | None = None
        self._namespaces: set[str] = set()
        self._marks: set[str] = set()
        self._running: list[ProcessEnvoy] = []
        self._prepared: dict[EnvoySource, tuple[Path, EnvoyIdentity]] = {}
        self._starters = Starters()
        release.register(self)

    def rundir(self) -> str:
        """Return the run directory; it is made now if there is none.

        Raises:
            MachineError: it cannot be made.
        """
        if self._directory is None:
            self._directory = create_rundir()
        return str(self._directory)

    def shared_dir(self) -> Path:
        """Return a directory that both this process and Envoy see: part of the run directory."""
        directory = Path(self.rundir()) / DIRECTORY
        directory.mkdir(exist_ok=True)
        return directory

    def prepare(self, source: EnvoySource) -> EnvoyIdentity:
        """Have the executable, the run directory and the namespaces ready.

        Raises:
            EnvoyUnavailableError: this Envoy is unavailable as an executable.
            MachineError: namespaces or the run directory cannot be made.
        """
        directory = Path(self.rundir())
        if self._namespace is None:
            self._namespace = new_namespace("envoyassert-netns", nsswitch_in(directory))
        return self._executable(source)[1]

    def _add_namespaces(self, wanted: Mapping[str, Sequence[str]], directory: Path) -> None:
        assert self._namespace is not None
        for name, addresses in wanted.items():
            if name in self._namespaces:
                continue
            try:
                add_network_namespace(
                    self._namespace,
                    directory,
                    f"{NETNS}/{name}",
                    partial(give_addresses, addresses),
                )
            except OSError as error:
                raise MachineError(
                    f"the network namespace {name} cannot be made: {error.strerror}",
                    "run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN",
                ) from error
            self._namespaces.add(name)

    def give(self, addresses: Sequence[str]) -> None:
        """Give addresses to the network namespace of all Envoys of this launcher, once prepared.

        Raises:
            MachineError: one cannot be given.
        """
        if addresses:
            self.in_netns(lambda: give_addresses(addresses))

    def in_netns(self, call: Callable[[], T]) -> T:
        """Run `call` in the network namespace of all Envoys of this launcher, once prepared."""
        assert self._namespace is not None
        return self._namespace.call(call)

    def start(self, spec: LaunchSpec) -> ProcessEnvoy:
        """Start one Envoy.

        Raises:
            EnvoyUnavailableError: this Envoy is unavailable as an executable.
            MachineError: namespaces or files cannot be made.
            LaunchError: the executable cannot be executed.
        """
        self.prepare(spec.source)
        given = [*(f"{name}={value}" for name, value in spec.env.items()), *spec.tracer]
        self._marks |= {mark for mark in given if mark.startswith(f"{MARK}=")}
        binary, identity = self._executable(spec.source)
        directory = Path(self.rundir())
        number = f"-{len(self._running)}" if self._running else ""
        config = f"envoy{number}.yaml"
        write_files(directory, {**spec.files, config: spec.config_yaml})
        admin_file = str(directory / f"admin{number}.address")
        arguments = command_line(spec, str(directory / config), admin_file)
        assert self._namespace is not None
        self._add_namespaces(spec.netns, directory)
        try:
            make_directories(directory, LOGS)
            log = open_regular(directory, f"{LOGS}/envoy{number}.log", _LOG_FLAGS)
            check_format(binary)
            with contextlib.ExitStack() as undo:
                undo.callback(os.close, log)
                command, starter = self._starters.prepared(
                    spec, binary, arguments, directory, self._namespace
                )
                envoy = ProcessEnvoy(
                    *(spec, command, binary, identity, directory, log, admin_file),
                    *(self._namespace, starter),
                )
                undo.pop_all()
        except OSError as error:
            raise MachineError(
                f"Envoy cannot be started: {error.strerror or error}",
                "raise the limit of open files (ulimit -n 1024)"
                if error.errno in (errno.EMFILE, errno.ENFILE)
                else "free some space, memory or processes, or set TMPDIR to another directory",
            ) from error
        self._running.append(envoy)
        return envoy

    def close(self) -> None:
        """Stop every Envoy, leave the namespaces, remove the run directory."""
        with contextlib.ExitStack() as stack:
            stack.callback(release.unregister, self)
            if self._directory is not None:
                stack.callback(remove_rundir, self._directory)
            if self._namespace is not None:
                stack.callback(self._namespace.close)
            stack.callback(self._starters.close)
            stack.callback(end_marked, self._marks, STOP_DEADLINE_S)
            for envoy in self._running:
                stack.callback(envoy.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _executable(self, source: EnvoySource) -> tuple[Path, EnvoyIdentity]:
        known = self._prepared.get(source)
        if known is None:
            known = self._prepared[source] = find_executable(source)
            load_into_page_cache(known[0])
        return known


def _environment(spec: LaunchSpec) -> dict[str, str]:
    """Return what the process that is started has: the mark in it is for Envoy alone."""
    return dict(list(spec.env.items())[1:]) if spec.agent else {}


class ProcessEnvoy(NamespacedEnvoy):
    """One Envoy process; see `RunningEnvoy` for the methods."""

    def __init__(
        self,
        spec: LaunchSpec,
        command: list[str],
        binary: Path,
        identity: EnvoyIdentity,
        rundir: Path,
        log: int,
        admin_file: str,
        namespace: NamespaceThread,
        starter: NamespaceThread,
    ) -> None:
        super().__init__(spec, str(rundir), admin_file)
        self._identity = identity
        self._command = command
        self._binary = binary
        self._namespace = namespace
        self._log = log
        self._kept_log: str | None = None
        self._exit: Exit | None = None
        with contextlib.ExitStack() as undo:
            self._lifeline = Lifeline()
            undo.callback(self._lifeline.close)
            with interrupts_held():
                self._process = starter.call(lambda: self._spawn(self._lifeline.read_end))
                # Killed between the fork and here, this process would leave Envoy behind until the
                # next sweep, which finds it by its working directory.
                self._lifeline.hold(self._process.pid)
                undo.callback(self._process.wait)
                undo.callback(self._process.kill)
            self._pidfd = os.pidfd_open(self._process.pid)
            undo.pop_all()

    def _spawn(self, stdin: int) -> subprocess.Popen[bytes]:
        self._started_s = time.monotonic()
        try:
            return subprocess.Popen(
                self._command,
                cwd=self._rundir,
                env=_environment(self._spec),
                stdin=stdin,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                # A session of its own: Ctrl-C in the terminal is for us, we stop Envoy.
                start_new_session=True,
            )
        except OSError as error:
            if error.errno in _SHORTAGES:
                raise
            raise not_executable(self._binary, error.strerror or str(error)) from error

    def wait_ready(self, idle: Callable[[], bool] | None = None) -> Outcome:
        """Wait until Envoy is ready, has ended, or the deadline is reached.

        Raises:
            LaunchError: the executable cannot be executed.
        """
        outcome = super().wait_ready(idle)
        if outcome.exit_code in _NOT_EXECUTED and (found := _OF_TOOLS.search(self.log())):
            raise not_executable(self._binary, found["reason"])
        return outcome

    @property
    def identity(self) -> EnvoyIdentity:
        """Which Envoy it is."""
        return self._identity

    @property
    def executable(self) -> str:
        """Its executable's path on this machine, which need not be the one that it was started by.

        It is started by another one where its user may not get at this one.
        """
        return str(self._binary)

    @property
    def started_pid(self) -> int:
        """The process that was started: Envoy, its agent, or a tool that becomes Envoy."""
        return self._process.pid

    def in_netns(self, call: Callable[[], T]) -> T:
        """Run `call` in a thread inside Envoy's network namespace; return what it returns."""
        return self._namespace.call(call)

    def exited(self, timeout_s: float = 0.0) -> Exit | None:
        """Wait up to `timeout_s` for the process to end; return how, or None if it runs."""
        if self._exit is not None:
            return self._exit
        if (code := self._process.returncode) is not None:
            # Reaped by a stop() that was interrupted.
            return Exit(code, None) if code >= 0 else Exit(None, -code)
        if not wait_readable(self._pidfd, timeout_s):
            return None
        # The zombie stays until stop(): it keeps the process group's number from being reused.
        # Of a process that is traced its tracer learns first.
        at_once = 0 if self._spec.tracer else os.WNOHANG
        status = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT | at_once)
        assert status is not None
        if status.si_code == os.CLD_EXITED:
            return Exit(status.si_status, None)
        return Exit(None, status.si_status)

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> Exit:
        """Send SIGTERM, wait, after `deadline_s` kill; return how it ended."""
        if self._exit is not None:
            return self._exit
        end = self.exited()
        forced = False
        tracer = open_tracer(self.started_pid) if end is None and self._spec.tracer else None
        try:
            if end is None:
                self._process.terminate()
                end = self.exited(deadline_s)
                forced = end is None
            if tracer is not None and end is not None:
                wait_readable(tracer, STOP_DEADLINE_S)  # it has the end of its log to write
        finally:
            if tracer is not None:
                os.close(tracer)
            # Also what Envoy may have started itself; in an interrupted stop, Envoy as well. Once
            # it is reaped, the group's number may be another one's.
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            wait_readable(self._pidfd, STOP_DEADLINE_S)
            end = end or self.exited() or Exit(None, signal.SIGKILL)
            # A process that the kernel cannot kill yet must not hold up everything else.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_DEADLINE_S)
            self._exit = Exit(end.exit_code, end.signal, forced)
            self._kept_log = self.log()
            self._lifeline.close()
            for descriptor in (self._pidfd, self._log):
                os.close(descriptor)
        return self._exit

    def log(self) -> str:
        """Return what Envoy printed so far."""
        if self._kept_log is not None:
            return self._kept_log
        # By the descriptor: whoever may write to the run directory may put another file there.
        size = os.fstat(self._log).st_size
        return kept_log(size, lambda count, offset: os.pread(self._log, count, offset))
