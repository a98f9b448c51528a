"""Clients of a listener: every attempt is made once, and told as it went."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from dataclasses import replace

from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.judge.selection import select
from envoyassert.scenario.steps.traffic import Connect, ConnectStep
from envoyassert.steps.base import DrivenEnvoy, StepProblem, StepResult, wait_until
from envoyassert.trace import ConnectionAttempt

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced, never bound


def connect(envoy: DrivenEnvoy, step: ConnectStep, deadline_s: float) -> StepResult:
    """Connect so many times, then wait until all connections were accepted."""
    wish = step.connect
    protocol, address = _target(envoy, wish)
    began_ns = time.monotonic_ns()
    end_s = time.monotonic() + deadline_s
    attempts = []
    for _ in range(wish.times):
        client = _Client(protocol, address, envoy.pid)
        attempt = client.attempt(envoy, wish, end_s)
        if wish.held and client.connected:
            envoy.hold(client)
        else:
            client.close()
        attempts.append(attempt)
    made = sum(attempt.ok for attempt in attempts)
    if protocol != "UDP" and made:
        accepted = _Accepted(envoy, wish, began_ns, made)
        wait_until(envoy, max(0.0, end_s - time.monotonic()), accepted.all)
    return StepResult(attempts=tuple(attempts))


def _target(envoy: DrivenEnvoy, wish: Connect) -> tuple[str, Address]:
    """Return protocol and address of a listener: as it was bound, else as it is configured."""
    trace = envoy.observed()
    selector = wish.listener
    found = select(selector, fold(trace), trace.header.listeners, total=True)
    if found.problem:
        raise StepProblem(found.problem)
    for bound in reversed(found.sockets):
        if bound.address is not None:
            return bound.protocol_name, bound.address
    for record in trace.header.listeners:
        for address in record.addresses:
            if record.name == selector.name or (selector.port and address.port == selector.port):
                return record.protocol, address
    raise StepProblem(f"no socket was bound for {selector}, and the config names no address for it")


class _Client(contextlib.AbstractContextManager["_Client"]):
    """One connection."""

    def __init__(self, protocol: str, address: Address, pid: int) -> None:
        self._protocol = protocol
        self._address = address
        self._root = f"/proc/{pid}/root"
        self._socket: socket.socket | None = None
        self.connected = False

    def attempt(self, envoy: DrivenEnvoy, wish: Connect, end_s: float) -> ConnectionAttempt:
        """Try once."""
        began_ns = time.monotonic_ns()
        attempt = ConnectionAttempt(self._protocol, self._address, False, began_ns=began_ns)
        try:
            # Sockets belong to the namespace of the thread that makes them.
            made = self._socket = envoy.in_netns(self._made)
            made.settimeout(max(0.001, end_s - time.monotonic()))
            made.connect(self._place())
            self.connected = True
            attempt = replace(attempt, ok=True, end="held" if wish.held else "closed")
            attempt = replace(attempt, local=self._local(made))
            if wish.send is not None:
                attempt = _talk(made, wish.send, attempt)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "ETIMEDOUT")
            attempt = replace(attempt, errno=name, end="reset" if attempt.ok else "")
        return replace(attempt, ended_ns=time.monotonic_ns())

    def _made(self) -> socket.socket:
        kind = socket.SOCK_DGRAM if self._protocol == "UDP" else socket.SOCK_STREAM
        if not self._address.is_ip:
            return socket.socket(socket.AF_UNIX, kind)
        v6 = self._address.family == "AF_INET6"
        return socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, kind)

    def _place(self) -> tuple[str, int] | str:
        address = self._address
        if address.is_ip:
            return _WILDCARDS.get(address.host, address.host), address.port or 0
        if address.abstract is not None:
            return f"\0{address.abstract}"
        return f"{self._root}{address.path}"

    def _local(self, made: socket.socket) -> Address | None:
        if not self._address.is_ip:
            return None
        host, port = made.getsockname()[:2]
        return Address.inet(host, port)

    def close(self) -> None:
        """Close the connection. May be repeated."""
        if self._socket is not None:
            self._socket.close()

    def __exit__(self, *exception: object) -> None:
        self.close()


def _talk(made: socket.socket, text: str, attempt: ConnectionAttempt) -> ConnectionAttempt:
    """Send text, and wait for the first byte of an answer."""
    try:
        made.sendall(os.fsencode(text))
        answer = made.recv(1)
    except TimeoutError:
        return replace(attempt, errno="ETIMEDOUT")
    except OSError as error:
        return replace(attempt, errno=errno.errorcode.get(error.errno or 0, ""), end="reset")
    return replace(attempt, first_byte=True) if answer else replace(attempt, end="eof")


class _Accepted:
    """Whether so many connections to a listener were accepted since the step began."""

    def __init__(self, envoy: DrivenEnvoy, wish: Connect, since_ns: int, wanted: int) -> None:
        self._envoy = envoy
        self._wish = wish
        self._since_ns = since_ns
        self._wanted = wanted
        self._emitted = -1

    def all(self) -> bool:
        """Ask once."""
        emitted = self._envoy.emitted()
        if emitted == self._emitted:
            return False
        self._emitted = emitted
        trace = self._envoy.observed()
        graph = fold(trace)
        found = select(self._wish.listener, graph, trace.header.listeners, total=True)
        listening = {id(one) for one in found.sockets}
        accepted = [
            one
            for one in graph.sockets
            if id(one.accepted_from) in listening and one.born.ts_ns >= self._since_ns
        ]
        # Its first registration tells who handles it, and comes a moment after it was accepted.
        settled = sum(any(d.registrations or d.closed_ns for d in a.descriptors) for a in accepted)
        return settled >= self._wanted
