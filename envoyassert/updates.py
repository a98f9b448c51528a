"""What became of a set of listeners that a control plane gave to Envoy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Ways by which a control plane gives listeners to Envoy: a file that is renamed into place, the
#: aggregated discovery service in its state-of-the-world variant, and in its incremental one.
Via = Literal["file", "ads", "delta_ads"]


@dataclass(frozen=True)
class ListenerUpdate:
    """One version of the listeners, and Envoy's answer.

    Args:
        via: how it was given.
        version: the version that the control plane gave it.
        result: `ack`, `nack`, or `none` if no answer came before the deadline.
        message: what Envoy said of a version that it refused, or "".
        sent_ns: CLOCK_MONOTONIC nanoseconds just before it was given to Envoy.
        answered_ns: the same clock when the answer was received; None if none came.
        warming: number of listeners that were warming afterwards; None if it could not be learned.
        settled: whether every thread of Envoy was seen asleep at once afterwards, so that none of
            the work that the update made was left to do.
    """

    via: Via
    version: str
    result: Literal["ack", "nack", "none"]
    message: str = ""
    sent_ns: int = 0
    answered_ns: int | None = None
    warming: int | None = None
    settled: bool = False
