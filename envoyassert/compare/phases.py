"""Two runs against each other at the end of each of their phases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from envoyassert.compare.comparison import Difference
from envoyassert.compare.profile import Profile, profile_of
from envoyassert.compare.runs import RunPair, RunSide
from envoyassert.graph.cut import cut
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.verdict import Status
from envoyassert.steps.registry import KINDS
from envoyassert.trace import Phase, Trace


@dataclass(frozen=True)
class Seen:
    """What was seen of a run.

    Args:
        status: the scenario's verdict.
        profiles: the facts at the end of each phase; without steps there is one of no name.
    """

    status: Status
    profiles: Mapping[str, Profile]


def profiles_of(trace: Trace, graph: SocketGraph | None = None) -> dict[str, Profile]:
    """Return the facts of a run at the end of each phase.

    So what is open, served and registered is shown of an Envoy that was running then, however it
    ended later. A step that is over before Envoy has noticed is shown with the one after it.

    Args:
        trace: the run.
        graph: its socket graph, if it is at hand.
    """
    if not trace.phases:
        return {"": profile_of(trace, graph)}
    *others, last = trace.phases
    settled = [phase for phase in others if not _is_over_unnoticed(phase)]
    return {phase.name: profile_of(cut(trace, phase)) for phase in (*settled, last)}


def _is_over_unnoticed(phase: Phase) -> bool:
    kind = KINDS.get(phase.kind)  # a trace may be of a kind that is not known here
    return kind is not None and kind.is_over_unnoticed


def differences_of(before: Seen, after: Seen) -> tuple[Difference, ...]:
    """Return what differs between two runs, each difference at the first phase that shows it."""
    shown: set[tuple[str, str]] = set()
    found: list[Difference] = []
    for number, phase in enumerate(after.profiles):
        if phase not in before.profiles:
            continue
        # The verdict is one for all phases.
        sides = [
            RunSide(seen.profiles[phase], None if number else seen.status)
            for seen in (before, after)
        ]
        for one in RunPair(phase, *sides).differences:
            if (one.subject, one.words) not in shown:
                shown.add((one.subject, one.words))
                found.append(replace(one, subject=in_phase(one.subject, phase if number else "")))
    return tuple(found)


def in_phase(subject: str, phase: str) -> str:
    """Return a subject with its phase: `0.0.0.0:80 (ingress), at the end of drain`."""
    return f"{subject}, at the end of {phase}" if phase else subject
