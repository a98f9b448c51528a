"""What every launcher offers; the runner knows nothing else about them.

    with choose_launcher("auto", source) as launcher:
        config = text.replace("${rundir}", launcher.rundir())
        launcher.prepare(source)                      # downloads, pulls: everything slow
        with launcher.start(LaunchSpec(...)) as envoy:
            outcome = envoy.wait_ready(idle)
            ...
            end = envoy.stop()

A launcher is one isolated place. Leaving it stops every Envoy that was started in it and removes
what it made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from envoyassert.addresses import Address
from envoyassert.frozen import frozen
from envoyassert.launch.admin import DEADLINE_S
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.limits import Limits
from envoyassert.trace import EnvoyIdentity, Outcome

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

#: Lines of Envoy's log that an outcome carries: the last ones, and the first complaints.
LOG_TAIL_LINES = 40
LOG_COMPLAINTS = 10
_COMPLAINT = re.compile(
    r'[\[\t"](?:critical|error)[\]\t"]|[\[\t"]warning[\]\t"].*(?:reject|fail|Skipping)'
)
#: Longest line that is kept whole: an exception may quote the whole config, which may be megabytes.
_LINE_START, _LINE_END = 6000, 2000
#: How long Envoy may take to end after SIGTERM before it is killed.
STOP_DEADLINE_S = 5.0
#: How long `envoy --mode validate` may take.
VALIDATE_DEADLINE_S = 30.0


@frozen
class LaunchSpec:
    """One Envoy to start.

    Args:
        source: which Envoy.
        config_yaml: the bootstrap, with `${rundir}` replaced.
        files: further files by relative name, placed into the run directory: text, a file that is
            copied, or None for a directory.
        concurrency: value of `--concurrency`.
        args: further command line arguments.
        env: the whole environment of the process, in this order: the variable that marks the
            process for the probe comes first. Nothing is inherited.
        deadline_s: seconds from start until it must be ready.
        admin: the admin endpoint's address by the config; None if it has none.
        agent: a program and its arguments, started with Envoy's command line behind them; it
            starts Envoy, and gives it `--concurrency`.
        netns: network namespaces to make, by name, each a file `netns/NAME` of the run directory,
            and what it is given, as `give_addresses` takes it.
        tracer: what Envoy's command line begins with, for a tracer that starts Envoy itself.
        limits: what it may do, as far as the scenario says it.
        needed: the capabilities that its sockets need, `CAP_…`.
    """

    source: EnvoySource
    config_yaml: str
    files: dict[str, str | Path | None] = field(default_factory=dict)
    concurrency: int = 1
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    deadline_s: float = 10.0
    admin: Address | None = None
    agent: tuple[str, ...] = ()
    netns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tracer: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    needed: tuple[str, ...] = ()


@frozen
class Exit:
    """How a process ended.

    Args:
        exit_code: its exit status; None if a signal ended it.
        signal: number of the signal; None if it exited. A container's status above 128 is read
            as a signal, as an engine does not distinguish the two.
        forced: whether it was killed because it did not end within the deadline.
    """

    exit_code: int | None
    signal: int | None
    forced: bool = False


class RunningEnvoy(Protocol):
    """An Envoy that was started; a context manager that stops it."""

    @property
    def pid(self) -> int:
        """Envoy's process, as seen from here."""

    @property
    def identity(self) -> EnvoyIdentity:
        """Which Envoy it is."""

    @property
    def executable(self) -> str:
        """Its executable's path on this machine, which need not be the one that it was started by.

        "" where it has none.
        """

    def in_netns(self, call: Callable[[], T]) -> T:
        """Run `call` in a thread inside Envoy's network namespace; return what it returns.

        Raises:
            ProcessLookupError: Envoy ended before its namespace was entered.
        """

    def admin_get(
        self, path: str, method: str = "GET", deadline_s: float = DEADLINE_S
    ) -> tuple[int, str]:
        """Ask the admin endpoint, for at most so many seconds; return status and body.

        Raises:
            AdminUnreachableError: there is none, or it does not answer.
        """

    def exited(self, timeout_s: float = 0.0) -> Exit | None:
        """Wait up to `timeout_s` for the process to end; return how, or None if it runs."""

    def wait_ready(self, idle: Callable[[], bool] | None = None) -> Outcome:
        """Wait until Envoy is ready, has ended, or the deadline is reached.

        Ready means that `/ready` says LIVE. Where it cannot be asked, for there is no admin
        endpoint or its `allow_paths` forbid it, ready means that `idle` says so: a callable that
        is asked again and again, and returns True once nothing has happened for a while. Ending
        early and missing the deadline are outcomes, not errors.
        """

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> Exit:
        """Send SIGTERM, wait, after `deadline_s` kill; return how it ended. May be repeated."""

    def log(self) -> str:
        """Return what Envoy printed so far."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class Launcher(Protocol):
    """A place to start Envoys in; a context manager that releases everything."""

    @property
    def name(self) -> str:
        """`process` or `docker`."""

    def rundir(self) -> str:
        """Return the directory that `${rundir}` stands for, as Envoy sees it."""

    def shared_dir(self) -> Path:
        """Return a directory that both this process and an Envoy started later see.

        Envoy sees it as `${rundir}/xds`. A Unix socket in it can be connected to from within.
        """

    def prepare(self, source: EnvoySource) -> EnvoyIdentity:
        """Do everything slow that a start needs: download, pull, look at the executable.

        Raises:
            EnvoyUnavailableError: this Envoy is unavailable.
        """

    def give(self, addresses: Sequence[str]) -> None:
        """Give addresses to the network of the Envoys that are started later.

        Args:
            addresses: as `envoyassert.launch.own_network.give_addresses` takes them.

        Raises:
            MachineError: one cannot be given.
            LaunchError: this launcher cannot give any.
        """

    def in_netns(self, call: Callable[[], T]) -> T:
        """Run `call` in the network namespace that an Envoy started later will have.

        Raises:
            LaunchError: there is none before Envoy.
        """

    def start(self, spec: LaunchSpec) -> RunningEnvoy:
        """Start one Envoy.

        Raises:
            EnvoyUnavailableError: this Envoy is unavailable.
            LaunchError: it could not be started at all.
        """

    def close(self) -> None:
        """Stop what runs, remove what was made. May be repeated."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


def tail(log: str) -> tuple[str, ...]:
    """Return the last lines of a log, after the first complaints among those before them.

    Why Envoy gave up may stand far from its end: above a backtrace, or in a talkative log.
    """
    lines = [_cut(line) for line in log.splitlines()]
    complaints = [line for line in lines[:-LOG_TAIL_LINES] if _COMPLAINT.search(line)]
    return (*complaints[:LOG_COMPLAINTS], *lines[-LOG_TAIL_LINES:])


def _cut(line: str) -> str:
    if len(line) <= _LINE_START + _LINE_END:
        return line
    return f"{line[:_LINE_START]} … {line[-_LINE_END:]}"
