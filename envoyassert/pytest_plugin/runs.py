"""How runs count, by pytest's reports and the events that these carry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from envoyassert.pytest_plugin.session import LACKS, MACHINE_ERROR, SCENARIO_ERROR

if TYPE_CHECKING:
    from envoyassert.outputs.events import Failure, Run, RunEvent, RunJudged
    from envoyassert.report.summary import RunRecord

_STRICT = "[XPASS(strict)]"
_SCENARIO_FILE = re.compile(r"\.ya?ml::")


class RunState:
    """What is known of a test, of which reports arrive.

    Attributes:
        run: which run of a scenario it is; None for a test in Python.
        verdicts: of each time that it was executed.
        judged: the last verdict.
        word: how it went so far: the verdict, or PASS, SKIP, ERROR; "" if that is not known.
        record: how it counts; None while that is not known.
        failures: what went wrong.
        sections: texts by title that outputs add to its reports.
        properties: texts by name that outputs add to them.
        is_repeated: whether another plugin executes the test once more.
        started_s, stopped_s: when, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.run: Run | None = None
        self.verdicts: list[str] = []
        self.judged: RunJudged | None = None
        self.word = ""
        self.record: RunRecord | None = None
        self.failures: list[Failure] = []
        self.sections: dict[str, str] = {}
        self.properties: dict[str, str] = {}
        self.is_repeated = False
        self.started_s = 0.0
        self.stopped_s = 0.0

    def take(self, event: RunEvent) -> None:
        """Take note of an event."""
        self.run = event.run
        if event.event == "run_judged":
            self.verdicts.append(event.standing)
            self.judged = event

    def add(self, report: pytest.TestReport) -> None:
        """Take note of a phase of the test."""
        self.started_s = self.started_s or report.start
        self.stopped_s = report.stop
        # The word of pytest-rerunfailures, which may report the teardown of such a test too.
        rerun = str(report.outcome) == "rerun"
        self.is_repeated = rerun or (self.is_repeated and report.when != "setup")
        self._add_word(report)
        if self.run is not None:
            # What went wrong first says more.
            went_well = self.record is None or self.record.went_well
            counts = report.when == "call" or not report.passed
            if counts and (went_well or report.when != "teardown"):
                self.record = self._record(report, self.run)
            self._add_failure(report)
        elif report.failed and is_of_scenario(report.nodeid):
            from envoyassert.report.summary import ERROR, RunRecord

            # xdist's own report of a test whose process died knows nothing but its name.
            self.record = RunRecord(title_of(report.nodeid), "", "", "", ERROR, reason_of(report))

    def _add_word(self, report: pytest.TestReport) -> None:
        word = self.verdicts[-1] if self.verdicts else ""
        if not word and (report.when == "call" or not report.passed):
            word = {"passed": "PASS", "skipped": "SKIP"}.get(report.outcome, "ERROR")
        late = report.failed and self.word == "PASS"
        self.word = "ERROR" if late else word or self.word

    def _record(self, report: pytest.TestReport, run: Run) -> RunRecord:
        from envoyassert.report.summary import RunRecord

        verdict = self.verdicts[-1] if self.verdicts else ""
        outcome, reason = _outcome(report, verdict)
        envoy = None if self.judged is None else self.judged.envoy
        return RunRecord(
            run.title,
            run.asked.envoy if envoy is None else envoy.version or envoy.source,
            run.asked.launcher if envoy is None else envoy.launcher,
            str(run.asked.concurrency),
            outcome,
            reason,
            tuple(self.verdicts),
            run.scenario.name,
            "" if self.judged is None else self.judged.defect,
            "" if self.judged is None else self.judged.seen,
        )

    def _add_failure(self, report: pytest.TestReport) -> None:
        from envoyassert.outputs.events import Failure

        crash = getattr(report.longrepr, "reprcrash", None)
        if not report.failed or crash is None:
            return
        status, reason = "ERROR", crash.message
        judged = self.judged if report.when != "teardown" else None
        if judged is not None and judged.standing in ("FAIL", "INCONCLUSIVE"):
            of_baseline = "" if judged.baseline is None else judged.baseline.reason
            status = judged.standing
            reason = judged.reason if judged.status == status else of_baseline
        text = _text_of(report) or crash.message
        self.failures.append(Failure(status, report.when, crash.path, crash.lineno, reason, text))


class Runs:
    """What the reports of a session say.

    Attributes:
        records: the runs by pytest's name of them, in the order in which they were first reported.
        executed: how many tests of any kind did something.
        lacking: how many were skipped because this machine lacks something.
        machine_errors: how many ended in an error of the machine.
        scenario_errors: how many ended in an error of the scenario.
    """

    def __init__(self) -> None:
        self.records: dict[str, RunRecord] = {}
        self.executed = 0
        self.lacking = 0
        self.machine_errors = 0
        self.scenario_errors = 0

    def add(self, report: pytest.TestReport, state: RunState) -> None:
        """Take note of one phase of one test, after its state did."""
        if report.when == "call" or report.failed:
            self.executed += 1
        if not report.passed:
            names = {name for name, _ in report.user_properties}
            self.lacking += report.skipped and LACKS in names
            self.machine_errors += report.failed and MACHINE_ERROR in names
            self.scenario_errors += report.failed and SCENARIO_ERROR in names
        if state.record is not None:
            self.records[report.nodeid] = state.record

    @property
    def nothing_ran(self) -> bool:
        """Whether tests were skipped for what the machine lacks, and no test did anything."""
        return self.lacking > 0 and self.executed == 0


def is_of_scenario(nodeid: str) -> bool:
    """Return whether a test is of a scenario file, by its id alone."""
    return _SCENARIO_FILE.search(nodeid) is not None


def title_of(nodeid: str) -> str:
    """Return the part of a test's id behind its file, whose path may have a `::` of its own."""
    file = _SCENARIO_FILE.search(nodeid)
    return nodeid[file.end() :] if file else nodeid.partition("::")[2]


def _outcome(report: pytest.TestReport, verdict: str) -> tuple[str, str]:
    """Return outcome and reason of a run.

    Args:
        report: the phase that decides it: the call, or another one that did not go well.
        verdict: the run's, or "" if there is none.
    """
    from envoyassert.report.summary import (
        ERROR,
        FAILED,
        INCONCLUSIVE,
        KNOWN_DEFECT,
        PASSED,
        SKIPPED,
        XFAILED,
    )

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


def reason_of(report: pytest.TestReport) -> str:
    """Return why a test did not pass, in one line."""
    found = report.longrepr
    if isinstance(found, tuple):
        return str(found[2]).removeprefix("Skipped: ")
    crash = getattr(found, "reprcrash", None)
    lines = str(found if crash is None else crash.message).splitlines()
    return lines[0] if lines else ""


def _text_of(report: pytest.TestReport) -> str:
    """Return our own text of a failure, without the line for the place that pytest adds."""
    entries = getattr(getattr(report.longrepr, "reprtraceback", None), "reprentries", None)
    return "\n".join(line for entry in entries or () for line in entry.lines).rstrip()
