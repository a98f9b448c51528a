"""The steps of a scenario: what is done to Envoy once it is ready, one after the other.

A further kind is a class of its own, an entry here, and an entry in `envoyassert.steps.carry_out`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from envoyassert.scenario.grammar import FORM, kind
from envoyassert.scenario.steps.another import HotRestartStep, StartStep
from envoyassert.scenario.steps.ending import QuitStep, SignalStep
from envoyassert.scenario.steps.fault import FaultStep
from envoyassert.scenario.steps.frame import Step
from envoyassert.scenario.steps.limit import LimitStep
from envoyassert.scenario.steps.occupy import OccupyStep
from envoyassert.scenario.steps.redirect import RedirectStep
from envoyassert.scenario.steps.replace_file import ReplaceFileStep
from envoyassert.scenario.steps.traffic import ConnectStep, DrainStep, HealthcheckStep, TalkStep
from envoyassert.scenario.steps.update_listeners import UpdateListenersStep
from envoyassert.scenario.steps.wait_for import WaitForStep

_FORMS: dict[str, type[Step]] = {
    "update_listeners": UpdateListenersStep,
    "wait_for": WaitForStep,
    "signal": SignalStep,
    "quit": QuitStep,
    "connect": ConnectStep,
    "talk": TalkStep,
    "drain": DrainStep,
    "start": StartStep,
    "hot_restart": HotRestartStep,
    "healthcheck": HealthcheckStep,
    "occupy": OccupyStep,
    "replace_file": ReplaceFileStep,
    "redirect": RedirectStep,
    "limit": LimitStep,
    "fault": FaultStep,
}
#: The keys of which a step has one, which says what is done.
KINDS = tuple(_FORMS)
#: The kinds that start another Envoy.
STARTING = ("start", "hot_restart")


def kind_of(step: Any) -> str | None:
    """Return the kind of a step, or of the data of one; None if it has none."""
    given = step.model_fields_set if isinstance(step, Step) else step
    if not isinstance(given, (dict, set)):
        return None
    return next((name for name in KINDS if name in given), None)


def phase_name(step: Any) -> str | None:
    """Return the name of the phase that a step begins, or None if its data has neither."""
    name = step.name if isinstance(step, Step) else dict(step).get("name")
    return name or kind_of(step)


def _step_form(data: Any) -> str | None:
    if isinstance(data, Step):
        return kind(data)
    found = kind_of(data) if isinstance(data, dict) else None
    return None if found is None else FORM + _FORMS[found].__name__


AnyStep = Annotated[
    Annotated[UpdateListenersStep, Tag("|UpdateListenersStep")]
    | Annotated[WaitForStep, Tag("|WaitForStep")]
    | Annotated[SignalStep, Tag("|SignalStep")]
    | Annotated[QuitStep, Tag("|QuitStep")]
    | Annotated[ConnectStep, Tag("|ConnectStep")]
    | Annotated[TalkStep, Tag("|TalkStep")]
    | Annotated[DrainStep, Tag("|DrainStep")]
    | Annotated[StartStep, Tag("|StartStep")]
    | Annotated[HotRestartStep, Tag("|HotRestartStep")]
    | Annotated[HealthcheckStep, Tag("|HealthcheckStep")]
    | Annotated[OccupyStep, Tag("|OccupyStep")]
    | Annotated[ReplaceFileStep, Tag("|ReplaceFileStep")]
    | Annotated[RedirectStep, Tag("|RedirectStep")]
    | Annotated[LimitStep, Tag("|LimitStep")]
    | Annotated[FaultStep, Tag("|FaultStep")],
    Discriminator(
        _step_form,
        custom_error_type="no_kind",
        custom_error_message="a step is one of: " + ", ".join(KINDS),
    ),
]
"""One item of `steps`."""
