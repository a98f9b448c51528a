"""Of a scenario that is valid, what is likely not meant: it proves nothing, or Envoy lacks a file.

A run of it may be green anyway, so `check` says it, and so does each session that runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envoyassert.errors import Problem
from envoyassert.scenario.config_files import missing_beside
from envoyassert.scenario.load import LoadedScenario
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.scope import of_no_listener
from envoyassert.words.registry import vacuous


def doubts_of(loaded: LoadedScenario, plans: Sequence[RunPlan]) -> list[Problem]:
    """Return what a scenario says that is likely not meant, each once, in the order of the file.

    Args:
        loaded: the scenario.
        plans: all of its runs.
    """
    found = dict.fromkeys(_doubts(loaded, plans))
    return sorted(found, key=lambda one: (one.path != str(loaded.path), one.line, one.column))


def _doubts(loaded: LoadedScenario, plans: Sequence[RunPlan]) -> Iterator[Problem]:
    document = loaded.document
    for place, reason in vacuous(loaded.scenario.expect):
        yield document.problem(place, f"no trace could fail this: {reason}")
    for place, reason in of_no_listener(plans) if loaded.own_envoy else ():
        yield document.problem(place, reason)
    seen: list[object] = []
    for plan in plans:
        # Runs that differ in nothing of it have one and the same config.
        if any(plan.config is one for one in seen):
            continue
        seen.append(plan.config)
        yield from _not_beside(plan)


def _not_beside(plan: RunPlan) -> Iterator[Problem]:
    """Yield the relative files that are not where the config lies."""
    loaded = plan.loaded
    document = loaded.config_document or loaded.document
    above = () if loaded.config_document else ("envoy", "config")
    for one in missing_beside(plan.config, plan.files):
        yield document.problem(
            (*above, *one.path),
            f"{one.text} is not in {loaded.directory}: Envoy does not find it",
            "envoy.stand_in puts something in its place",
        )
