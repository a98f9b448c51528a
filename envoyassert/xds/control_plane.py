"""What gives Envoy its listeners, whichever way: one interface for files and gRPC."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from envoyassert.clock import monotonic_ns
from envoyassert.errors import MachineError
from envoyassert.launch.admin import AdminUnreachableError, stats_of
from envoyassert.launch.inside import proc_root, replace_inside
from envoyassert.launch.kept_log import log_since
from envoyassert.launch.processes import all_asleep
from envoyassert.scenario.plan import as_text
from envoyassert.scenario.xds import LISTENER_URL, Via, discovery_response, resource_name
from envoyassert.trace import UpdateResult
from envoyassert.xds.resources import ResourceError, packed, type_name
from envoyassert.xds.server import AdsServer, EnvoyAnswer

if TYPE_CHECKING:
    from typing_extensions import Self

    from envoyassert.launch.base import Exit

_LISTENER = LISTENER_URL.rpartition("/")[2]
_STATS = "/stats?filter=^listener_manager\\.(lds\\.update_|total_listeners_warming)"
_COUNTED = "listener_manager.lds.update_"
#: What Envoy counts of an update by file that it did not take, and what it says then. One whose
#: text it cannot read is never counted as rejected (seen on 1.36.4 and 1.40.0).
_NOT_TAKEN = {
    "update_rejected": "Filesystem config update rejected: ",
    "update_failure": "Filesystem config update failure: ",
}
_PAUSE_S = 0.002
#: How long an engine may take for a line of the log.
_LINE_DEADLINE_S = 2.0
#: How long an Envoy that is ready may take to come to rest.
_REST_DEADLINE_S = 2.0

Resource = Mapping[str, Any]


@dataclass(frozen=True)
class ListenerUpdate:
    """One version of the listeners, and Envoy's answer.

    Args:
        via: how it was given.
        version: the version that the control plane gave it.
        result: `ack`, `nack`, or `none` if no answer came before the deadline.
        message: what Envoy said of a version that it refused, or "".
        sent_ns: CLOCK_MONOTONIC nanoseconds just before it was given to Envoy.
        answered_ns: the same clock when the answer was received; None if none came.
        warming: number of listeners that were warming afterwards; None if it could not be learned.
        warmed: whether none was, or the control plane itself holds them up.
        settled: whether every thread of Envoy was seen asleep at once afterwards, so that none of
            the work that the update made was left to do.
        hidden: whether the statistics by which its answer would be known cannot be asked for.
    """

    via: Via
    version: str
    result: Literal["ack", "nack", "none"]
    message: str = ""
    sent_ns: int = 0
    answered_ns: int | None = None
    warming: int | None = None
    warmed: bool = False
    settled: bool = False
    hidden: bool = False

    @property
    def fact(self) -> UpdateResult | None:
        """Envoy's answer as a fact of a phase; None if there was none."""
        if self.result == "none":
            return None
        return UpdateResult(self.result, self.version, self.message)


