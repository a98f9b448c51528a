"""Counting runs from pytest's reports, which xdist carries to the controller."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pytest

from envoyassert.pytest_plugin.session import LACKS, MACHINE_ERROR
from envoyassert.report.summary import (
    ERROR,
    FAILED,
    INCONCLUSIVE,
    KNOWN_DEFECT,
    PASSED,
    SKIPPED,
    XFAILED,
    RunRecord,
)
from envoyassert.shown import shown_lines

#: Prefix of the user properties, which JUnit shows as well.
PREFIX = "envoyassert_"
#: Between the verdicts of a run's attempts, in the user property of that name.
SEPARATOR = ", "
_STRICT = "[XPASS(strict)]"
_SCENARIO_FILE = re.compile(r"\.ya?ml::")


class Tally:
    """What the reports of a session say, as far as it concerns runs."""

    def __init__(self) -> None:
        #: The runs by pytest's name of them, in the order in which they were first reported.
        self.runs: dict[str, RunRecord] = {}
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
        if f"{PREFIX}scenario" in properties:
            before = self.runs.get(report.nodeid)
            if (
                report.when == "teardown"
                and before
                and before.outcome not in (PASSED, KNOWN_DEFECT, XFAILED)
            ):
                return  # what went wrong first says more
            if report.when == "call" or not report.passed:
                self.runs[report.nodeid] = _record(report, properties)
        elif report.failed and _is_of_scenario(report):
            # xdist's own report of a test whose process died knows nothing but its name.
            run = RunRecord(run_of(report.nodeid), "", "", "", ERROR, reason_of(report))
            self.runs[report.nodeid] = run

    def records(self) -> list[RunRecord]:
        """Return the runs in the order in which they were reported."""
        return list(self.runs.values())

    @property
    def nothing_ran(self) -> bool:
        """Whether tests were skipped for what the machine lacks, and no test did anything."""
        return self.lacking > 0 and self.executed == 0


def _is_of_scenario(report: pytest.TestReport) -> bool:
    return _SCENARIO_FILE.search(report.nodeid) is not None


def run_of(nodeid: str) -> str:
    """Return the part of a test's id behind its file, whose path may have a `::` of its own."""
    file = _SCENARIO_FILE.search(nodeid)
    return nodeid[file.end() :] if file else nodeid.partition("::")[2]


def _record(report: pytest.TestReport, properties: Mapping[str, str]) -> RunRecord:
    verdict = properties.get(f"{PREFIX}verdict", "").partition(" ")[0]
    outcome, reason = _outcome(report, verdict)
    attempts = properties.get(f"{PREFIX}attempts", verdict)
    return RunRecord(
        run_of(report.nodeid),
        properties.get(f"{PREFIX}envoy", ""),
        properties.get(f"{PREFIX}launcher", ""),
        properties.get(f"{PREFIX}concurrency", ""),
        outcome,
        reason,
        tuple(attempts.split(SEPARATOR)) if attempts else (),
    )


def _outcome(report: pytest.TestReport, verdict: str) -> tuple[str, str]:
    """Return outcome and reason of a run.

    Args:
        report: the phase that decides it: the call, or another one that did not go well.
        verdict: the run's, or "" if there is none.
    """
    expected = _xfail_reason(report)
    if report.passed:
        return PASSED, "" if expected is None else f"passed, though marked xfail: {expected}"
    if verdict == "KNOWN_DEFECT" and report.skipped:
        return KNOWN_DEFECT, expected or reason_of(report)
    if verdict in ("FAIL", "KNOWN_DEFECT"):
        return (FAILED, reason_of(report)) if expected is None else (XFAILED, expected)
    if verdict == "PASS" and reason_of(report).startswith(_STRICT):
        return FAILED, reason_of(report)
    if verdict == "INCONCLUSIVE":
        return INCONCLUSIVE, reason_of(report)
    if report.skipped:
        return SKIPPED, reason_of(report) if expected is None else f"xfail: {expected}"
    return ERROR, reason_of(report)


def _xfail_reason(report: pytest.TestReport) -> str | None:
    """Return the reason of an expected failure; None if none is expected."""
    expected = getattr(report, "wasxfail", None)
    # pytest.xfail() writes this before the reason until pytest 8.3, a mark never does.
    return None if expected is None else str(expected).removeprefix("reason: ")


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why a test did not pass, in one line."""
    shown = report.longrepr
    if isinstance(shown, tuple):
        return str(shown[2]).removeprefix("Skipped: ")
    crash = getattr(shown, "reprcrash", None)
    lines = str(shown if crash is None else crash.message).splitlines()
    return lines[0] if lines else ""


def properties(values: Mapping[str, str]) -> Iterable[tuple[str, object]]:
    """Return user properties with the plugin's prefix."""
    return [(PREFIX + key, shown_lines(value)) for key, value in values.items()]


def replace_properties(item: pytest.Item, values: Mapping[str, str]) -> None:
    """Give an item user properties, in place of those of the same names."""
    named = {PREFIX + key for key in values}
    item.user_properties[:] = [entry for entry in item.user_properties if entry[0] not in named]
    item.user_properties.extend(properties({key: text for key, text in values.items() if text}))
