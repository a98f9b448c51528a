"""Clients that keep coming during a step, on sockets of this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.driver.load import RunningLoad
from envoyassert.steps.base import StepProblem
from envoyassert.steps.ending import SignalStep
from envoyassert.steps.load import Load
from envoyassert.trace import ConnectionAttempt

LOCAL = "127.0.0.1"
AROUND = 3
LOAD_OF_ONE = {"listener": {"port": 15006}, "send": "hello"}
CLIENTS = 2


class Here:
    """An Envoy whose network is that of this test."""

    pid = 1

    def in_netns(self, call: Callable[[], Any], netns: str = "", /) -> Any:
        return call()


class Nowhere(Here):
    """One whose network has no sockets to spare."""

    def in_netns(self, call: Callable[[], Any], netns: str = "", /) -> Any:
        raise OSError(24, "Too many open files")


def load_on(port: int, envoy: Here | None = None, answer_within: float = 10) -> RunningLoad:
    item = Load.model_validate(
        {
            "listener": {"port": port},
            "send": "hello",
            "clients": CLIENTS,
            "per_second": 2000,
            "around": AROUND,
            "answer_within": answer_within,
        }
    )
    here: Any = envoy or Here()
    return RunningLoad(here, item, "TCP", Address.inet(LOCAL, port))


@contextlib.contextmanager
def server(answering: bool = True) -> Iterator[int]:
    """An echo until it is left, one client after the other; or one that accepts no one."""
    with socket.create_server((LOCAL, 0)) as listener:

        def run() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return  # shut down
                with peer, contextlib.suppress(ConnectionResetError):
                    peer.sendall(peer.recv(100))

        thread = threading.Thread(target=run)
        if answering:
            thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            if answering:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join(10)


def free_port() -> int:
    with socket.create_server((LOCAL, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def clients_since(attempts: tuple[ConnectionAttempt, ...], since_ns: int) -> int:
    return sum(attempt.began_ns > since_ns for attempt in attempts)


def test_load_makes_its_requests_before_the_step_and_after_it() -> None:
    with server() as port, load_on(port) as load:
        began_ns = time.monotonic_ns()
        # What the step does takes no time at all: the requests after it are still made.
        attempts = load.finish()
    assert len(attempts) - clients_since(attempts, began_ns) >= CLIENTS * AROUND
    assert clients_since(attempts, began_ns) >= CLIENTS * AROUND
    assert all(attempt.first_byte and not attempt.errno for attempt in attempts)
    assert list(attempts) == sorted(attempts, key=lambda attempt: attempt.began_ns)


def test_server_that_goes_away_during_the_step_is_reported_request_by_request() -> None:
    with contextlib.ExitStack() as left, contextlib.ExitStack() as serving:
        port = serving.enter_context(server())
        load = left.enter_context(load_on(port))
        serving.close()
        attempts = load.finish()
    answered = [attempt.first_byte for attempt in attempts]
    assert answered.count(True) >= CLIENTS * AROUND
    assert answered.count(False) >= CLIENTS * (AROUND - 1)


def test_address_where_nothing_listens_is_refused_each_time_and_ends() -> None:
    with load_on(free_port()) as load:
        attempts = load.finish()
    assert {attempt.errno for attempt in attempts} == {"ECONNREFUSED"}
    assert len(attempts) >= 2 * CLIENTS * AROUND


def test_server_that_is_silent_is_waited_for_once_after_the_step() -> None:
    with server(answering=False) as port, load_on(port, answer_within=0.05) as load:
        over_ns = time.monotonic_ns()
        attempts = load.finish()
    assert {attempt.errno for attempt in attempts} == {"ETIMEDOUT"}
    assert clients_since(attempts, over_ns) <= 2 * CLIENTS


def test_clients_that_cannot_be_made_are_a_problem_of_the_step() -> None:
    with pytest.raises(StepProblem, match="Too many open files"), load_on(1, Nowhere()):
        pytest.fail("the step must not be carried out")


def test_load_that_is_left_early_ends() -> None:
    with server() as port, pytest.raises(KeyboardInterrupt), load_on(port):
        raise KeyboardInterrupt
    assert not [t for t in threading.enumerate() if t.name.startswith("envoyassert-load")]


def test_load_of_several_listeners_says_where_each_goes() -> None:
    wanted = [{"listener": {"port": port}, "send": "hello"} for port in (80, 81)]
    step = SignalStep.model_validate({"signal": "SIGTERM", "load": wanted})
    assert [load.listener.port for load in step.loads] == [80, 81]
    assert [path for path, _ in step.selectors()] == [
        *(("load", 0, "listener"), ("load", 1, "listener")),
    ]
    alone = SignalStep.model_validate({"signal": "SIGTERM", "load": wanted[0]})
    assert [path for path, _ in alone.selectors()] == [("load", "listener")]
    assert len(alone.loads) == 1
    assert SignalStep.model_validate({"signal": "SIGTERM"}).loads == ()


@pytest.mark.parametrize("given", [LOAD_OF_ONE, [LOAD_OF_ONE]])
def test_load_is_written_as_it_was_given(given: Any) -> None:
    """What a run gives to Envoy is noted in its trace; a warning would end the run."""
    step = SignalStep.model_validate({"signal": "SIGHUP", "load": given})
    assert step.model_dump(mode="json", exclude_unset=True)["load"] == given
