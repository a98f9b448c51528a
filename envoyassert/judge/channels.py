"""What a trace without some channel leaves open, though everything else can be judged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from envoyassert.judge.values import Fact
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.conditional import Conditional

_SLOWED = Fact("durations_unobserved")
_STATES = Fact("socket_states_unobserved")
_DURATIONS = frozenset({"lasts", "within"})
_STATE_CALL = "tcp_state"


def as_observed(finding: Finding, item: Conditional, unobserved: Collection[str]) -> Finding:
    """Return a finding as far as the channels of its trace allow it.

    Args:
        finding: as the events show.
        item: the expectation.
        unobserved: the channels that the trace does not cover.
    """
    if not unobserved:
        return finding
    reason = None
    if "durations" in unobserved and _is_duration(finding):
        reason = _SLOWED
    elif "socket_states" in unobserved and _mentions(item.model_dump(), _STATE_CALL):
        reason = _STATES
    return replace(finding, status=Status.INCONCLUSIVE, reason=reason) if reason else finding


def _is_duration(finding: Finding) -> bool:
    word = finding.path[2] if len(finding.path) > 2 else ""
    if word == "always" or (word == "process" and finding.path[-1] == "within"):
        # Under a slow tracer an interruption and a start last longer, never shorter.
        return finding.status is Status.FAIL
    return word == "startup" or finding.path[-1] in _DURATIONS


def _mentions(data: Any, value: str) -> bool:
    if isinstance(data, dict):
        return any(_mentions(part, value) for part in data.values())
    if isinstance(data, (list, tuple)):
        return any(_mentions(part, value) for part in data)
    return bool(data == value)
