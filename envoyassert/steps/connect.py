"""Clients of a listener: every attempt is made once, and told as it went."""

from __future__ import annotations

import contextlib
import time

from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.judge.selection import select
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.steps.step import phase_name
from envoyassert.scenario.steps.traffic import ConnectStep, TalkStep
from envoyassert.steps.base import DrivenEnvoy, StepProblem, StepResult, observed_now, wait_until
from envoyassert.steps.client import Client


def connect(envoy: DrivenEnvoy, step: ConnectStep, deadline_s: float) -> StepResult:
    """Connect so many times, then wait until all connections were accepted."""
    wish = step.connect
    protocol, address = target_of(envoy, wish.listener)
    began_ns = time.monotonic_ns()
    end_s = time.monotonic() + deadline_s
    attempts = []
    held = envoy.clients.setdefault(phase_name(step) or "", [])
    for _ in range(wish.times):
        client = Client(protocol, address, f"/proc/{envoy.pid}/root")
        with contextlib.ExitStack() as stack:
            stack.callback(client.close)
            attempt = client.attempt(envoy.in_netns, wish.send, end_s)
            if wish.held and attempt.ok:
                stack.pop_all()
                envoy.hold(client)
                held.append(client)
        attempts.append(client.last)
    made = sum(attempt.ok for attempt in attempts)
    if protocol != "UDP" and made:
        listener = _accepting(envoy, wish.listener, address)
        accepted = _Accepted(envoy, listener, began_ns, made)
        wait_until(envoy, max(0.0, end_s - time.monotonic()), accepted.all)
    return StepResult(attempts=tuple(attempts))


def talk(envoy: DrivenEnvoy, step: TalkStep, deadline_s: float) -> StepResult:
    """Send over every connection that a step before holds, and wait for the answers."""
    wish = step.talk
    clients = envoy.clients.get(wish.over, [])
    if not clients:
        raise StepProblem(f"the step {wish.over} made no connection that it could hold")
    end_s = time.monotonic() + deadline_s
    return StepResult(
        attempts=tuple(client.talk(wish.send, end_s, wish.batch) for client in clients)
    )


def target_of(envoy: DrivenEnvoy, selector: Selector) -> tuple[str, Address]:
    """Return protocol and address of a listener: as it was bound, else as it is configured.

    Raises:
        StepProblem: it has no address that is known.
    """
    trace = observed_now(envoy)
    found = select(selector, fold(trace), envoy.listeners, total=True)
    if found.problem:
        raise StepProblem(found.problem)
    for bound in reversed(found.sockets):
        if bound.address is not None:
            return bound.protocol_name, bound.address
    for record in envoy.listeners:
        for address in record.addresses:
            if record.name == selector.name or (selector.port and address.port == selector.port):
                return record.protocol, address
    if selector.address is not None and isinstance(selector.port, int):
        # Nobody has it, or somebody who is no listener by the config: the client will tell.
        return selector.protocol or "TCP", Address.inet(selector.address, selector.port)
    raise StepProblem(f"no socket was bound for {selector}, and the config names no address for it")


def _accepting(envoy: DrivenEnvoy, asked: Selector, address: Address) -> Selector:
    """Return which listener accepts the connections to an address."""
    for rule in envoy.redirects:
        if address == Address.inet(rule.address, rule.port):
            return Selector(port=rule.to)
    return asked


class _Accepted:
    """Whether so many connections to a listener were accepted since the step began."""

    def __init__(self, envoy: DrivenEnvoy, listener: Selector, since_ns: int, wanted: int) -> None:
        self._envoy = envoy
        self._listener = listener
        self._since_ns = since_ns
        self._wanted = wanted
        self._emitted = -1

    def all(self) -> bool:
        """Ask once."""
        emitted = self._envoy.emitted()
        if emitted == self._emitted:
            return False
        self._emitted = emitted
        trace = observed_now(self._envoy)
        graph = fold(trace)
        found = select(self._listener, graph, self._envoy.listeners, total=True)
        listening = {id(one) for one in found.sockets}
        accepted = [
            one
            for one in graph.sockets
            if id(one.accepted_from) in listening and one.born.ts_ns >= self._since_ns
        ]
        # Its first registration tells who handles it, and comes a moment after it was accepted.
        settled = sum(any(d.registrations or d.closed_ns for d in a.descriptors) for a in accepted)
        return settled >= self._wanted
