"""Wait until an Envoy is ready, without a single fixed sleep, and say what it waits for itself.

Between two questions the caller waits on the process itself, so an early exit ends the wait at
once. Envoy says LIVE when it is, whatever its statistics and its listeners; that its workers wait
for clients is seen in the trace afterwards (`envoyassert.probe.quiet`).

While Envoy says PRE_INITIALIZING it waits for clusters, the answer of CDS, or that of RTDS: the
statistics show which. While it says INITIALIZING it waits for what its listeners need: /init_dump
names that (1.36.4 and 1.40.0; statistics "cluster.NAME.warming_state", config_dump.proto
UnreadyTargetsDumps).
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import FailFast, Field, TypeAdapter

from envoyassert.clock import monotonic_ns
from envoyassert.launch.admin import (
    DEADLINE_S,
    MOST,
    AdminIncompleteError,
    AdminUnreachableError,
    shortened,
)
from envoyassert.launch.base import tail
from envoyassert.trace import Outcome

if TYPE_CHECKING:
    from envoyassert.launch.base import Exit, RunningEnvoy

_Item = TypeVar("_Item")
#: A list of a reply, as pydantic reads it: up to its first fault.
Many = Annotated[list[_Item], FailFast(), Field(max_length=MOST)]

#: No Envoy is LIVE sooner: what is asked before only takes the processor from it.
_LEAST_START_S = 0.02
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.02
#: How often, in seconds, an Envoy that is not LIVE is asked what it waits for.
_MISSING_S = 1.0
#: How long a question may take at least, in seconds, though the deadline is near or over.
_LEAST_S = 0.25
_LIVE, _NOT_LIVE = 200, 503


def wait_ready(
    envoy: RunningEnvoy,
    has_admin: bool,
    started_s: float,
    deadline_s: float,
    idle: Callable[[], bool] | None,
) -> Outcome:
    """Wait for one of the three ends described in `RunningEnvoy.wait_ready`.

    Args:
        envoy: the process.
        has_admin: whether its config has an admin endpoint.
        started_s: time.monotonic() at its start.
        deadline_s: seconds from then until it must be ready.
        idle: says whether nothing has happened for a while; None if that is not known.
    """
    end_s = started_s + deadline_s
    asked = Asked(envoy, has_admin, end_s)
    while True:
        now = time.monotonic()
        pause_s = max(asked.pause_s, started_s + _LEAST_START_S - now)
        end = envoy.exited(max(0.0, min(pause_s, end_s - now)))
        if end is None:
            asked.ask()
            ready = asked.live if asked.live is not None else idle is None or idle()
            if not ready and time.monotonic() < end_s:
                continue
            asked.give_up()
        return asked.outcome(end, started_s, deadline_s)


class Asked:
    """Asks `/ready`, if it can be asked, and keeps what it said.

    Args:
        envoy: the process.
        has_admin: whether its config has an admin endpoint.
        end_s: time.monotonic() when it must be ready.
    """

    def __init__(self, envoy: RunningEnvoy, has_admin: bool, end_s: float) -> None:
        self._envoy = envoy
        self._end_s = end_s
        self.live: bool | None = False if has_admin else None
        """Whether it said LIVE; None if it does not say."""
        self.unknown = ""
        self.waits_for: tuple[str, ...] = ()
        self._state = self._no_end = ""
        self._missing_s = time.monotonic() + _MISSING_S
        self.asked_ns: int | None = None
        self.answered_ns: int | None = None
        self.pause_s = _FIRST_PAUSE_S

    @property
    def answered(self) -> bool:
        """Whether it gave any answer to the question."""
        return bool(self.live is None or self.live or self._state or self._no_end)

    def outcome(self, end: Exit | None, started_s: float, deadline_s: float | None) -> Outcome:
        """Return how it went.

        Args:
            end: how Envoy ended, None if it runs.
            started_s: time.monotonic() at its start.
            deadline_s: seconds that it had from then; None if no limit was set.
        """
        return Outcome(
            live=self.live,
            live_unknown=self.unknown,
            live_after_s=time.monotonic() - started_s if self.live else None,
            live_asked_ns=self.asked_ns,
            live_ns=self.answered_ns,
            exit_code=end.exit_code if end else None,
            signal=end.signal if end else None,
            deadline_s=deadline_s,
            log_tail=tail(self._envoy.log()),
            waits_for=() if self.live else self.waits_for,
        )

    def give_up(self) -> None:
        """Take note that the deadline is reached."""
        if self._no_end and not self.live:
            # It does answer: whether it is LIVE is not known.
            self.live, self.unknown = None, self._no_end
        self.ask_what_is_missing()

    def ask_what_is_missing(self) -> None:
        """Ask what Envoy waits for, if it said that it is not ready."""
        if self._state and not self.live:
            self._missing_s = time.monotonic() + _MISSING_S
            self.waits_for = waits_of(self._get, self._state) or self.waits_for

    def _get(self, path: str) -> tuple[int, str]:
        """Ask for no longer than the deadline allows: a reply may drip for ever."""
        left_s = max(_LEAST_S, min(DEADLINE_S, self._end_s - time.monotonic()))
        return self._envoy.admin_get(path, deadline_s=left_s)

    def ask(self) -> None:
        """Ask once, unless it is known that there is no answer."""
        if self.live is None:
            return
        asked_ns = monotonic_ns()
        try:
            status, body = self._get("/ready")
        except AdminIncompleteError as error:
            self._no_end = str(error)
            return
        except AdminUnreachableError:
            return
        self._no_end = ""
        if status == _LIVE:
            self.live, self.asked_ns, self.answered_ns = True, asked_ns, monotonic_ns()
        elif status == _NOT_LIVE:
            # Each question is work in Envoy's main thread: ask less often by and by.
            self.pause_s = min(self.pause_s * 2, _LONGEST_PAUSE_S)
            self._state = body.strip()
            # It may end while it waits: then it is too late to ask.
            if time.monotonic() > self._missing_s:
                self.ask_what_is_missing()
        else:
            # With `admin.allow_paths` Envoy answers 403 to all that is not allowed.
            said = shortened(body.strip().partition("\n")[0])
            self.live, self.unknown = None, f"/ready is answered with {status}: {said}"
            self.pause_s = _FIRST_PAUSE_S


#: Names that are given; of more there is the number.
_NAMES = 3
PRE_INITIALIZING = "PRE_INITIALIZING"
_STATS = (
    r"/stats?filter=^(cluster\..*\.warming_state"
    r"|(cluster_manager\.cds|listener_manager\.lds|runtime)\.(update_success|init_fetch_timeout))$"
)
_WARMING = re.compile(r"cluster\.(?P<name>.+)\.warming_state: 1")
_SOURCES = {
    "runtime": "the runtime of RTDS",
    "cluster_manager.cds": "the clusters of CDS",
    "listener_manager.lds": "the listeners of LDS",
}
_LISTENER = re.compile(r"init manager Listener-local-init-manager (?P<name>.*) \d+")
# rds_impl.cc, sds_api.h, config_provider_manager: how each calls what it waits for.
_TARGET = re.compile(
    r"(?:shared )?target (?:\w+ RDS init (?P<routes>.+)|SdsApi (?P<secret>.+)"
    r"|\w+ init (?P<extension>.+)|(?P<other>.+))"
)


@dataclass(frozen=True, slots=True)
class _Manager:
    name: str = ""
    target_names: Many[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _InitDump:
    """What is read of `/init_dump`: envoy.admin.v3.UnreadyTargetsDumps."""

    unready_targets_dumps: Many[_Manager] = field(default_factory=list)


@functools.cache
def _init_dump() -> TypeAdapter[_InitDump]:
    return TypeAdapter(_InitDump)


def waits_of(admin_get: Callable[[str], tuple[int, str]], state: str) -> tuple[str, ...]:
    """Return what Envoy waits for, `cluster slow`; () if it does not say.

    Args:
        admin_get: asks the admin endpoint for a path; returns status and body.
        state: what `/ready` said: `PRE_INITIALIZING`, or another state.
    """
    try:
        stats = _body(admin_get, _STATS).splitlines()
        if state == PRE_INITIALIZING:
            found = [*_clusters(stats), *_sources(stats, "runtime", "cluster_manager.cds")]
        else:
            dump = _init_dump().validate_json(_body(admin_get, "/init_dump") or "{}")
            found = [*_sources(stats, "listener_manager.lds"), *_targets(dump)]
    except (AdminUnreachableError, ValueError):
        return ()
    names = list(dict.fromkeys(map(shortened, found)))
    more = len(names) - _NAMES
    return (*names[:_NAMES], *([f"{more} more"] if more > 0 else []))


def _body(admin_get: Callable[[str], tuple[int, str]], path: str) -> str:
    status, body = admin_get(path)
    return body if status == 200 else ""


def _clusters(stats: list[str]) -> Iterator[str]:
    for line in stats:
        warming = _WARMING.fullmatch(line)
        if warming:
            yield f"cluster {warming['name']}"


def _sources(stats: list[str], *prefixes: str) -> Iterator[str]:
    """Yield the config sources that have not answered, nor been given up."""
    for prefix in prefixes:
        if {f"{prefix}.update_success: 0", f"{prefix}.init_fetch_timeout: 0"} <= set(stats):
            yield _SOURCES[prefix]


def _targets(dump: _InitDump) -> Iterator[str]:
    for manager in dump.unready_targets_dumps:
        listener = _LISTENER.fullmatch(manager.name)
        for target in manager.target_names:
            found = _TARGET.fullmatch(target)
            kind = str(found.lastgroup) if found else "other"
            name = found[kind] if found else target
            what = name if kind == "other" else f"{kind} {name}"
            yield f"{what} of listener {listener['name']}" if listener else what
