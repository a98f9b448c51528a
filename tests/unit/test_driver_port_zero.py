"""Steps about a listener of which it is not known which its sockets are (port 0)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest

from envoyassert.driver.base import DrivenEnvoy
from envoyassert.driver.connect import target_of
from envoyassert.driver.wait_for import WaitForDriver
from envoyassert.scenario.selector import Selector
from envoyassert.steps.base import StepProblem
from envoyassert.steps.wait_for import WaitForStep
from envoyassert.testing import parse_address
from envoyassert.trace import Trace
from tests.unit.test_judge_port_zero import A, B, Run

SERVED = {"state": {"listener": {"name": "b"}, "served": True}}
OPEN = r"^several listeners ask for 127\.0\.0\.1:0, "
LISTENED = {"call": {"call": "listen", "listener": {"name": "b"}}}


def added(*, sockets: int = 1, is_served: bool) -> Trace:
    """B was added at the address of A, with so many ports: Envoy does not list it, as it warms."""
    run = Run(A)
    run.ask(1001, 11)
    run.phase("startup", A, a=1001)
    made = [(run.socket(run.main), 1002 + number) for number in range(sockets)]
    for fd, port in made:
        run.bind(run.main, fd, "127.0.0.1:0")
        address = parse_address(f"127.0.0.1:{port}")
        run.call(run.main, "getsockname", 0, fd=fd, address=address)
    run.phase("push", A, B, a=1001)
    if is_served:
        fd, _ = made[-1]
        run.listen(run.main, fd, 22)
        run.epoll_add(run.worker(0), fd)
    return run.build()


def carried_out(condition: dict[str, Any], *seen: Callable[[], Trace]) -> str:
    """Return what a step missed that sees these traces, one after the other."""
    traces = iter(seen)
    now: list[Trace] = []

    def observed() -> Trace:
        now[:] = [trace() for trace in [next(traces, None)] if trace] or now
        return now[0]

    envoy = SimpleNamespace(
        emitted=count().__next__,
        observed=observed,
        listeners=(A, B),
        plan=SimpleNamespace(workers=1, admin=None),
        acted_ns=0,
        started=lambda: 1,
        exited=lambda _: None,
    )
    step = WaitForStep.model_validate({"wait_for": condition})
    return WaitForDriver(cast(DrivenEnvoy, envoy)).carry_out(step, 0.05).missed


@pytest.mark.parametrize("condition", [SERVED, LISTENED], ids=["state", "call"])
def test_it_is_waited_for_what_may_be_its_socket(condition: dict[str, Any]) -> None:
    before, after = (lambda: added(is_served=False)), (lambda: added(is_served=True))
    assert carried_out(condition, before, before, after) == ""


@pytest.mark.parametrize("condition", [SERVED, LISTENED], ids=["state", "call"])
def test_what_does_not_come_in_time_is_not_missed_but_open(condition: dict[str, Any]) -> None:
    with pytest.raises(StepProblem, match=OPEN):
        carried_out(condition, lambda: added(is_served=False))


def test_each_that_may_be_its_socket_must_be_served() -> None:
    with pytest.raises(StepProblem, match=OPEN):
        carried_out(SERVED, lambda: added(sockets=2, is_served=True))


def test_client_goes_to_no_socket_that_may_be_another_listener_s() -> None:
    trace = added(is_served=True)
    envoy = SimpleNamespace(
        observed=lambda: trace, listeners=(A, B), plan=SimpleNamespace(steps=()), started=lambda: 1
    )
    assert target_of(cast(DrivenEnvoy, envoy), Selector(name="a"))[1].port == 1001
    with pytest.raises(StepProblem, match=OPEN):
        target_of(cast(DrivenEnvoy, envoy), Selector(name="b"))
