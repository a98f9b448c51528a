"""One foreign Envoy from its exec until it has settled: the trace of that."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from envoyassert.accounts import Witness
from envoyassert.attach.envoy import AttachedEnvoy
from envoyassert.attach.place import node_name
from envoyassert.clock import monotonic_ns
from envoyassert.driver.recorded import end_of
from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.graph.model import SocketGraph
from envoyassert.launch.base import Exit
from envoyassert.launch.readiness import Asked
from envoyassert.live.selection import Selection
from envoyassert.live.settling import is_served, listener_record, shape_of
from envoyassert.probe import Watch
from envoyassert.probe.quiet import unwaited
from envoyassert.symbolize import symbolize
from envoyassert.trace import EnvoyIdentity, Header, ListenerRecord, Outcome, Trace, namespaces_of
from envoyassert.witness import take_witness

#: How often it is looked whether something has happened.
_PAUSE_S = 0.02
_DRAIN_S = 10.0
#: What the header of such a trace says of who started Envoy.
LAUNCHER = "attach"


@dataclass(frozen=True)
class Recorded:
    """A trace, and what there is to say of it.

    Args:
        trace: what was recorded.
        settled: whether Envoy had settled, or had ended, when it was taken.
        notes: what could not be learned of Envoy, and why.
    """

    trace: Trace
    settled: bool
    notes: tuple[str, ...] = ()


class Recording:
    """Watches one Envoy that something else started.

    Args:
        arm: what records it.
        envoy: the process.
        selection: by which Envoy is known among the programs that the process executes.
        settle_s: seconds for which nothing may have changed.
        stop: is set when the session is to end: then the trace is taken as it is.
        show: is called with the trace so far whenever there is more of it.
    """

    def __init__(
        self,
        arm: Watch,
        envoy: AttachedEnvoy,
        selection: Selection,
        settle_s: float,
        stop: threading.Event,
        show: Callable[[Trace], None],
    ) -> None:
        self._arm = arm
        self._envoy = envoy
        self._selection = selection
        self._settle_s = settle_s
        self._stop = stop
        self._show = show
        self._executed: Event | None = None
        self._asked = Asked(envoy, False, float("inf"))
        self._emitted = -1
        self._graph: SocketGraph | None = None
        self._shape: Hashable = None
        self._waits = True
        self._changed_s = time.monotonic()

    def run(self) -> Recorded:
        """Watch it until it has settled or ended, or the session is to end; return the trace."""
        end: Exit | None = None
        settled = False
        while not settled and end is None and not self._stop.is_set():
            end = self._envoy.exited(_PAUSE_S)
            self._look()
            if end is None and self._executed is not None and not self._asked.live:
                self._asked.ask()
            settled = end is not None or self._has_settled()
        outcome = self._outcome(end)
        witness = self._witness() if outcome.running else None
        trace = self._observed(outcome, witness)
        self._show(trace)
        return Recorded(trace, settled, self._notes(trace))

    def _look(self) -> None:
        """Read what was recorded since, and take note of what has changed."""
        emitted = self._arm.counters().emitted
        if emitted == self._emitted:
            return
        self._emitted = emitted
        self._arm.drain(_DRAIN_S)
        trace = self._trace(EnvoyIdentity(), Outcome())
        self._learn(trace.events)
        graph = fold(trace)
        shape = shape_of(graph)
        waits = bool(unwaited(trace.events))
        if shape != self._shape or waits != self._waits:
            self._changed_s = time.monotonic()
        self._graph, self._shape, self._waits = graph, shape, waits
        self._show(trace)

    def _learn(self, events: Sequence[Event]) -> None:
        """Take note of Envoy's exec: the last one of the program that is meant, or the first."""
        executed = [event for event in events if event.call == "exec"]
        meant = [one for one in executed if self._selection.accepts_executable(_path(one))]
        found = next(iter(meant[-1:] or executed[:1]), None)
        if found is not None and found is not self._executed:
            self._executed = found
            self._envoy.learn(found)
            self._asked = Asked(self._envoy, self._envoy.admin is not None, float("inf"))

    def _has_settled(self) -> bool:
        if self._graph is None or time.monotonic() - self._changed_s < self._settle_s:
            return False
        # Where some thread is yet to wait for events the workers may not have started.
        return is_served(self._graph) and (not self._waits or bool(self._asked.live))

    def _outcome(self, end: Exit | None) -> Outcome:
        asked = self._asked
        if asked.live is False and not asked.answered and end is None:
            asked.live, asked.unknown = None, "its admin endpoint did not answer"
        if end is None:
            asked.ask_what_is_missing()
        took_s = round(time.monotonic() - self._envoy.started_s, 3)
        outcome = asked.outcome(end, self._envoy.started_s, took_s)
        if asked.answered_ns is None:
            return outcome
        return replace(outcome, live_after_s=(asked.answered_ns - self._envoy.began_ns) / 1e9)

    def _witness(self) -> Witness | None:
        """Return what the kernel and Envoy say now, None if it has just ended."""
        self._arm.drain(_DRAIN_S)
        get = self._envoy.admin_get if self._envoy.admin is not None else None
        others = namespaces_of(self._envoy.listeners)
        return take_witness(self._envoy.pid, self._envoy.in_netns, get, others, self._arm.options())

    def _observed(self, outcome: Outcome, witness: Witness | None) -> Trace:
        """Return all that was recorded up to now, with what can be learned of Envoy itself."""
        until_ns = monotonic_ns()
        self._arm.drain(_DRAIN_S)
        trace = self._trace(EnvoyIdentity(), outcome, witness)
        symbols = symbolize(trace.events, (), [self._envoy.executable])
        # Last: what it takes to learn its version may be a question that is recorded.
        identity = self._envoy.identity
        header = replace(trace.header, envoy=identity)
        return replace(trace, header=header, symbols=symbols, second=self._arm.second(until_ns))

    def _trace(
        self, identity: EnvoyIdentity, outcome: Outcome, witness: Witness | None = None
    ) -> Trace:
        snapshot = self._arm.snapshot()
        place = self._envoy.place
        header = Header(
            run_id=self._arm.run_id,
            envoy=identity,
            launcher=LAUNCHER,
            concurrency=self._concurrency(witness),
            kernel=platform.release(),
            listeners=self._listeners(witness),
            unobserved=self._arm.unobserved,
            tracer=self._arm.tracer,
            began_ns=self._envoy.began_ns,
            where={} if place is None else place.as_header(node_name()),
            inner_pids=self._envoy.inner_pids,
        )
        return Trace(header, snapshot.events, end_of(snapshot, outcome, ""), witness)

    def _concurrency(self, witness: Witness | None) -> int:
        """Return the number of workers: as it was asked for, or else as Envoy says."""
        asked = self._envoy.arguments.concurrency
        if asked is not None:
            return max(1, asked)
        account = None if witness is None else witness.envoy
        return 0 if account is None else account.stats.get("server.concurrency", 0)

    def _listeners(self, witness: Witness | None) -> tuple[ListenerRecord, ...]:
        """Return the listeners of its config, and those that it has from elsewhere."""
        known = self._envoy.listeners
        account = None if witness is None else witness.envoy
        if account is None or self._graph is None or not self._envoy.discovers:
            return known
        names = {record.name for record in known}
        graph = self._graph
        more = (listener_record(one, graph) for one in account.listeners if one.name not in names)
        return (*known, *more)

    def _notes(self, trace: Trace) -> tuple[str, ...]:
        notes = [self._envoy.note] if self._envoy.note else []
        if not trace.header.concurrency:
            notes.append("its number of workers is not known: --concurrency was not given to it")
        return tuple(notes)


def _path(event: Event) -> str:
    return str(event.args["filename"] or "")
