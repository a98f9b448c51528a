"""Counting runs from pytest's reports, which xdist carries to the controller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from envoyassert.pytest_plugin.session import LACKS, MACHINE_ERROR
from envoyassert.report.summary import (
    ERROR,
    FAILED,
    INCONCLUSIVE,
    PASSED,
    SKIPPED,
    RunRecord,
)

#: Prefix of the user properties, which JUnit shows as well.
PREFIX = "envoyassert_"
_OUTCOMES = {"PASS": PASSED, "FAIL": FAILED, "INCONCLUSIVE": INCONCLUSIVE}


class Tally:
    """What the reports of a session say, as far as it concerns runs."""

    def __init__(self) -> None:
        self._runs: dict[str, RunRecord] = {}
        #: Tests of any kind that did something.
        self.executed = 0
        #: Tests that were skipped because this machine lacks something.
        self.lacking = 0
        #: Tests that ended in an error of the machine.
        self.machine_errors = 0

    def add(self, report: pytest.TestReport) -> None:
        """Take note of one phase of one test."""
        properties = {str(key): str(value) for key, value in report.user_properties}
        if report.when == "call" or report.failed:
            self.executed += 1
        if report.skipped and LACKS in properties:
            self.lacking += 1
        if report.failed and MACHINE_ERROR in properties:
            self.machine_errors += 1
        if f"{PREFIX}scenario" in properties and (report.when == "call" or not report.passed):
            self._runs[report.nodeid] = _record(report, properties)

    def records(self) -> list[RunRecord]:
        """Return the runs in the order in which they were reported."""
        return list(self._runs.values())

    @property
    def nothing_ran(self) -> bool:
        """Whether tests were skipped for what the machine lacks, and no test did anything."""
        return self.lacking > 0 and self.executed == 0


def _record(report: pytest.TestReport, properties: Mapping[str, str]) -> RunRecord:
    verdict = properties.get(f"{PREFIX}verdict", "")
    outcome = _OUTCOMES.get(verdict.partition(" ")[0])
    if outcome is None:
        outcome = SKIPPED if report.skipped else ERROR
    reason = ""
    if outcome == SKIPPED and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
    return RunRecord(
        properties[f"{PREFIX}scenario"],
        properties.get(f"{PREFIX}envoy", ""),
        properties.get(f"{PREFIX}launcher", ""),
        properties.get(f"{PREFIX}concurrency", ""),
        outcome,
        reason,
    )


def properties(values: Mapping[str, str]) -> Iterable[tuple[str, object]]:
    """Return user properties with the plugin's prefix."""
    return [(PREFIX + key, value) for key, value in values.items()]
