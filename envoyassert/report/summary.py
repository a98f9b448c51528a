"""How many runs there were, and of what: the line that shows that green means something ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from envoyassert.frozen import frozen
from envoyassert.report.table import count

PASSED, FAILED, KNOWN_DEFECT, XFAILED, INCONCLUSIVE, SKIPPED, ERROR = (
    "passed",
    "failed",
    "known_defect",
    "xfailed",
    "inconclusive",
    "skipped",
    "error",
)
_ORDER = (PASSED, FAILED, KNOWN_DEFECT, XFAILED, INCONCLUSIVE, ERROR, SKIPPED)
#: Outcomes of runs that reached a verdict.
EXECUTED = (PASSED, FAILED, KNOWN_DEFECT, XFAILED, INCONCLUSIVE)


@frozen
class RunRecord:
    """One run, whether it was executed or not.

    Args:
        scenario: name of the scenario with its matrix values: `udp[concurrency=2]`.
        envoy: which Envoy: `1.40.0`.
        launcher: `docker` or `process`.
        concurrency: number of workers asked for.
        outcome: passed, failed, known_defect (failed, as the scenario says it must), xfailed
            (failed, as an xfail mark expects), inconclusive, skipped or error (not judged, or
            failed around the verdict).
        reason: why it is not passed, in one line, or "".
        verdicts: the verdict of each time that it was executed, in order.
        name: name of the scenario alone; "" if its process died before that was known.
        defect: the known defect that explains it, as the scenario states it; "" if none does.
        seen: what was seen of that defect this time, in one line.
    """

    scenario: str
    envoy: str
    launcher: str
    concurrency: str
    outcome: str
    reason: str = ""
    verdicts: tuple[str, ...] = ()
    name: str = ""
    defect: str = ""
    seen: str = ""

    @property
    def went_well(self) -> bool:
        """Whether it passed, or failed as it was to."""
        return self.outcome in (PASSED, KNOWN_DEFECT, XFAILED)

    @property
    def repeated(self) -> bool:
        """Whether it was executed more than once."""
        return len(self.verdicts) > 1


def summary_lines(records: Iterable[RunRecord], interrupted: int = 0) -> list[str]:
    """Return the count of executed runs, the axes they cover, and why others were skipped.

    `48 runs executed: 48 passed (9 scenarios, 2 Envoys, 2 launchers, 1 concurrency)`

    The axes need not multiply to the number of runs: a scenario may have further ones of its own.

    Args:
        records: the runs.
        interrupted: how many runs were not executed since the session was interrupted.
    """
    records = list(records)
    executed = [record for record in records if record.outcome in EXECUTED]
    outcomes = Counter(record.outcome for record in records)
    line = f"{count(len(executed), 'run')} executed"
    counts = [_counted(outcomes[name], name) for name in _ORDER if outcomes[name]]
    if counts:
        line += f": {', '.join(counts)}"
    if executed:
        axes = (
            (len({record.name for record in executed}), "scenario", ""),
            (len({record.envoy for record in executed}), "Envoy", ""),
            (len({record.launcher for record in executed}), "launcher", ""),
            (len({record.concurrency for record in executed}), "concurrency", "concurrencies"),
        )
        line += f" ({', '.join(count(*axis) for axis in axes)})"
    if interrupted:
        line += f"; interrupted: {count(interrupted, 'run')} not executed"
    return [
        line,
        *_reasons(records, KNOWN_DEFECT),
        *_reasons(records, SKIPPED),
        *_repeated(records),
    ]


def _reasons(records: list[RunRecord], outcome: str) -> list[str]:
    # What was seen of a known defect differs from run to run: the first run stands for all.
    equal: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        if record.outcome == outcome:
            known = (record.name, record.defect) if record.defect else ("", record.reason)
            equal.setdefault(known, []).append(record)
    most_first = sorted(equal.values(), key=len, reverse=True)
    return [f"  {_counted(len(same), outcome)}: {_why(same[0])}" for same in most_first]


def _why(record: RunRecord) -> str:
    if not record.defect:
        return record.reason
    return f"{record.name}: ({record.defect}): {record.seen}"


def _repeated(records: list[RunRecord]) -> list[str]:
    lines = [
        f"    {record.scenario}: {', then '.join(record.verdicts)}"
        for record in records
        if record.repeated
    ]
    return [f"  {count(len(lines), 'run')} repeated:", *lines] if lines else []


def _counted(number: int, outcome: str) -> str:
    if outcome in (ERROR, KNOWN_DEFECT):
        return count(number, outcome.replace("_", " "))
    return f"{number} {outcome}"


__all__ = [
    "ERROR",
    "EXECUTED",
    "FAILED",
    "INCONCLUSIVE",
    "KNOWN_DEFECT",
    "PASSED",
    "SKIPPED",
    "XFAILED",
    "RunRecord",
    "summary_lines",
]
