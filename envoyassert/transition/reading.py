"""What happened, read from the traces of the runs of a change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence

from envoyassert.graph.fold import fold
from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.judge.certificate import certify
from envoyassert.naming import ListenerRecord
from envoyassert.predict.effects import Kind, Way
from envoyassert.report.envoy_log import said_lines
from envoyassert.steps.update_listeners import refusal_of
from envoyassert.texts.facts import text
from envoyassert.texts.findings import outcome_in_words
from envoyassert.trace import ConnectionAttempt, Outcome, Phase, Trace
from envoyassert.transition import scenario as s
from envoyassert.transition.clients import Clients, clients_of, gap_of
from envoyassert.transition.observed import Observed, ObservedListener, ObservedPlace, Spread
from envoyassert.transition.owned import Owned, listens_at
from envoyassert.transition.sides import Place
from envoyassert.words.of_listener.connections import chance_range, rarity

#: How rare a spread over workers is that chance is not taken for.
FALSE_ALARM = 0.001
#: Calls by which main takes sockets over, and by which the new form of a listener serves them.
_MAKING, _SERVING = ("dup", "dup2", "dup3", "fcntl"), ("listen", "epoll_ctl")


def observed_of(transition: s.Transition, run: Trace, queue: Trace | None) -> Observed:
    """Return what the traces of a change's runs show.

    Args:
        transition: what was run.
        run: the trace of its run with clients that keep coming.
        queue: that of the run with clients that wait; None if there was none.
    """
    graph = fold(run)
    phases = {phase.name: phase for phase in run.phases}
    changed = phases.get(s.CHANGE)
    answer, words = _answer(transition, changed)
    workers = (run.header.concurrency, _workers_after(run))
    story = _Story(transition, run, queue, graph, answer, words)
    return Observed(
        transition.way,
        run.header.envoy.version,
        workers,
        tuple(story.listeners(workers)),
        answer,
        words,
        _problem(run, queue),
        tuple(_missing(run, graph, queue, answer)),
        transition.notes,
    )


def _workers_after(run: Trace) -> int:
    last = run.phases[-1].envoys if run.phases else ()
    return max(1, last[-1].concurrency) if last else run.header.concurrency


def _answer(transition: s.Transition, changed: Phase | None) -> tuple[str, str]:
    """Return what Envoy made of the change as a whole, and what it said."""
    if changed is None:
        return "", ""
    if transition.way is Way.PUSH and changed.outcome.running:
        return (changed.update.result, changed.update.message) if changed.update else ("", "")
    if changed.outcome.running and changed.outcome.live is False:
        within = f"it is not ready within {changed.outcome.deadline_s:g} s"
        said = " ".join(line.strip() for line in said_lines(changed.outcome))
        return "late", f"{within}: {said}" if said else within
    if changed.outcome.running:
        return "started", ""
    return "ended", _end_words(changed.outcome)


def _end_words(outcome: Outcome) -> str:
    said = " ".join(line.strip() for line in said_lines(outcome))
    return said or outcome_in_words(outcome)


def _problem(run: Trace, queue: Trace | None) -> str:
    """Return why a run is not as it was planned; a change that Envoy refuses is no such reason."""
    for trace in (run, queue):
        if trace is None:
            continue
        if trace.phases and not trace.phases[0].outcome.running:
            return f"OLD does not start: {_end_words(trace.phases[0].outcome)}"
        if not trace.phases:
            return "OLD does not start"
        for phase in trace.phases:
            refused = phase.attempts and not any(one.ok for one in phase.attempts)
            if refused and phase.name.startswith(s.HELD):
                place = phase.attempts[0].address
                return f"OLD has no client at {place}: nothing listens there before the change"
            if phase.problem:
                return f"{phase.name}: {phase.problem}"
            if phase.missed and phase.name not in (s.CHANGE, s.STOP):
                return f"{phase.name}: Envoy did not do what was waited for: {phase.missed}"
    return ""


def _missing(run: Trace, graph: SocketGraph, queue: Trace | None, answer: str) -> Iterator[str]:
    yield from (text(check.found) for check in certify(run, graph).missing)
    if queue is None:
        return
    lacks = [text(check.found) for check in certify(queue, fold(queue)).missing]
    taken = answer in ("ack", "nack", "started")
    asked = any(phase.name.startswith(s.QUEUE_ANSWERED) for phase in queue.phases)
    if taken and queue.phases and not asked:
        lacks.append(f"clients were not asked: {_end_words(queue.phases[-1].outcome)}")
    yield from (f"in the run with full queues: {words}" for words in lacks)


class _Story:
    """The listeners of a change in its traces."""

    def __init__(
        self,
        transition: s.Transition,
        run: Trace,
        queue: Trace | None,
        graph: SocketGraph,
        answer: str,
        words: str,
    ) -> None:
        self._transition = transition
        self._graph = graph
        self._words = words
        self._phases = {phase.name: phase for phase in run.phases}
        self._waited = {phase.name: phase for phase in queue.phases} if queue else {}
        first = self._phases.get(s.STOP) or self._phases.get(s.CHANGE)
        last = self._phases.get(s.CHANGE) or first
        self._began_ns = first.begin_ns if first else 0
        self._over_ns = last.end_ns if last else run.end.ended_ns
        self._answer = answer
        # A socket that is handed over may be waited for a moment later.
        asked = [phase for name, phase in self._phases.items() if name.startswith(s.AFTER)]
        self._asked_ns = max((phase.end_ns for phase in asked), default=self._over_ns)
        self._owned = Owned(transition, run, graph, self._began_ns, self._over_ns)

    def listeners(self, workers: tuple[int, int]) -> Iterator[ObservedListener]:
        """Yield the listeners of OLD, then those that only NEW has."""
        old = {record.name: record for record in self._transition.old}
        new = {record.name: record for record in self._transition.new}
        for name in dict.fromkeys((*old, *new)):
            yield self._listener(name, old.get(name), new.get(name), workers)

    def _listener(
        self,
        name: str,
        old: ListenerRecord | None,
        new: ListenerRecord | None,
        workers: tuple[int, int],
    ) -> ObservedListener:
        refused = self._refusal(name)
        # A listener that is refused is as it was, whoever has the addresses that it asked for.
        before = self._owned.before(old)
        after = before if refused else self._owned.after(new)
        mine = {socket.number: socket for socket in (*before, *after)}
        were = {socket.number for socket in before} & self._owned.known
        are = {socket.number for socket in after} & self._owned.listening
        kept = (were if old is not None else are & self._owned.known) & self._owned.listening
        closed, made = were - kept, are - self._owned.known
        serving = [mine[n] for n in were | are if listens_at(mine[n], self._asked_ns)]
        ports = {socket.address.port for socket in mine.values() if socket.address}
        places = []
        for number, one in enumerate(self._transition.places):
            was = self._owned.has_clients_before(old, one)
            asks = self._owned.has_clients_after(new, one)
            if was or (asks and (not refused or one.listener == name)):
                is_ = asks or (bool(refused) and was)
                places.append(self._place(number, one, ports, old=was, new=is_))
        after_change = self._spread(after, workers[1], self._over_ns, None)
        balanced = None
        if name in self._transition.balanced and after_change:
            balanced = max(after_change.numbers) - min(after_change.numbers) <= 1
        return ObservedListener(
            name,
            self._transition.way,
            old.addresses if old else (),
            new.addresses if new else (),
            self._kind(old, new, mine.values(), (were, are), refused),
            len(kept),
            len(closed),
            len(made),
            tuple(places),
            sum(not _workers_at(one, self._asked_ns) for one in serving),
            self._spread(before, workers[0], None, self._began_ns),
            after_change,
            refused,
            balanced,
        )

    def _refusal(self, name: str) -> str:
        """Return what Envoy said of a listener that it refused."""
        if self._answer in ("ended", "late"):
            return self._words
        names = {one.name for one in (*self._transition.old, *self._transition.new)}
        if self._answer == "nack" and not any(refusal_of(one, self._words) for one in names):
            return self._words  # the update as a whole
        return refusal_of(name, self._words)

    def _kind(
        self,
        old: ListenerRecord | None,
        new: ListenerRecord | None,
        sockets: Iterable[KernelSocket],
        numbers: tuple[set[int], set[int]],
        refused: str,
    ) -> Kind:
        if refused:
            # The epoch before goes on; after a restart there is none.
            pushed = self._answer not in ("ended", "late")
            goes_on = pushed or self._transition.way is Way.HOT_RESTART
            return Kind.REFUSED if goes_on else Kind.ENDS_ENVOY
        were, are = numbers
        pushed = self._transition.way is Way.PUSH
        asked = any(one.born.ts_ns >= self._began_ns for one in sockets)
        if new is not None and new.addresses and not are and (asked or (pushed and were)):
            again = old is not None and old.addresses and not were and not pushed
            return Kind.SAME if again else Kind.DROPPED
        if old is None or new is None:
            return Kind.ADDED if old is None else Kind.REMOVED
        kept = were & self._owned.listening
        moved = pushed and new.addresses and were != are  # one that is not bound names no socket
        if were - kept or are - self._owned.known or moved:
            # Of the next epoch it is by the numbers of workers that some are kept and some not.
            return Kind.FULL_KEPT if kept and not pushed else Kind.FULL_NEW
        made = self._calls(sockets, _MAKING)
        if not pushed or self._calls(sockets, _SERVING):
            return Kind.FULL_KEPT
        return Kind.IN_PLACE if made else Kind.SAME

    def _calls(self, sockets: Iterable[KernelSocket], names: Sequence[str]) -> bool:
        return any(
            call.event.call in names and self._began_ns <= call.event.ts_ns <= self._over_ns
            for socket in sockets
            for call in socket.calls
        )

    def _place(
        self, number: int, place: Place, ports: Container[int | None], *, old: bool, new: bool
    ) -> ObservedPlace:
        """Return the clients of a place: those before the change are of OLD's listener there."""
        stopping, changing = (self._coming(place, name, ports) for name in (s.STOP, s.CHANGE))
        coming = [*stopping, *changing]
        after = self._phases.get(f"{s.AFTER}_{number}")
        came = after.attempts if after else ()
        moved = place.old and place.new and not (old and new)
        later = Clients() if moved and not new else clients_of(came)
        if moved and not old:
            return ObservedPlace(place, after=later)
        queued = self._waited.get(f"{s.QUEUE_ANSWERED}_{number}")
        return ObservedPlace(
            place,
            through=clients_of(coming),
            held=self._clients(f"{s.MEANWHILE}_{number}"),
            late=self._clients(f"{s.LATE}_{number}"),
            queued=clients_of(queued.attempts) if queued else None,
            after=later,
            gap=gap_of(stopping, changing, after=came) if coming else None,
        )

    def _clients(self, name: str) -> Clients:
        return clients_of(self._phases[name].attempts) if name in self._phases else Clients()

    def _coming(
        self, place: Place, name: str, ports: Container[int | None]
    ) -> list[ConnectionAttempt]:
        """Return the clients of a place that keep coming in a phase, by the listener's ports."""
        if name not in self._phases:
            return []
        wanted = "UDP" if place.protocol == "QUIC" else place.protocol
        found = [one for one in self._phases[name].attempts if one.protocol == wanted]
        if place.address.port != 0:
            return [one for one in found if one.address == self._owned.here(place.address)]
        return [
            one
            for one in found
            if one.address.host == place.address.host and one.address.port in ports
        ]

    def _spread(
        self, sockets: Iterable[KernelSocket], workers: int, since: int | None, until: int | None
    ) -> Spread | None:
        """Return how the connections that were accepted in a time are spread."""
        mine = {id(one): one for one in sockets}
        counts = Counter(
            role
            for one in self._graph.sockets
            if id(one.accepted_from) in mine
            and (since is None or one.born.ts_ns > since)
            and (until is None or one.born.ts_ns < until)
            for role in _handler(one)
        )
        if not counts or not workers:
            return None
        numbers = tuple(counts[f"worker_{index}"] for index in range(workers))
        at = self._began_ns if since is None else since
        open_ = [one for one in mine.values() if listens_at(one, at)]
        if len({one.address for one in open_}) == len(open_):
            return Spread(numbers)  # one queue for all workers: who is first accepts
        total = sum(numbers)
        bounds = chance_range(total, workers, FALSE_ALARM)
        return Spread(numbers, float(rarity(numbers)), bounds)


def _workers_at(socket: KernelSocket, ns: int) -> bool:
    """Whether some worker waits for a socket at an instant."""
    return any(
        thread.role != "main"
        for descriptor in socket.descriptors
        for registration in descriptor.registrations
        if registration.since_ns <= ns
        if registration.until_ns is None or registration.until_ns > ns
        for thread in registration.epoll.waiters
    )


def _handler(connection: KernelSocket) -> Iterator[str]:
    """Yield the role of the thread in whose epoll a connection was registered first."""
    registrations = [r for d in connection.descriptors for r in d.registrations]
    if registrations:
        first = min(registrations, key=lambda one: one.since_ns)
        yield from (thread.role for thread in first.epoll.waiters[:1])
