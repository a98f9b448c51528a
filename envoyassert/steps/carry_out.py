"""Which function carries out which kind of step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from envoyassert.durations import parse_duration
from envoyassert.scenario.steps.another import HotRestartStep, StartStep
from envoyassert.scenario.steps.ending import QuitStep, SignalStep
from envoyassert.scenario.steps.frame import Step
from envoyassert.scenario.steps.limit import LimitStep
from envoyassert.scenario.steps.load import StepUnderLoad
from envoyassert.scenario.steps.occupy import OccupyStep
from envoyassert.scenario.steps.redirect import RedirectStep
from envoyassert.scenario.steps.replace_file import ReplaceFileStep
from envoyassert.scenario.steps.traffic import ConnectStep, DrainStep, HealthcheckStep, TalkStep
from envoyassert.scenario.steps.update_listeners import UpdateListenersStep
from envoyassert.scenario.steps.wait_for import WaitForStep
from envoyassert.steps.admin import drain, set_health
from envoyassert.steps.another import hot_restart, start
from envoyassert.steps.base import DrivenEnvoy, StepResult
from envoyassert.steps.connect import connect, talk, target_of
from envoyassert.steps.ending import quit_envoy, send_signal
from envoyassert.steps.limit import limit
from envoyassert.steps.load import RunningLoad
from envoyassert.steps.occupy import occupy
from envoyassert.steps.redirect import redirect
from envoyassert.steps.replace_file import replace_file
from envoyassert.steps.update_listeners import update_listeners
from envoyassert.steps.wait_for import wait_for

_BY_KIND: dict[type[Step], Callable[[DrivenEnvoy, Any, float], StepResult]] = {
    UpdateListenersStep: update_listeners,
    WaitForStep: wait_for,
    SignalStep: send_signal,
    QuitStep: quit_envoy,
    ConnectStep: connect,
    TalkStep: talk,
    DrainStep: drain,
    StartStep: start,
    HotRestartStep: hot_restart,
    HealthcheckStep: set_health,
    OccupyStep: occupy,
    ReplaceFileStep: replace_file,
    RedirectStep: redirect,
    LimitStep: limit,
}


def carry_out(envoy: DrivenEnvoy, step: Step) -> StepResult:
    """Carry out one step, with clients that keep coming meanwhile if it says so.

    Raises:
        StepProblem: it could not be carried out.
    """
    done = _BY_KIND[type(step)]
    deadline_s = parse_duration(step.deadline)
    wish = step.load if isinstance(step, StepUnderLoad) else None
    if wish is None:
        return done(envoy, step, deadline_s)
    with RunningLoad(envoy, wish, *target_of(envoy, wish.listener)) as load:
        result = done(envoy, step, deadline_s)
        return replace(result, attempts=load.finish())
