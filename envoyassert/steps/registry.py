"""The kinds of steps: what a scenario can do to Envoy once it is ready, one after the other.

A further kind is a class in a module of its own, and an entry here.
"""

from __future__ import annotations

import importlib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel

from envoyassert.scenario.grammar import OneByKey
from envoyassert.steps.base import Part, Step

if TYPE_CHECKING:
    from envoyassert.trace import Outcome, Trace


class _Kinds(Mapping[str, type[Step]]):
    """The kinds by their keys, each loaded when it is asked for."""

    _classes: Mapping[str, str] = {
        "update_listeners": "update_listeners.UpdateListenersStep",
        "wait_for": "wait_for.WaitForStep",
        "signal": "ending.SignalStep",
        "quit": "ending.QuitStep",
        "connect": "connect.ConnectStep",
        "talk": "connect.TalkStep",
        "drain": "admin.DrainStep",
        "start": "another.StartStep",
        "hot_restart": "another.HotRestartStep",
        "healthcheck": "admin.HealthcheckStep",
        "occupy": "occupy.OccupyStep",
        "replace_file": "replace_file.ReplaceFileStep",
        "redirect": "redirect.RedirectStep",
        "limit": "limit.LimitStep",
        "fault": "fault.FaultStep",
        "pause": "pause.PauseStep",
    }

    def __getitem__(self, key: str) -> type[Step]:
        module, _, name = self._classes[key].partition(".")
        found: type[Step] = getattr(importlib.import_module(f"envoyassert.steps.{module}"), name)
        assert found.kind == key
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)


#: The kinds by the keys of which a step has one, which says what is done.
KINDS: Mapping[str, type[Step]] = _Kinds()


def _key_in(data: Any) -> str | None:
    return next((key for key in KINDS if key in data), None)


def kind_in(data: Any) -> type[Step] | None:
    """Return the kind of step that data of a file is of; None if it is of none."""
    key = _key_in(data) if isinstance(data, dict) else None
    return None if key is None else KINDS[key]


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
    parts = dict.fromkeys(part for step in KINDS.values() for part in _parts_of(step))
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


AnyStep = Annotated[
    Step, OneByKey(Step, KINDS, _key_in, ("no_kind", "a step is one of: " + ", ".join(KINDS)))
]
"""One item of `steps`."""
