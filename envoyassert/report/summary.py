"""How many runs there were, and of what: the line that shows that green means something ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from envoyassert.report.table import count

PASSED, FAILED, INCONCLUSIVE, SKIPPED, ERROR = (
    "passed",
    "failed",
    "inconclusive",
    "skipped",
    "error",
)
_ORDER = (PASSED, FAILED, INCONCLUSIVE, ERROR, SKIPPED)
_EXECUTED = (PASSED, FAILED, INCONCLUSIVE)


@dataclass(frozen=True)
class RunRecord:
    """One run, whether it was executed or not.

    Args:
        scenario: name of the scenario with its matrix values.
        envoy: which Envoy: `1.40.0`.
        launcher: `docker` or `process`.
        concurrency: number of workers asked for.
        outcome: passed, failed, inconclusive, skipped or error (Envoy was never judged).
        reason: why it was skipped, or "".
    """

    scenario: str
    envoy: str
    launcher: str
    concurrency: str
    outcome: str
    reason: str = ""


def summary_lines(records: Iterable[RunRecord]) -> list[str]:
    """Return the count of executed runs, the axes they cover, and why others were skipped.

    `48 runs executed: 48 passed (9 scenarios, 2 Envoys, 2 launchers, 1 concurrency)`

    The axes need not multiply to the number of runs: a scenario may have further ones of its own.
    """
    records = list(records)
    executed = [record for record in records if record.outcome in _EXECUTED]
    outcomes = Counter(record.outcome for record in records)
    line = f"{count(len(executed), 'run')} executed"
    told = [_tell(outcomes[name], name) for name in _ORDER if outcomes[name]]
    if told:
        line += f": {', '.join(told)}"
    if executed:
        axes = (
            (len({record.scenario.split("[")[0] for record in executed}), "scenario", ""),
            (len({record.envoy for record in executed}), "Envoy", ""),
            (len({record.launcher for record in executed}), "launcher", ""),
            (len({record.concurrency for record in executed}), "concurrency", "concurrencies"),
        )
        line += f" ({', '.join(count(*axis) for axis in axes)})"
    reasons = Counter(record.reason for record in records if record.outcome == SKIPPED)
    return [line, *(f"  {times} skipped: {reason}" for reason, times in reasons.most_common())]


def _tell(number: int, outcome: str) -> str:
    return count(number, outcome) if outcome == ERROR else f"{number} {outcome}"


__all__ = [
    "ERROR",
    "FAILED",
    "INCONCLUSIVE",
    "PASSED",
    "SKIPPED",
    "RunRecord",
    "summary_lines",
]
