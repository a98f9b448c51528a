"""What is expected of an Envoy's start, and what of it the model does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from envoyassert.errors import EnvoyAssertError
from envoyassert.frozen import frozen
from envoyassert.predict.sockets import SocketSet

#: The versions for which each rule of the model was seen to hold.
FIRST, LAST = "1.36", "1.40"
KNOWN = ">=1.36,<1.41"
#: The fact which listeners there are.
LISTENERS = "listeners"
#: The fact whether Envoy starts; where it is not known all others rest on that it does.
PROCESS = "process"


class PredictError(EnvoyAssertError):
    """Nothing can be predicted of this: it is no config, or none that Envoy reads.

    Args:
        message: one sentence that says what is wrong.
        remedy: what to do about it.
        place: the field that is at fault, as a path in the config; "" if it is none.
    """

    def __init__(self, message: str, remedy: str = "", place: str = "") -> None:
        super().__init__(message, remedy)
        self.place = place


@frozen
class Unknown:
    """A fact that the model declines to predict.

    Args:
        listener: whose fact it is; "" if it is none's.
        fact: which one: `listeners`, `process`, or the word of a `listener` expectation.
        why: why it is not known, in words.
    """

    listener: str
    fact: str
    why: str


@frozen
class Prediction:
    """What Envoy has made of its listeners when it has started.

    Args:
        concurrency: Envoy's --concurrency.
        sets: the sockets, per address.
        silent: names of the listeners that have no socket at all.
        closed: whether there are no other sockets, but Envoy's own for hot restart.
        unknown: what is not predicted.
        admin: whether there is an admin endpoint.
        requires: bounds of the versions of Envoy that take the config, or "".
        refusals: what Envoy may say when it ends at once, for it does not take the config: one of
            these; () if it starts.
        left_out: what it says of listeners of a control plane that it refuses, by their names.
    """

    concurrency: int
    sets: tuple[SocketSet, ...]
    silent: tuple[str, ...] = ()
    closed: bool = True
    unknown: tuple[Unknown, ...] = ()
    admin: bool = True
    requires: str = ""
    refusals: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def refused(self) -> str:
        """What Envoy says where it does not start at all; else ""."""
        return next(iter(self.refusals), "")

    @property
    def split(self) -> tuple[str, ...]:
        """Names of the listeners of which one worker alone has its socket where it is bound."""
        return tuple(one.name for one in self.sets if one.role == "worker_0")
