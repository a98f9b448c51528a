"""One foreign Envoy from its exec until it has settled: the trace of that."""

from __future__ import annotations

import contextlib
import platform
import queue
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from envoyassert.accounts import Witness
from envoyassert.attach.command import Stop
from envoyassert.attach.envoy import AttachedEnvoy
from envoyassert.attach.epochs import Epochs
from envoyassert.attach.place import node_name
from envoyassert.clock import monotonic_ns
from envoyassert.driver.recorded import end_of
from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.graph.model import SocketGraph
from envoyassert.launch.base import Exit
from envoyassert.launch.readiness import Asked
from envoyassert.live.selection import ProcessSelection
from envoyassert.live.traces import is_served, listener_record, serving_shape
from envoyassert.probe import Watch
from envoyassert.probe.quiet import unwaited
from envoyassert.symbolize import symbolize
from envoyassert.trace import (
    ATTACHED,
    FIRST,
    STARTUP,
    Header,
    ListenerRecord,
    Member,
    Outcome,
    Phase,
    Trace,
    namespaces_of,
)
from envoyassert.witness import take_witness

#: How often it is looked whether something has happened.
_PAUSE_S = 0.02
_DRAIN_S = 10.0


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
    """Watches one Envoy that something else started, and the epochs of its hot restarts.

    Args:
        arm: what records it.
        envoy: the process.
        selection: by which Envoy is known among the programs that the process executes.
        settle_s: seconds for which nothing may have changed.
        stop: is set when the session is to end: then the trace is taken as it is.
        show: is called with the trace so far whenever there is more of it.
        follow: whether it goes on once Envoy has settled, until that ends or `stop` is set.
        phase_ended: is called with the name of each phase that has ended.
    """

    def __init__(
        self,
        arm: Watch,
        envoy: AttachedEnvoy,
        selection: ProcessSelection,
        settle_s: float,
        stop: Stop,
        show: Callable[[Trace], None],
        *,
        follow: bool = False,
        phase_ended: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._arm = Epochs(arm)
        self._first = arm
        self._envoys = [envoy]
        self._outcomes: list[Outcome] = []
        self._selection = selection
        self._settle_s = settle_s
        self._stop = stop
        self._show = show
        self._follow = follow
        self._phase_ended = phase_ended
        self._phases: list[Phase] = []
        self._before: tuple[int, frozenset[str]] = (1, frozenset())
        self._emitted_at_end = 0
        self._joining: queue.SimpleQueue[tuple[Watch, AttachedEnvoy]] = queue.SimpleQueue()
        self._is_over = False
        self._lock = threading.Lock()
        self._asked = Asked(envoy, False, float("inf"))
        self._executed: Event | None = None
        self._emitted = -1
        self._graph: SocketGraph | None = None
        self._shape: Hashable = None
        self._waits = True
        self._changed_s = time.monotonic()

    @property
    def _envoy(self) -> AttachedEnvoy:
        """The newest one."""
        return self._envoys[-1]

    def join(self, arm: Watch, envoy: AttachedEnvoy) -> bool:
        """Take another epoch into the trace, if it is one of this Envoy's and not too late.

        Args:
            arm: what records it; this recording disarms it if it takes it.
            envoy: the process; as above.

        Returns:
            Whether it was taken.
        """
        with self._lock:
            if self._is_over or self._arm.is_full or not self._envoy.hands_over_to(envoy):
                return False
            self._joining.put((arm, envoy))
        return True

    def run(self) -> Recorded:
        """Watch it until it has settled or ended, or the session is to end; return the trace."""
        with contextlib.ExitStack() as stack:
            while True:
                end, settled = self._until_settled()
                joined = self._next_epoch()
                if joined is None and not (self._follow and settled and end is None):
                    break
                self._end_phase(end, by_epoch=joined is not None)
                if joined is None:
                    if self._until_changed():
                        break
                    joined = self._next_epoch()
                if joined is not None:
                    stack.enter_context(joined[0])
                    stack.enter_context(contextlib.closing(joined[1]))
                    self._go_on_with(*joined)
            if self._phases and self._arm.emitted() != self._emitted_at_end:
                self._end_phase(self._envoy.exited())
            trace = self._finished(self._envoy.exited())
            self._show(trace)
            return Recorded(trace, settled, self._notes(trace))

    def _until_settled(self) -> tuple[Exit | None, bool]:
        """Wait; return how Envoy ended, None if it runs, and whether it has settled or ended."""
        while True:
            end = self._envoy.exited(_PAUSE_S)
            self._look()
            if end is None and self._executed is not None and not self._asked.live:
                self._asked.ask()
            settled = end is not None or self._has_settled()
            if settled or self._stop.is_set() or not self._joining.empty():
                return end, settled

    def _until_changed(self) -> bool:
        """Wait until something changes; return whether the recording is over instead."""
        before = self._shape
        while self._shape == before and self._joining.empty():
            if self._stop.is_set() or self._envoy.exited(_PAUSE_S) is not None:
                return self._joining.empty()
            self._look()
        return False

    def _next_epoch(self) -> tuple[Watch, AttachedEnvoy] | None:
        """Return an Envoy that has joined; where there is none and nothing follows, no more may."""
        with self._lock:
            if not self._joining.empty():
                return self._joining.get()
            self._is_over = not self._follow or self._stop.is_set()
            return None

    def _look(self) -> None:
        """Read what was recorded since, and take note of what has changed."""
        emitted = self._arm.emitted()
        if emitted == self._emitted:
            return
        self._emitted = emitted
        self._arm.drain(_DRAIN_S)
        trace = self._trace(Outcome())
        self._learn(trace.events)
        graph = fold(trace)
        shape = serving_shape(graph)
        waits = bool(unwaited(trace.events))
        if shape != self._shape or waits != self._waits:
            self._changed_s = time.monotonic()
        self._graph, self._shape, self._waits = graph, shape, waits
        self._show(trace)

    def _learn(self, events: Sequence[Event]) -> None:
        """Take note of Envoy's exec: the last one of the program that is meant, or the first."""
        if len(self._envoys) > 1:
            return  # those that joined are known by their own
        executed = [event for event in events if event.call == "exec"]
        meant = [one for one in executed if self._selection.accepts_executable(_path(one))]
        found = next(iter(meant[-1:] or executed[:1]), None)
        known = None if self._executed is None else (self._executed.pid, self._executed.ts_ns)
        if found is not None and (found.pid, found.ts_ns) != known:
            self._executed = found
            self._envoy.learn(found)
            self._asked = Asked(self._envoy, self._envoy.admin is not None, float("inf"))

    def _go_on_with(self, arm: Watch, envoy: AttachedEnvoy) -> None:
        """Watch another epoch from now on."""
        self._outcomes.append(self._outcome(self._envoy.exited()))
        self._arm.add(arm)
        self._envoys.append(envoy)
        self._asked = Asked(envoy, envoy.admin is not None, float("inf"))
        self._emitted, self._changed_s = -1, time.monotonic()

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

    def _witness(self, envoy: AttachedEnvoy, *, asks_envoy: bool) -> Witness:
        """Return what the kernel says now, and Envoy itself if it is asked."""
        self._arm.drain(_DRAIN_S)
        get = envoy.admin_get if asks_envoy and envoy.admin is not None else None
        others = namespaces_of(envoy.listeners)
        return take_witness(envoy.pid, envoy.in_netns, get, others, self._arm.options())

    def _end_phase(self, end: Exit | None, *, by_epoch: bool = False) -> None:
        """End a phase: it is named by what has changed since the one before."""
        outcome = self._outcome(end)
        witness = None
        if outcome.running:
            # The address of an admin endpoint is handed on to the next epoch.
            witness = self._witness(self._envoy, asks_envoy=not by_epoch)
        number, kind = len(self._phases), self._kind()
        self._phases.append(
            Phase(
                name=f"{kind}_{number}" if number else STARTUP,
                kind=kind if number else STARTUP,
                begin_ns=self._phases[-1].end_ns + 1 if number else self._envoy.began_ns,
                end_ns=monotonic_ns(),
                outcome=outcome,
                witness=witness,
                listeners=self._listeners(witness),
                envoys=self._members(outcome, witness),
            )
        )
        self._before = (len(self._envoys), self._addresses())
        self._emitted_at_end = self._arm.emitted()
        self._phase_ended(self._phases[-1].name)

    def _kind(self) -> str:
        """Return what has been seen since the end of the last phase, in a word."""
        envoys, before = self._before
        now = self._addresses()
        if len(self._envoys) > envoys:
            return "epoch"
        return "added" if now - before else "removed" if before - now else "changed"

    def _addresses(self) -> frozenset[str]:
        """Return what is listened on now."""
        listening = () if self._graph is None else self._graph.listening()
        return frozenset(
            f"{socket.protocol_name} {socket.address}"
            for socket in listening
            if socket.is_live and not socket.is_hot_restart
        )

    def _members(self, outcome: Outcome, witness: Witness | None) -> tuple[Member, ...]:
        """Return all Envoys of a hot restart as they are now; () if there is one alone."""
        if len(self._envoys) == 1:
            return ()
        found = []
        for number, envoy in enumerate(self._envoys):
            name = f"epoch_{envoy.arguments.restart_epoch}" if number else FIRST
            own, account = outcome, witness
            if envoy is not self._envoy:
                end = envoy.exited()
                own = self._outcomes[number]
                if end is not None:
                    own = replace(own, exit_code=end.exit_code, signal=end.signal)
                account = self._witness(envoy, asks_envoy=False) if own.running else None
            workers = max(1, envoy.arguments.concurrency or 0)
            found.append(Member(name, envoy.pid, workers, own, account))
        return tuple(found)

    def _finished(self, end: Exit | None) -> Trace:
        """Return all that was recorded up to now, with what can be learned of Envoy itself."""
        outcome = self._outcome(end)
        witness = None
        if outcome.running and not self._phases:
            witness = self._witness(self._envoy, asks_envoy=True)
        until_ns = monotonic_ns()
        self._arm.drain(_DRAIN_S)
        trace = self._trace(outcome, witness)
        symbols = symbolize(trace.events, (), [envoy.executable for envoy in self._envoys])
        # Last: what it takes to learn its version may be a question that is recorded.
        header = replace(trace.header, envoy=self._envoys[0].identity)
        return replace(trace, header=header, symbols=symbols, second=self._first.second(until_ns))

    def _trace(self, outcome: Outcome, witness: Witness | None = None) -> Trace:
        snapshot = self._arm.snapshot()
        first, phases = self._envoys[0], tuple(self._phases)
        known = phases[0].listeners if phases else None
        header = Header(
            run_id=self._arm.run_id,
            launcher=ATTACHED,
            concurrency=self._concurrency(witness),
            kernel=platform.release(),
            listeners=known or self._listeners(witness),
            unobserved=self._arm.unobserved,
            tracer=self._arm.tracer,
            steps=tuple(phase.name for phase in phases[1:]),
            began_ns=first.began_ns,
            where={} if first.place is None else first.place.as_header(node_name()),
            inner_pids={k: v for envoy in self._envoys for k, v in envoy.inner_pids.items()},
            config=first.config,
        )
        end = end_of(snapshot, outcome, "")
        return Trace(header, snapshot.events, end, witness, phases)

    def _concurrency(self, witness: Witness | None) -> int:
        """Return the number of workers: as it was asked for, or else as Envoy says."""
        asked = self._envoys[0].arguments.concurrency
        if asked is not None:
            return max(1, asked)
        account = next((one.envoy for one in self._accounts(witness) if one.envoy), None)
        return 0 if account is None else account.stats.get("server.concurrency", 0)

    def _accounts(self, witness: Witness | None) -> Iterator[Witness]:
        found = [*(phase.witness for phase in self._phases[:1]), witness]
        yield from (one for one in found if one is not None)

    def _listeners(self, witness: Witness | None) -> tuple[ListenerRecord, ...]:
        """Return the listeners of its config, and those that it has from elsewhere."""
        known = self._envoy.listeners
        account = None if witness is None else witness.envoy
        if account is None or self._graph is None or not self._envoy.discovers:
            return known
        listed = {one.name for one in account.listeners}
        # What came from a file may have been removed since.
        kept = tuple(one for one in known if one.kind != "lds" or one.name in listed)
        names = {record.name for record in kept}
        graph = self._graph
        more = (listener_record(one, graph) for one in account.listeners if one.name not in names)
        return (*kept, *more)

    def _notes(self, trace: Trace) -> tuple[str, ...]:
        notes = [self._envoy.note] if self._envoy.note else []
        if not trace.header.concurrency:
            notes.append("its number of workers is not known: --concurrency was not given to it")
        return tuple(notes)


def _path(event: Event) -> str:
    return str(event.args["filename"] or "")
