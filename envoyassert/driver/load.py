"""Clients that keep coming while a step is carried out: each request is made and recorded once."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from typing_extensions import Self

from envoyassert.addresses import Address
from envoyassert.driver.base import DrivenEnvoy
from envoyassert.driver.client import Client
from envoyassert.durations import parse_duration
from envoyassert.launch.inside import proc_root
from envoyassert.steps.load import Load
from envoyassert.trace import ConnectionAttempt


class RunningLoad(contextlib.AbstractContextManager["RunningLoad"]):
    """Clients that came before the step and go on until stopped; leaving it ends them.

    Args:
        envoy: whose network namespace they are in.
        wanted: how many there are, and what they do.
        protocol: `TCP`, `MPTCP`, `UDP` or `UNIX`.
        address: where to.
    """

    def __init__(self, envoy: DrivenEnvoy, wanted: Load, protocol: str, address: Address) -> None:
        self._envoy = envoy
        self._wanted = wanted
        self._protocol = protocol
        self._address = address
        self._answer_s = parse_duration(wanted.answer_within)
        self._pool = ThreadPoolExecutor(wanted.clients, "envoyassert-load")
        self._clients: list[Future[list[ConnectionAttempt]]] = []
        #: Set when the step is over, and when the rest is no longer needed.
        self._over = threading.Event()
        self._given_up = threading.Event()

    def __enter__(self) -> Self:
        """Begin; return when every client has made its requests from before the step.

        Raises:
            StepProblem: a client cannot even be made.
        """
        warmed = [threading.Event() for _ in range(self._wanted.clients)]
        try:
            self._clients = [
                self._pool.submit(self._run, number, event) for number, event in enumerate(warmed)
            ]
            for event, client in zip(warmed, self._clients, strict=True):
                event.wait()
                if client.done():
                    client.result()  # it ends before the step only by a problem
        except BaseException:
            self.__exit__()
            raise
        return self

    def let_end(self) -> None:
        """Say that the step is over: what each client does from now on is its last."""
        self._over.set()

    def finish(self) -> tuple[ConnectionAttempt, ...]:
        """Go on until every client has made its requests from after the step; return all.

        Raises:
            StepProblem: a client could not be made.
        """
        self.let_end()
        wait(self._clients)
        made: Iterable[ConnectionAttempt] = itertools.chain.from_iterable(
            client.result() for client in self._clients
        )
        return tuple(sorted(made, key=lambda attempt: attempt.began_ns))

    def __exit__(self, *exception: object) -> None:
        self._given_up.set()
        self._over.set()
        self._pool.shutdown()

    def _run(self, number: int, warmed: threading.Event) -> list[ConnectionAttempt]:
        """Be one client; its number spreads the first requests of all over their interval."""
        try:
            return self._requests(number, warmed)
        finally:
            warmed.set()  # whatever came of it, no thread may wait for this client for ever

    def _requests(self, number: int, warmed: threading.Event) -> list[ConnectionAttempt]:
        wanted = self._wanted
        apart_s = wanted.clients / wanted.per_second
        next_s = time.monotonic() + apart_s * number / wanted.clients
        attempts: list[ConnectionAttempt] = []
        after = 0
        while not self._given_up.wait(max(0.0, next_s - time.monotonic())):
            over = self._over.is_set()
            attempts.append(self._request())
            silent = attempts[-1].errno == "ETIMEDOUT"
            if silent or len(attempts) >= wanted.around:
                warmed.set()
            after += over
            if over and (silent or after >= wanted.around):
                break
            # One that was late begins no burst: requests are never closer than agreed.
            next_s = max(next_s + apart_s, time.monotonic())
        return attempts

    def _request(self) -> ConnectionAttempt:
        # Of several Envoys the last one: by way of it the file of a Unix socket is found.
        root = proc_root(self._envoy.pid, self._address.path or "/")
        client = Client(self._protocol, self._address, root)
        with client:
            client.attempt(
                self._envoy.in_netns, self._wanted.send, time.monotonic() + self._answer_s
            )
        return client.last
