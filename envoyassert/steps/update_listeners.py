"""The step that gives Envoy other listeners."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, model_validator

from envoyassert.scenario.grammar import Many
from envoyassert.scenario.overlay import OverlayError, merge
from envoyassert.scenario.vocabulary import did_you_mean
from envoyassert.scenario.xds import ServedListener, ServedListeners, Xds
from envoyassert.steps.base import Objection, Part, Path
from envoyassert.steps.load import StepUnderLoad

_RELATIVE = ("add", "change", "remove")
_NameOf = Annotated[str, Field(min_length=1)]


class UpdateListeners(Part):
    """The change of the listeners that the control plane serves."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": [key]} for key in ("set", *_RELATIVE, "release")],
            "dependentSchemas": {
                "set": {"not": {"anyOf": [{"required": [key]} for key in _RELATIVE]}}
            },
        }
    )

    heading: ClassVar[str] = "`update_listeners`"
    examples: ClassVar[Mapping[str, str]] = {
        "add": 'add: [{name: more, address: {pipe: {path: "${rundir}/more"}}}]',
        "change": "change: {ingress: {tcp_backlog_size: 64, stat_prefix: null}}",
        "remove": "remove: [ingress]",
        "set": "set: []",
        "release": "release: [later]",
    }

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

    kind: ClassVar[str] = "update_listeners"
    updates_listeners: ClassVar[bool] = True
    free: ClassVar[tuple[Path, ...]] = tuple(
        ("update_listeners", key) for key in ("add", "change", "set")
    )
    examples: ClassVar[Mapping[str, str]] = {
        **StepUnderLoad.examples,
        "update_listeners": "update_listeners: {remove: [ingress]}",
    }

    update_listeners: UpdateListeners = Field(
        description="What is different from the listeners that are served."
    )

    def parts(self) -> Sequence[Any]:
        """Return the listeners, and the overlays of listeners."""
        update = self.update_listeners
        return [[*(update.add or ()), *(update.set or ()), *(update.change or {}).values()]]

    def served(self, listeners: Sequence[Any]) -> Sequence[Any]:
        """Return the listeners after the update."""
        return updated(listeners, self.update_listeners)

    def place_of_listener(self, name: str) -> Path | None:
        """Return where the update has a listener, or an overlay for it."""
        update = self.update_listeners
        for part in ("add", "set"):
            names = [listener["name"] for listener in getattr(update, part) or ()]
            if name in names:
                return part, names.index(name)
        return ("change", name) if name in (update.change or {}) else None

    def misfits(self, xds: Xds) -> Iterator[Objection]:
        """Yield what is to be released and is not withheld."""
        for number, name in enumerate(self.update_listeners.release or ()):
            if name not in xds.withheld:
                remedy = "add it to envoy.xds.withheld"
                yield Objection(("release", number), f"`{name}` is not withheld", remedy)


def refusal_of(name: str, message: str) -> str:
    """Return what Envoy says of a listener that it refuses, "" if it refuses it not.

    Args:
        name: of the listener.
        message: of Envoy's answer: `Error adding/updating listener(s) NAME: …`, a line for each.
    """
    found = re.search(rf"(?:listener\(s\) |^){re.escape(name)}: (.*)", message, re.MULTILINE)
    return found[1].strip() if found else ""


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
