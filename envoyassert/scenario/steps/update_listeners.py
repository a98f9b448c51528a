"""The step that gives Envoy other listeners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from envoyassert.scenario.grammar import Many, Model
from envoyassert.scenario.overlay import OverlayError, merge
from envoyassert.scenario.steps.load import StepUnderLoad
from envoyassert.scenario.words import did_you_mean
from envoyassert.scenario.xds import ServedListener, ServedListeners

_RELATIVE = ("add", "change", "remove")
_NameOf = Annotated[str, Field(min_length=1)]


class UpdateListeners(Model):
    """What becomes of the listeners that the control plane serves."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": [key]} for key in ("set", *_RELATIVE, "release")],
            "dependentSchemas": {
                "set": {"not": {"anyOf": [{"required": [key]} for key in _RELATIVE]}}
            },
        }
    )

    add: Annotated[Many[ServedListener], Field(min_length=1)] | None = Field(
        None, description="Further listeners, as Envoy reads them."
    )
    change: Annotated[dict[_NameOf, dict[str, Any]], Field(min_length=1)] | None = Field(
        None,
        description="Overlays by the listener's name: mappings merge, other values replace, null "
        "removes; in place of a list, a mapping by index or by `name` of the element.",
    )
    remove: Annotated[Many[_NameOf], Field(min_length=1)] | None = Field(
        None, description="Names of listeners that are taken away."
    )
    set: ServedListeners | None = Field(
        None, description="All listeners, instead of those that are served."
    )
    release: Annotated[Many[_NameOf], Field(min_length=1)] | None = Field(
        None, description="Names of resources that were withheld and are given away now."
    )

    @model_validator(mode="after")
    def _something(self) -> UpdateListeners:
        given = self.model_fields_set
        if not given:
            raise ValueError(f"give one of set, {', '.join(_RELATIVE)}, release")
        if "set" in given and given & {*_RELATIVE}:
            raise ValueError("set says all of it; leave out add, change and remove")
        return self


class UpdateListenersStep(StepUnderLoad):
    """Give Envoy other listeners; over when it has answered and they warm no more."""

    update_listeners: UpdateListeners = Field(
        description="What is different from the listeners that are served."
    )


def updated(listeners: Sequence[Any], update: UpdateListeners) -> list[Any]:
    """Return what is served after an update: changed ones in their places, added ones at the end.

    Args:
        listeners: what was served before.
        update: what is different.

    Raises:
        OverlayError: it does not fit; its path is in the step.
    """
    if update.set is not None:
        return list(update.set)
    names = [listener["name"] for listener in listeners]
    for index, name in enumerate(update.remove or ()):
        if name not in names:
            raise OverlayError(("remove", index), *_unknown(name, names))
    for name in update.change or {}:
        if name not in names:
            raise OverlayError(("change", name), *_unknown(name, names))
    for index, listener in enumerate(update.add or ()):
        if listener["name"] in names:
            raise OverlayError(
                ("add", index),
                f"a listener `{listener['name']}` is served already",
                "write `change`, or give it another name",
            )
    result = list(listeners)
    for name, overlay in (update.change or {}).items():
        at = names.index(name)
        try:
            result[at] = merge(result[at], overlay)
        except OverlayError as error:
            path = ("change", name, *error.path)
            raise OverlayError(path, error.message, error.remedy) from error
    kept = [one for one in result if one["name"] not in (update.remove or ())]
    return [*kept, *(update.add or ())]


def _unknown(name: str, names: list[str]) -> tuple[str, str]:
    remedy = did_you_mean(name, names) or f"served are: {', '.join(names) or 'none'}"
    return f"no listener `{name}` is served", remedy
