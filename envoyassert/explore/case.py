"""One config that is tried, with what is done to it while it runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Listener = dict[str, Any]

#: Kinds of steps by which workers accept nothing, and do again.
OVERLOAD, RELIEF = "overload", "relief"
OF_OVERLOAD = (OVERLOAD, RELIEF)
#: The file that says whether Envoy is overloaded.
PRESSURE = "${rundir}/pressure"
#: Kinds of steps after which Envoy is another one, or has no listeners: none of them comes while it
#: is overloaded.
_ENDS = ("hot_restart", "restart", "plain_drain")


@dataclass(frozen=True)
class Step:
    """What is done to an Envoy that runs.

    Args:
        kind: `push`, `hot_restart`, `restart` (it is ended, and another one started), `drain`
            (gracefully, and it keeps its listeners), `plain_drain` (it closes them), `overload`
            (workers are to accept nothing) or `relief` (they are to accept again).
        listeners: all that there are after a push; None for the same as before.
        concurrency: workers after a restart of either kind; None for the same as before.
    """

    kind: str
    listeners: tuple[Listener, ...] | None = None
    concurrency: int | None = None


def is_possible(steps: Sequence[Step]) -> bool:
    """Return whether steps may follow one another.

    Nothing but a restart follows where all listeners are stopped.

    Args:
        steps: in their order.
    """
    is_stopped = is_overloaded = False
    for step in steps:
        if is_stopped and step.kind != "restart":
            return False
        if is_overloaded and step.kind in (*_ENDS, OVERLOAD):
            return False
        if step.kind == RELIEF and not is_overloaded:
            return False
        is_stopped = step.kind == "plain_drain"
        is_overloaded = step.kind == OVERLOAD or (is_overloaded and step.kind != RELIEF)
    return True


@dataclass(frozen=True)
class Case:
    """A bootstrap with a number of workers, and what is done to it.

    Args:
        concurrency: workers.
        listeners: as Envoy reads them.
        bootstrap: all of it but the listeners.
        served: whether the listeners come by LDS.
        steps: what is done once Envoy is LIVE.
    """

    concurrency: int
    listeners: tuple[Listener, ...]
    bootstrap: dict[str, Any] = field(default_factory=dict)
    served: bool = False
    steps: tuple[Step, ...] = ()

    @property
    def key(self) -> str:
        """Text that is the same for equal cases alone."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def config(self) -> dict[str, Any]:
        """The bootstrap, with the listeners that are no served ones."""
        if self.served:
            return self.bootstrap
        static = {**self.bootstrap.get("static_resources", {}), "listeners": list(self.listeners)}
        return {**self.bootstrap, "static_resources": static}

    @property
    def all_listeners(self) -> list[Listener]:
        """All forms of its listeners, those of pushes among them."""
        pushed = [one for step in self.steps for one in step.listeners or ()]
        return [*self.listeners, *(one for one in pushed if one not in self.listeners)]
