"""What the header of a session says of the runs: as whom Envoy runs, with which capabilities."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from envoyassert.launch.limits import USER, Limits, in_container
from envoyassert.scenario.needs import capabilities_of, needs_of
from envoyassert.shown import shown
from envoyassert.steps.registry import limits_at_launch

if TYPE_CHECKING:
    from envoyassert.scenario.plan import RunPlan

_BY_SCENARIO = "as the scenario says (limit)"
#: How many reasons are listed for a capability.
_REASONS = 3


def privileges_of(plans: Iterable[RunPlan]) -> str:
    """Return as which user and with which capabilities Envoy runs, and in how many runs.

    An image may name another ordinary user.

    Args:
        plans: the runs.
    """
    runs: Counter[tuple[str, tuple[str, ...]]] = Counter()
    reasons: dict[str, set[str]] = defaultdict(set)
    for plan in plans:
        limits = Limits(**limits_at_launch(plan.steps))
        if limits.uid is not None or limits.capabilities is not None:
            runs[_BY_SCENARIO, ()] += 1
            continue
        needs = needs_of(plan)
        names, how = capabilities_of(needs), ""
        if plan.launcher == "docker":
            names = in_container(limits, names, None).capabilities or ()
            how = "in a container as root " if names else ""
        runs[how, names] += 1
        for need in needs:
            reasons[need.capability].add(need.why)
    parts = {
        how if how == _BY_SCENARIO else how + _with(names, reasons): count
        for (how, names), count in runs.items()
    }
    texts = [f"{words} in {count} run{'' if count == 1 else 's'}" for words, count in parts.items()]
    words = "; ".join(sorted(texts)) if len(parts) > 1 else next(iter(parts))
    return shown(f"Envoy is user {USER}, {words}")


def _with(names: tuple[str, ...], reasons: dict[str, set[str]]) -> str:
    if not names:
        return "without capabilities"
    texts = []
    for name in names:
        why = sorted(reasons[name])
        more = f" and {len(why) - _REASONS} more" if len(why) > _REASONS else ""
        texts.append(f"{name} ({', '.join(why[:_REASONS])}{more})")
    return f"with {', '.join(texts)}"
