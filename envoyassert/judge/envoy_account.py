"""Envoy's own account of its listeners and workers against the graph.

Envoy is no witness of the kernel: where the two differ, either the trace lacks something or Envoy
is wrong about itself, and the trace alone does not show which. So a difference leaves no PASS, and
takes away no FAIL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from envoyassert.accounts import EnvoyAccount, EnvoyListener
from envoyassert.addresses import Address
from envoyassert.fact import Fact
from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.judge.port_zero import listed_places, lists_namespaces
from envoyassert.judge.selection import means
from envoyassert.judge.settled import Settled
from envoyassert.scenario.selector import Selector
from envoyassert.trace import ListenerRecord, Trace

_MANAGER = "listener_manager"
_COMING_OR_GOING = ("draining", "warming")
#: envoy.admin.v3.ServerInfo.State: those that come before LIVE.
_INITIALIZING = {2: "PRE_INITIALIZING", 3: "INITIALIZING"}


def differences(
    trace: Trace,
    account: EnvoyAccount,
    graph: SocketGraph,
    pid: int = 0,
    unbacked: Sequence[Selector] = (),
) -> tuple[list[Fact], Fact]:
    """Compare what Envoy says of itself with the trace.

    Every address of an active listener has or had a socket; every socket that listens is a
    listener's or the admin endpoint's, unless Envoy counts listeners that come or go; there are as
    many workers as Envoy says.

    Args:
        trace: the trace, with the listeners by the config.
        account: what Envoy says.
        graph: what the trace folds into.
        pid: Envoy's process; 0 for any.
        unbacked: the listeners that the scenario states to be listed without a socket.

    Returns:
        What differs, with both sides, and what was compared.
    """
    settled = Settled(trace, graph, account.begun_ns, account.ts_ns)
    comparison = _Comparison(trace.header.listeners, account, settled, pid, unbacked)
    found = [*comparison.missing(), *comparison.unknown(), *comparison.workers()]
    state = account.stats.get("server.state", 0)
    if trace.end.outcome.live and state in _INITIALIZING:
        found.append(Fact("initializing_again", state=_INITIALIZING[state]))
    return found, comparison.compared()


class _Comparison:
    def __init__(
        self,
        records: tuple[ListenerRecord, ...],
        account: EnvoyAccount,
        settled: Settled,
        pid: int,
        unbacked: Sequence[Selector],
    ) -> None:
        self.account = account
        self.unbacked = unbacked
        self.settled = settled
        self.records = records
        shown = [
            descriptor.socket
            for descriptor, is_open in settled.descriptors()
            if pid in (0, descriptor.pid) and is_open.is_surely(True)
        ]
        self.open = list(dict.fromkeys(shown))
        self.pid = pid
        self._lists_namespaces = lists_namespaces(account)
        self._numbers = dict.fromkeys(("listener", "listening socket", "worker"), 0)
        self._stated = 0

    def missing(self) -> Iterator[Fact]:
        """Yield the addresses that Envoy says it is at, without a socket in the trace."""
        if any(not socket.places for socket in self._candidates()):
            return  # received from outside the trace: it may be at any address
        for listener in self.account.listeners:
            if not self._has_sockets(listener):
                continue
            self._numbers["listener"] += 1
            for address in listener.addresses:
                if self._was_open(address):
                    continue
                if any(means(selector, listener.name, address) for selector in self.unbacked):
                    self._stated += 1
                else:
                    yield Fact("said_without_socket", listener=listener.name, address=address)

    def unknown(self) -> Iterator[Fact]:
        """Yield the sockets that listen at an address of none of Envoy's listeners."""
        stats = self.account.stats
        moving = [stats.get(f"{_MANAGER}.total_listeners_{state}") for state in _COMING_OR_GOING]
        if any(count != 0 for count in moving):
            return  # Envoy lists the active ones alone
        known = {a for listener in self.account.listeners for a in listener.addresses}
        for record in self.records:
            if record.kind == "admin":
                known |= set(record.addresses)
        for socket in self.open:
            if not self.settled.listening(socket).is_surely(True) or not socket.places:
                continue
            if self.settled.is_closed_next(socket):
                continue  # Envoy has parted with it, and a thread has yet to close it
            self._numbers["listening socket"] += 1
            if known.isdisjoint(self._places(socket)):
                yield Fact("socket_not_said", address=socket.address)

    def workers(self) -> Iterator[Fact]:
        """Yield what differs in the number of workers."""
        said = self.account.stats.get("server.concurrency")
        if said is None or self.account.stats.get(f"{_MANAGER}.workers_started") != 1:
            return
        threads = [
            thread
            for thread in self.settled.graph.workers()
            if self.pid in (0, thread.pid)
            and (thread.created_ns is None or thread.created_ns <= self.account.ts_ns)
            and (thread.exited_ns is None or thread.exited_ns > self.account.ts_ns)
        ]
        self._numbers["worker"] = said
        # A worker that dies is Envoy's end; until then its threads are as many as it says.
        if len(threads) != said:
            yield Fact("workers_differ", envoy=said, trace=len(threads))

    def compared(self) -> Fact:
        """Return what was compared."""
        numbers = {what: number for what, number in self._numbers.items() if number}
        return Fact("envoy_compared", numbers=numbers, stated=self._stated)

    def _candidates(self) -> list[KernelSocket]:
        return [s for s in self.settled.graph.candidates if s.origin in ("scm_rights", "unknown")]

    def _has_sockets(self, listener: EnvoyListener) -> bool:
        """Whether a listener is known to have sockets of its own, by the config.

        Envoy lists a listener that is not bound to its port as well.
        """
        return self._bound.get(listener.name, False)

    @cached_property
    def _bound(self) -> dict[str, bool]:
        """Whether all listeners of a name have addresses, by the config."""
        found: dict[str, bool] = {}
        for record in self.records:
            if record.kind != "admin":
                found[record.name] = found.get(record.name, True) and bool(record.addresses)
        return found

    def _was_open(self, address: Address) -> bool:
        """Whether there is a socket at an address, or was one.

        Envoy goes on to list a listener that was drained by the admin endpoint and closed.
        """
        return address in self._ever

    @cached_property
    def _ever(self) -> set[Address]:
        return {a for socket in self.settled.graph.candidates for a in self._places(socket)}

    def _places(self, socket: KernelSocket) -> set[Address]:
        """Return the addresses of a socket as Envoy would list them."""
        return listed_places(socket, self._lists_namespaces)
