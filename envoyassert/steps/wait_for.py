"""Waiting for something to happen."""

from __future__ import annotations

import re
from collections.abc import Callable

from envoyassert.graph.fold import fold
from envoyassert.judge.calls import matching, pattern_in_words
from envoyassert.judge.context import Context
from envoyassert.launch.admin import AdminUnreachableError
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.steps.wait_for import Stat, WaitFor, WaitForStep
from envoyassert.steps.base import DrivenEnvoy, StepProblem, StepResult, wait_until


def wait_for(envoy: DrivenEnvoy, step: WaitForStep, deadline_s: float) -> StepResult:
    """Wait until the step's condition holds."""
    wish = step.wait_for
    if (wish.stat or wish.ready is not None) and envoy.plan.admin is None:
        raise StepProblem("the config has no admin endpoint to ask")
    words, holds = _condition(envoy, wish)
    met = wait_until(envoy, deadline_s, holds)
    return StepResult(missed="" if met else f"{words} within {deadline_s:g} s")


def _condition(envoy: DrivenEnvoy, wish: WaitFor) -> tuple[str, Callable[[], bool]]:
    if wish.stat is not None:
        stat = wish.stat
        return str(stat), lambda: _stat_holds(envoy, stat)
    if wish.ready is not None:
        wanted = wish.ready
        words = "/ready to say LIVE" if wanted else "/ready to say something other than LIVE"
        return words, lambda: _is_ready(envoy) is wanted
    if wish.call is not None:
        seen = _Seen(envoy, wish.call)
        return pattern_in_words(wish.call), seen.holds
    return "Envoy to end", lambda: envoy.exited() is not None


def _stat_holds(envoy: DrivenEnvoy, stat: Stat) -> bool:
    try:
        _, text = envoy.admin_get(f"/stats?filter=^{re.escape(stat.name)}$")
    except AdminUnreachableError:
        return False
    name, _, value = text.strip().rpartition(": ")
    # A counter that was never used need not be there at all.
    return stat.holds(int(value)) if name == stat.name and value.isdigit() else False


def _is_ready(envoy: DrivenEnvoy) -> bool | None:
    try:
        return envoy.admin_get("/ready")[0] == 200
    except AdminUnreachableError:
        return None


class _Seen:
    """Whether a call that matches has been recorded since the step before began.

    What that step brought about may have happened before this one began to look.
    """

    def __init__(self, envoy: DrivenEnvoy, pattern: CallPattern) -> None:
        self._envoy = envoy
        self._pattern = pattern
        self._emitted = -1

    def holds(self) -> bool:
        emitted = self._envoy.emitted()
        if emitted == self._emitted:
            return False
        self._emitted = emitted
        trace = self._envoy.observed()
        context = Context(trace, fold(trace), self._envoy.plan.workers)
        found, _ = matching(context, self._pattern)
        return any(event.ts_ns >= self._envoy.acted_ns for event in found)
