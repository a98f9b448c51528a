"""The kinds of steps: what a scenario can do to Envoy once it is ready, one after the other.

A further kind is a class in a module of its own, and an entry here.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BaseModel, Discriminator, Tag

from envoyassert.scenario.grammar import FORM, kind
from envoyassert.steps.admin import DrainStep, HealthcheckStep
from envoyassert.steps.another import HotRestartStep, StartStep
from envoyassert.steps.base import Part, Step
from envoyassert.steps.connect import ConnectStep, TalkStep
from envoyassert.steps.ending import QuitStep, SignalStep
from envoyassert.steps.fault import FaultStep
from envoyassert.steps.limit import LimitStep
from envoyassert.steps.occupy import OccupyStep
from envoyassert.steps.pause import PauseStep
from envoyassert.steps.redirect import RedirectStep
from envoyassert.steps.replace_file import ReplaceFileStep
from envoyassert.steps.update_listeners import UpdateListenersStep
from envoyassert.steps.wait_for import WaitForStep

if TYPE_CHECKING:
    from envoyassert.trace import Outcome, Trace

_STEPS: tuple[type[Step], ...] = (
    UpdateListenersStep,
    WaitForStep,
    SignalStep,
    QuitStep,
    ConnectStep,
    TalkStep,
    DrainStep,
    StartStep,
    HotRestartStep,
    HealthcheckStep,
    OccupyStep,
    ReplaceFileStep,
    RedirectStep,
    LimitStep,
    FaultStep,
    PauseStep,
)
#: The kinds by the keys of which a step has one, which says what is done.
KINDS: Mapping[str, type[Step]] = {step.kind: step for step in _STEPS}


def kind_in(data: Any) -> type[Step] | None:
    """Return the kind of step that data of a file is of; None if it is of none."""
    given = data if isinstance(data, dict) else ()
    return next((step for name, step in KINDS.items() if name in given), None)


def phase_in(data: Mapping[str, Any]) -> Any:
    """Return the name of the phase that a step begins by its data, None if that has none."""
    found = kind_in(data)
    return data.get("name") or (None if found is None else found.kind)


def limits_at_launch(steps: Iterable[Step]) -> dict[str, Any]:
    """Return the limits that Envoy is started with; of several of a kind the last."""
    return {name: value for step in steps for name, value in step.limits().items()}


def after_startup(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps that are carried out on a running Envoy."""
    return tuple(step for step in steps if not step.is_before_startup)


def unasked_outcome(trace: Trace) -> Outcome:
    """Return what happened to Envoy until a step ended it, or until the end if none did."""
    for before, phase in pairwise(trace.phases):
        kind = KINDS.get(phase.kind)
        if kind is not None and kind.ends_envoy and before.outcome.running:
            return before.outcome
    return trace.end.outcome


def documented() -> Mapping[type[Part], str]:
    """Return the models of steps with their headings, in the order of reading.

    Each kind has its parts behind it.
    """
    parts = dict.fromkeys(part for step in _STEPS for part in _parts_of(step))
    return {
        part: f"Step `{part.kind}`" if issubclass(part, Step) else part.heading for part in parts
    }


def _parts_of(part: type[Part]) -> Iterator[type[Part]]:
    yield part
    for field in part.model_fields.values():
        for model in _models_in(field.annotation):
            yield from _parts_of(model)


def _models_in(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if issubclass(annotation, Part):
            yield annotation
        return
    for part in typing.get_args(annotation):
        yield from _models_in(part)


def _step_form(data: Any) -> str | None:
    if isinstance(data, Step):
        return kind(data)
    found = kind_in(data)
    return None if found is None else FORM + found.__name__


if TYPE_CHECKING:
    AnyStep = Step
else:
    AnyStep = Annotated[
        Union[tuple(Annotated[step, Tag(FORM + step.__name__)] for step in _STEPS)],  # noqa: UP007 - of a tuple
        Discriminator(
            _step_form,
            custom_error_type="no_kind",
            custom_error_message="a step is one of: " + ", ".join(KINDS),
        ),
    ]
    """One item of `steps`."""
