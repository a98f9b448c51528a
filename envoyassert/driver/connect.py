"""Clients of a listener: every attempt is made once, and recorded as it went."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

from envoyassert.addresses import Address
from envoyassert.clock import monotonic_ns
from envoyassert.driver.base import DrivenEnvoy, Driver, observed_now, wait_until
from envoyassert.driver.client import Client
from envoyassert.graph.fold import fold
from envoyassert.graph.lookup import unmapped
from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.judge.selection import parts_of, select
from envoyassert.launch.inside import proc_root
from envoyassert.scenario.destination import DestinationError, ListenerPlace, destination
from envoyassert.scenario.needs import redirected_places
from envoyassert.scenario.selector import Selector
from envoyassert.steps.base import StepProblem, StepResult
from envoyassert.steps.connect import ConnectStep, TalkStep
from envoyassert.texts.facts import text
from envoyassert.trace import ConnectionAttempt, ListenerRecord

_REACHED = ("TCP", "MPTCP", "UDP", "UNIX")


class ConnectDriver(Driver[ConnectStep]):
    """Connects clients; keeps those that are held."""

    step = ConnectStep

    def __init__(self, envoy: DrivenEnvoy, steps: Sequence[ConnectStep] = ()) -> None:
        super().__init__(envoy, steps)
        #: The connections that are held, by the name of the step that made them.
        self.held: dict[str, list[Client]] = {}

    def carry_out(self, step: ConnectStep, deadline_s: float) -> StepResult:
        """Connect so many times, then wait until all connections were accepted."""
        envoy, wanted = self.envoy, step.connect
        protocol, address = target_of(envoy, wanted.listener)
        began_ns = monotonic_ns()
        end_s = time.monotonic() + deadline_s
        attempts = []
        held = self.held.setdefault(step.phase, [])
        for _ in range(wanted.times):
            client = Client(protocol, address, proc_root(envoy.pid, address.path or "/"))
            with contextlib.ExitStack() as stack:
                stack.callback(client.close)
                attempt = client.attempt(envoy.in_netns, wanted.send, end_s)
                if wanted.held and attempt.ok:
                    stack.pop_all()
                    envoy.hold(client)
                    held.append(client)
            attempts.append(client.last)
        quiet = [one for one in attempts if one.end in ("held", "closed") and not one.first_byte]
        if protocol != "UDP" and quiet:
            accepted = _Accepted(envoy, began_ns, quiet)
            wait_until(envoy, max(0.0, end_s - time.monotonic()), accepted.all)
        return StepResult(attempts=tuple(attempts))


class TalkDriver(Driver[TalkStep]):
    """Sends over connections that a step before holds."""

    step = TalkStep

    def carry_out(self, step: TalkStep, deadline_s: float) -> StepResult:
        """Send over every one of them, and wait for the answers."""
        wanted = step.talk
        clients = self.envoy.driver(ConnectDriver).held.get(wanted.over, [])
        if not clients:
            raise StepProblem(f"the step {wanted.over} made no connection that it could hold")
        end_s = time.monotonic() + deadline_s
        return StepResult(
            attempts=tuple(client.talk(wanted.send, end_s, wanted.batch) for client in clients)
        )


def target_of(envoy: DrivenEnvoy, selector: Selector) -> tuple[str, Address]:
    """Return by which protocol, and where to, the clients of a selector go.

    Raises:
        StepProblem: it does not say where, or a port that the kernel was to choose is not known.
    """
    records = _records(envoy)
    graph = fold(observed_now(envoy))
    standing = [socket for socket in graph.listening() if socket.is_open_to_clients]
    places = [
        *_places(records, graph),
        *(place for socket in standing for place in _place_of(socket)),
        *redirected_places(envoy.plan.steps),
    ]
    names = {record.name for record in records}
    try:
        try:
            protocol, address = destination(selector, places, names)
        except DestinationError as error:
            if error.ambiguous:
                raise
            # What was there and is no more: whoever goes there is refused.
            gone = [place for socket in graph.candidates for place in _place_of(socket)]
            protocol, address = destination(selector, [*places, *gone], names)
    except DestinationError as error:
        raise StepProblem(str(error)) from error
    if address.port == 0:
        found = select(selector, graph, records, total=True)
        if found.possible:
            raise StepProblem(text(found.problem))
        raise StepProblem(f"no socket was bound for {selector}, so its port is not known")
    return protocol, address


def _records(envoy: DrivenEnvoy) -> tuple[ListenerRecord, ...]:
    """Return the listeners that names stand for: of several Envoys those of the last one first."""
    own = envoy.plan.listeners if envoy.started() > 1 else ()
    names = {record.name for record in own}
    return (*own, *(record for record in envoy.listeners if record.name not in names))


def _places(records: tuple[ListenerRecord, ...], graph: SocketGraph) -> Iterator[ListenerPlace]:
    """Yield the addresses of listeners, with the ports that the kernel chose."""
    for record in records:
        for part in parts_of(record, graph, records):
            protocol = record.protocol_at(part.address)
            # A push or a restart may have made others, on another port.
            standing = [s for s in part.sockets if s.is_open_to_clients] or part.sockets
            learned = {s.address for s in standing if s.address is not None and s.address.port}
            if part.address.port != 0 or not learned:
                yield ListenerPlace(record.name, protocol, part.address, part.address, part.rank)
                continue
            for address in learned:
                yield ListenerPlace(record.name, protocol, part.address, address)


def _place_of(socket: KernelSocket) -> Iterator[ListenerPlace]:
    if socket.address is not None and socket.protocol_name in _REACHED:
        protocol = "TCP" if socket.protocol_name == "MPTCP" else socket.protocol_name
        yield ListenerPlace("", protocol, socket.address, socket.address)


class _Accepted:
    """Whether connections that clients made were accepted, whoever's socket they came to.

    Args:
        envoy: the Envoy.
        since_ns: when the step began.
        attempts: connections of which nothing came back: an answer would show it already.
    """

    def __init__(
        self, envoy: DrivenEnvoy, since_ns: int, attempts: Sequence[ConnectionAttempt]
    ) -> None:
        self._envoy = envoy
        self._since_ns = since_ns
        self._wanted = Counter(map(_caller, attempts))
        self._emitted = -1

    def all(self) -> bool:
        """Ask once."""
        emitted = self._envoy.emitted()
        if emitted == self._emitted:
            return False
        self._emitted = emitted
        accepted = Counter(
            _peer(one)
            for one in fold(observed_now(self._envoy)).sockets
            if one.accepted_from is not None
            and one.born.ts_ns >= self._since_ns
            # Its first registration shows who handles it, and comes a moment after.
            and any(d.registrations or d.closed_ns for d in one.descriptors)
        )
        return not self._wanted - accepted


def _caller(attempt: ConnectionAttempt) -> Hashable:
    """Return what identifies a connection: a client's own port, else the socket's name."""
    local = attempt.local
    return attempt.address.place if local is None else (unmapped(local.host), local.port)


def _peer(accepted: KernelSocket) -> Hashable:
    """Return the same, as accept() showed it."""
    peer: Address | None = accepted.born.args["address"]
    if peer is not None and peer.is_ip:
        return unmapped(peer.host), peer.port
    listener = accepted.accepted_from
    return None if listener is None or listener.address is None else listener.address.place
