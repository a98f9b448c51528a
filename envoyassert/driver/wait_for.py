"""Waiting for something to happen."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from envoyassert.addresses import Address
from envoyassert.driver.base import DrivenEnvoy, Driver, observed_now, wait_until
from envoyassert.fact import Fact
from envoyassert.graph.cut import focus
from envoyassert.graph.fold import fold
from envoyassert.judge.context import Context
from envoyassert.judge.matching import matching
from envoyassert.judge.selection import ChosenSockets, select
from envoyassert.judge.timeline import spans_of
from envoyassert.launch.admin import FORBIDDEN, AdminUnreachableError, shortened, stats_of
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.timing import State
from envoyassert.steps.base import StepProblem, StepResult
from envoyassert.steps.wait_for import Stat, WaitFor, WaitForStep
from envoyassert.texts.facts import text
from envoyassert.texts.values import pattern_words


class WaitForDriver(Driver[WaitForStep]):
    """Waits for something to happen."""

    step = WaitForStep

    def carry_out(self, step: WaitForStep, deadline_s: float) -> StepResult:
        """Wait until the step's condition holds."""
        asked = step.wait_for
        if (asked.stat or asked.ready is not None) and self.envoy.plan.admin is None:
            raise StepProblem("the config has no admin endpoint to ask")
        words, holds = _condition(self.envoy, asked)
        met = wait_until(self.envoy, deadline_s, holds)
        if not met and isinstance(holds, _Recorded) and holds.open is not None:
            raise StepProblem(text(holds.open))
        return StepResult(missed="" if met else f"{words} within {deadline_s:g} s")


def _condition(envoy: DrivenEnvoy, asked: WaitFor) -> tuple[str, Callable[[], bool]]:
    """Return a condition in words, and what asks once whether it holds."""
    if asked.stat is not None:
        stat = asked.stat
        return str(stat), lambda: _stat_holds(envoy, stat)
    if asked.ready is not None:
        wanted = asked.ready
        words = "/ready to say LIVE" if wanted else "/ready to say something other than LIVE"
        return words, lambda: _is_ready(envoy) is wanted
    if asked.call is not None:
        pattern = asked.call

        def made(context: Context, listener: Selector | None) -> bool:
            return _was_made(envoy, context, pattern.model_copy(update={"listener": listener}))

        return pattern_words(pattern), _Recorded(envoy, pattern.listener, made)
    if asked.state is not None:
        state = asked.state
        words = f"{state.listener} to be {'' if state.wanted else 'not '}{state.name}"
        words += f" by {state.by}" if state.by else ""
        # Roles are those of one Envoy; without them it is asked of all together.
        alone = state.by is not None and envoy.started() > 1

        def has(context: Context, listener: Selector | None) -> bool:
            return _has_state(context, state.model_copy(update={"listener": listener}))

        return words, _Recorded(envoy, state.listener, has, alone)
    return "Envoy to end", lambda: envoy.exited() is not None


def _stat_holds(envoy: DrivenEnvoy, stat: Stat) -> bool:
    try:
        text = _ask(envoy, f"/stats?filter=^{re.escape(stat.name)}$")[1]
    except AdminUnreachableError:
        return False
    # A counter that was never used need not be there at all.
    value = stats_of(text).get(stat.name)
    return value is not None and stat.holds(value)


def _is_ready(envoy: DrivenEnvoy) -> bool | None:
    try:
        return _ask(envoy, "/ready")[0] == 200
    except AdminUnreachableError:
        return None


def _ask(envoy: DrivenEnvoy, path: str) -> tuple[int, str]:
    status, text = envoy.admin_get(path)
    if status == FORBIDDEN:
        raise StepProblem(
            f"{path.partition('?')[0]} is answered with {status}: {shortened(text.strip())}"
        )
    return status, text


def _was_made(envoy: DrivenEnvoy, context: Context, pattern: CallPattern) -> bool:
    found, problem, _ = matching(context, pattern)
    if problem:
        raise StepProblem(text(problem))
    return any(event.ts_ns >= envoy.acted_ns for event in found)


def _has_state(context: Context, state: State) -> bool:
    listeners = context.trace.header.listeners
    selection = select(state.listener, context.graph, listeners, total=True)
    spans, problem = spans_of(context, selection.sockets, state.name, state.by)
    if selection.problem or problem:
        raise StepProblem(text(selection.problem or problem))
    holds = bool(spans) and spans[-1][1] is None
    return holds is state.wanted


class _Recorded:
    """A question about what was recorded, which is worth asking only if there is more of it.

    Of a listener whose sockets may be another's as well (port 0), what surely is its own answers.
    Without that all must that may be, address by address. Only Envoy's list shows more, and that is
    asked for when the step is over.

    Args:
        envoy: the Envoy.
        listener: which listener it is about, None for none.
        holds: answers it, of that listener or of some sockets.
        alone: whether only this Envoy counts.

    Attributes:
        open: why it was not known whose the sockets are when it was asked last; None if it was.
    """

    def __init__(
        self,
        envoy: DrivenEnvoy,
        listener: Selector | None,
        holds: Callable[[Context, Selector | None], bool],
        alone: bool = False,
    ) -> None:
        self._envoy = envoy
        self._listener = listener
        self._holds = holds
        self._alone = alone
        self._emitted = -1
        self.open: Fact | None = None

    def __call__(self) -> bool:
        emitted = self._envoy.emitted()
        if emitted == self._emitted:
            return False
        self._emitted = emitted
        trace = observed_now(self._envoy)
        graph = focus(trace, {self._envoy.pid}) if self._alone else fold(trace)
        context = Context(trace, graph, self._envoy.plan.workers)
        meant, self.open = _meant(context, self._listener)
        return all(self._holds(context, one) for one in meant)


def _meant(
    context: Context, listener: Selector | None
) -> tuple[Sequence[Selector | None], Fact | None]:
    """Return the sockets that answer for a listener, and why it is open which are its own."""
    if listener is None:
        return [None], None
    found = select(listener, context.graph, context.trace.header.listeners, total=True)
    if not found.possible:
        return [listener], None
    groups: dict[Address | None, set[int]] = {}
    standing = tuple(socket for socket in found.possible if socket.is_live)
    for socket in found.sockets or standing or found.possible:
        place = None if found.sockets else socket.address
        groups.setdefault(place, set()).add(socket.number)
    chosen = [
        ChosenSockets(**listener.model_dump(), numbers=frozenset(numbers))
        for numbers in groups.values()
    ]
    return chosen, None if found.sockets else found.problem