class ServedEnvoy(Protocol):
    """What a control plane must know of the Envoy that it serves; see `RunningEnvoy`."""

    @property
    def pid(self) -> int:
        """The main process, as seen from here."""

    def admin_get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Ask the admin endpoint; return status and body. Raises AdminUnreachableError."""

    def exited(self, timeout_s: float = 0.0) -> Exit | None:
        """Wait up to `timeout_s` for the process to end; return how, or None if it runs."""

    def log(self) -> str:
        """Return what Envoy printed so far."""


class ControlPlane(Protocol):
    """Holds the listeners that Envoy should have; a context manager."""

    @property
    def via(self) -> Via:
        """How it gives them."""

    @property
    def listeners(self) -> Sequence[Resource]:
        """What it serves, as Envoy reads it."""

    def update(
        self,
        envoy: ServedEnvoy,
        listeners: Sequence[Resource],
        release: Sequence[str],
        deadline_s: float,
    ) -> ListenerUpdate:
        """Give Envoy another set of listeners, and wait for its answer.

        After the answer, warming is awaited unless a resource is withheld on purpose, and in any
        case that Envoy has nothing left to do.

        Args:
            envoy: the Envoy; started with what this control plane had to give.
            listeners: all that it should have, as Envoy reads them.
            release: names of resources that are withheld until now.
            deadline_s: seconds for all of it.
        """

    def started(self, envoy: ServedEnvoy) -> ListenerUpdate:
        """Return the result of the first listeners, of an Envoy that has started."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class FileControlPlane:
    """Renames a file into place, inside Envoy's own view of the file system.

    Args:
        file: the file as Envoy sees it.
        listeners: what is in it when Envoy starts.
    """

    via: Via = "file"

    def __init__(self, file: str, listeners: Sequence[Resource]) -> None:
        self._file = file
        self.listeners = listeners
        self._version = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is held."""

    def started(self, envoy: ServedEnvoy) -> ListenerUpdate:
        """Return the result of the first listeners."""
        return self._judged(envoy, monotonic_ns(), "", time.monotonic() + _REST_DEADLINE_S)

    def update(
        self,
        envoy: ServedEnvoy,
        listeners: Sequence[Resource],
        release: Sequence[str],
        deadline_s: float,
    ) -> ListenerUpdate:
        """Give Envoy another set of listeners, and wait for its answer."""
        deadline = time.monotonic() + deadline_s
        self._version += 1
        self.listeners = listeners
        before, log = _stats(envoy), envoy.log()
        content = discovery_response(listeners, self._version)
        sent_ns = monotonic_ns()
        try:
            sent_ns = replace_inside(proc_root(envoy.pid), self._file, as_text(content))
        except OSError as error:
            # The way to it leads through the process.
            if envoy.exited() is None:
                raise MachineError(
                    f"{self._file} cannot be written in Envoy's root: {error.strerror}",
                    "free some space",
                ) from error
        # Envoy counts from its start on, unless its config hides that.
        if not any(name.startswith(_COUNTED) for name in before) and envoy.exited() is None:
            return ListenerUpdate("file", str(self._version), "none", hidden=True)
        _await(envoy, deadline, lambda: _answers(_stats(envoy)) > _answers(before))
        return self._judged(envoy, sent_ns, log, deadline, before)

    def _judged(
        self,
        envoy: ServedEnvoy,
        sent_ns: int,
        log_before: str,
        deadline: float,
        before: Mapping[str, int] | None = None,
    ) -> ListenerUpdate:
        before, now = before or {}, _stats(envoy)
        message = ""
        result = "ack" if _answers(now) > _answers(before) else "none"
        answered_ns = monotonic_ns() if result != "none" else None
        for counter, words in _NOT_TAKEN.items():
            if _counter(now, counter) > _counter(before, counter):
                result, answered_ns = "nack", answered_ns or monotonic_ns()

                def said(words: str = words) -> str:
                    return log_since(log_before, envoy.log()).partition(words)[2]

                # An engine may hand out the line later than Envoy counts. A log level may hide it.
                line = min(deadline, time.monotonic() + _LINE_DEADLINE_S)
                _await(envoy, line, lambda: "\n" in said())
                # Of a text that it cannot read, Envoy prints all of it.
                reason = said().partition("): {")[0]
                message = reason.partition("\n\n")[0].partition("\n[")[0].strip()
        warming, warmed, settled = _settle(envoy, deadline, held=False)
        return ListenerUpdate(
            "file",
            str(self._version),
            result,  # type: ignore[arg-type]  # one of the three
            message,
            sent_ns,
            answered_ns,
            warming,
            warmed,
            settled,
        )


class AdsControlPlane:
    """Serves listeners, and what they refer to, by gRPC.

    Args:
        socket: path of the Unix socket, as it is seen from here.
        delta: whether the incremental variant is spoken.
        listeners: the first ones.
        resources: others, of any type, each with its `@type`.
        withheld: names of resources that are not given away yet.

    Raises:
        ResourceError: a resource is no message; its path begins with `listeners` or `resources`
            and the index.
        MachineError: the libraries are missing, or the socket cannot be bound.
    """

    def __init__(
        self,
        socket: Path,
        *,
        delta: bool,
        listeners: Sequence[Resource],
        resources: Sequence[Resource] = (),
        withheld: Sequence[str] = (),
    ) -> None:
        self.via: Via = "delta_ads" if delta else "ads"
        self.listeners = listeners
        first = packed_listeners(listeners)
        others: dict[str, dict[str, Any]] = {}
        for index, resource in enumerate(resources):
            message = _packed("resources", index, resource)
            others.setdefault(type_name(resource), {})[resource_name(resource)] = message
        self._server = AdsServer(socket, delta=delta)
        self._server.withhold(frozenset(withheld))
        for kind, messages in others.items():
            self._server.replace(kind, messages)
        self._started_ns = monotonic_ns()
        self._first = self._server.replace(_LISTENER, first)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.__exit__(*exception)

    def started(self, envoy: ServedEnvoy) -> ListenerUpdate:
        """Return the result of the first listeners."""
        # Envoy may be ready a moment before its answer is here.
        deadline = time.monotonic() + _REST_DEADLINE_S
        answer = self._answer(envoy, self._first, deadline)
        return self._judged(envoy, self._first, self._started_ns, answer, deadline)

    def update(
        self,
        envoy: ServedEnvoy,
        listeners: Sequence[Resource],
        release: Sequence[str],
        deadline_s: float,
    ) -> ListenerUpdate:
        """Give Envoy another set of listeners, and wait for its answer."""
        deadline = time.monotonic() + deadline_s
        messages = packed_listeners(listeners)
        self.listeners = listeners
        sent_ns = monotonic_ns()
        if release:
            self._server.release(tuple(release))
        version = self._server.replace(_LISTENER, messages)
        answer = self._answer(envoy, version, deadline)
        return self._judged(envoy, version, sent_ns, answer, deadline)

    def _answer(self, envoy: ServedEnvoy, version: int, deadline: float) -> EnvoyAnswer | None:
        answer: EnvoyAnswer | None = None

        def answered() -> bool:
            nonlocal answer
            answer = self._server.answer(_LISTENER, version, _PAUSE_S)
            return answer is not None

        _await(envoy, deadline, answered, pause_s=0)
        return answer

    def _judged(
        self,
        envoy: ServedEnvoy,
        version: int,
        sent_ns: int,
        answer: EnvoyAnswer | None,
        deadline: float,
    ) -> ListenerUpdate:
        held = bool(self._server.withheld)
        warming, warmed, settled = _settle(envoy, deadline, held=held)
        return ListenerUpdate(
            self.via,
            str(version),
            "none" if answer is None else "nack" if answer.error else "ack",
            answer.error if answer else "",
            sent_ns,
            answer.received_ns if answer else None,
            warming,
            warmed,
            settled,
        )


def packed_listeners(listeners: Sequence[Resource]) -> dict[str, object]:
    """Return listeners as packed messages by name. Raises like `AdsControlPlane`."""
    return {
        resource_name(one): _packed("listeners", index, {"@type": LISTENER_URL, **one})
        for index, one in enumerate(listeners)
    }


def _packed(part: str, index: int, resource: Resource) -> object:
    try:
        return packed(resource)
    except ResourceError as error:
        path = (part, index, *error.path)
        raise ResourceError(path, error.message, error.remedy) from error


def _settle(envoy: ServedEnvoy, deadline: float, *, held: bool) -> tuple[int | None, bool, bool]:
    """Wait until nothing warms (unless that is `held` up) and Envoy has nothing left to do.

    Returns:
        The number of warming listeners, None if unknown; whether none was, or that is held up; and
        whether Envoy came to rest.
    """
    warming: int | None = None

    def warm() -> bool:
        nonlocal warming
        warming = _stats(envoy).get("listener_manager.total_listeners_warming")
        return held or not warming

    warmed = _await(envoy, deadline, warm)
    return warming, warmed, warmed and _await(envoy, deadline, lambda: all_asleep(envoy.pid))


def _await(
    envoy: ServedEnvoy,
    deadline: float,
    condition: Callable[[], bool],
    *,
    pause_s: float = _PAUSE_S,
) -> bool:
    """Ask until a condition holds; return whether it did before the deadline or Envoy's end."""
    while not condition():
        left_s = deadline - time.monotonic()
        if left_s <= 0 or envoy.exited(max(0.0, min(pause_s, left_s))) is not None:
            return False
    return True


def _stats(envoy: ServedEnvoy) -> dict[str, int]:
    """Return Envoy's numbers about its listeners; none where it cannot be asked."""
    try:
        status, text = envoy.admin_get(_STATS)
    except AdminUnreachableError:
        return {}
    return stats_of(text) if status == 200 else {}


def _counter(stats: Mapping[str, int], name: str) -> int:
    return stats.get(f"listener_manager.lds.{name}", 0)


def _answers(stats: Mapping[str, int]) -> int:
    names = ("update_success", "update_rejected", "update_failure")
    return sum(_counter(stats, name) for name in names)
