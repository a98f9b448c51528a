"""A pause: how long it takes, what ends it early, and what a scenario may say of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from envoyassert.driver.drivers import driver_of
from envoyassert.errors import ScenarioError
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.report.call import Clock
from envoyassert.report.story_parts import describe_steps
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.untrusted import refused
from envoyassert.steps.base import StepProblem, StepResult
from envoyassert.steps.pause import PauseStep
from envoyassert.testing import TraceBuilder
from envoyassert.trace import STARTUP, Trace

LISTENER = "127.0.0.1:15006"


class Program:
    """A program in Envoy's place, which ends by itself or when it is asked to."""

    def __init__(self, lasts_s: float) -> None:
        code = f"import sys, select; select.select([sys.stdin], [], [], {lasts_s})"
        self._process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)

    def exited(self, timeout_s: float = 0.0) -> object | None:
        try:
            return self._process.wait(timeout_s) or "ended"
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture
def lasting() -> Iterator[Program]:
    program = Program(600)
    yield program
    program.end()


def pause(program: Program, **fields: object) -> StepResult:
    step = PauseStep.model_validate(fields)
    driver = driver_of(PauseStep)(program)
    return driver.carry_out(step, 10.0)


def test_pause_lasts_as_long_as_it_says(lasting: Program) -> None:
    began_s = time.monotonic()
    assert pause(lasting, pause="200ms") == StepResult()
    assert time.monotonic() - began_s >= 0.2


def test_pause_is_over_at_once_when_envoy_ends_and_that_is_missed() -> None:
    began_s = time.monotonic()
    program = Program(0.3)
    result = pause(program, pause="600s")
    program.end()
    assert result.missed == "Envoy runs for another 600 s"
    assert time.monotonic() - began_s < 300


def test_pause_of_an_envoy_that_has_ended_is_not_carried_out() -> None:
    program = Program(600)
    program.end()
    with pytest.raises(StepProblem, match="ended before"):
        pause(program, pause=1)


SCENARIO = """
name: idle
envoy: {config: {}}
steps:
- {STEP}
expect:
- {never: {call: accept4, listener: {port: 15006}}, during: DURING}
- {calls: {call: listen, times: none}, during: DURING}
"""


def complaints(step: str, during: str = "pause") -> list[str]:
    text = SCENARIO.replace("STEP", step).replace("DURING", during)
    try:
        assert expand(parse_scenario(text, Path("idle.yaml")))
    except ScenarioError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "step, during",
    [
        ("pause: 2s", "pause"),
        ("pause: 0.5, name: idle", "idle"),
        ("pause: 30s", "pause"),
    ],
)
def test_pause_is_a_phase_of_any_length_up_to_a_day(step: str, during: str) -> None:
    assert complaints(step, during) == []


@pytest.mark.parametrize(
    "step, complaint",
    [
        ("pause: 0s", "`pause` must be"),
        ("pause: 86401", "`pause` must be at most 86400, not `86401`"),
        ("pause: true", "`pause` must be a duration"),
        ("pause: 1s, deadline: 2s", "a pause lasts as long as it says; leave out deadline"),
        ("pause: 1s, load: {listener: {port: 1}, send: x}", "`load` is not a key"),
    ],
)
def test_pause_that_cannot_be_is_refused(step: str, complaint: str) -> None:
    (first, *_) = complaints(step)
    assert first.startswith("idle.yaml:5:")
    assert complaint in first


def test_pause_of_an_untrusted_scenario_is_not_refused() -> None:
    text = SCENARIO.replace("STEP", "pause: 2s").replace("DURING", "pause")
    assert refused(expand(parse_scenario(text, Path("idle.yaml"))), own_envoy=True) == []


def trace_of(*, busy: bool, missed: str = "") -> Trace:
    builder = TraceBuilder(1)
    (fd,) = builder.reuse_port_listener(LISTENER)
    builder.end_phase(STARTUP, STARTUP)
    if busy:
        builder.call(builder.main, "listen", 0, fd=fd, backlog=1)
    builder.end_phase("pause", "pause", missed=missed)
    return builder.build()


def verdict_of(trace: Trace) -> Verdict:
    text = SCENARIO.replace("STEP", "pause: 2s").replace("DURING", "pause")
    (plan,) = expand(parse_scenario(text, Path("idle.yaml")))
    return judge(trace, plan.expectations, workers=1)


def test_calls_of_the_pause_alone_are_judged() -> None:
    assert verdict_of(trace_of(busy=False)).status is Status.PASS
    assert verdict_of(trace_of(busy=True)).status is Status.FAIL


def test_envoy_that_ends_during_the_pause_fails_and_the_story_says_so() -> None:
    trace = trace_of(busy=False, missed="Envoy runs for another 2 s")
    assert verdict_of(trace).status is Status.FAIL
    (*_, shown) = describe_steps(trace, Clock(trace))
    assert shown["kind"] == "pause"
    assert "Envoy runs for another 2 s" in shown["came_of_it"]
