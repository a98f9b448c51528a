"""GitHub Actions: an annotation on the YAML line of each failure, and a summary of the job.

The reports arrive in xdist's controller as in a session of one process, so this works with both.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from envoyassert.errors import MachineError
from envoyassert.guard import guarded
from envoyassert.output_file import append_text
from envoyassert.pytest_plugin.summary import PREFIX, Tally
from envoyassert.report.annotation import (
    Annotation,
    in_repository,
    problem_annotations,
    workflow_command,
)
from envoyassert.report.certificate import certificates_lines
from envoyassert.report.job_summary import Mishap, job_summary
from envoyassert.report.summary import summary_lines
from envoyassert.shown import shown

#: A plugin that annotates what fails in the call phase, from the same place and message.
_ANNOTATOR = "pytest_github_actions_annotate_failures"


class GitHubReporter:
    """A plugin that tells GitHub what went wrong.

    Args:
        tally: what the reports say.
        annotates: whether annotations are written.
        summary: the file for the job's summary, or "" for none.
        workspace: the directory of the checkout, or "" if unknown.
        others_annotate: whether another plugin annotates failures of the call phase.
    """

    def __init__(
        self,
        tally: Tally,
        *,
        annotates: bool,
        summary: str,
        workspace: str,
        others_annotate: bool = False,
    ) -> None:
        self._tally = tally
        self._annotates = annotates
        self._summary = summary
        self._workspace = workspace
        self._others_annotate = others_annotate
        self._annotations: list[Annotation] = []
        self._mishaps: list[Mishap] = []
        self._certificates: dict[str, str] = {}
        self._faults: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of a run that did not pass."""
        guarded(lambda: self._take(report), self._faults.append)

    def _take(self, report: pytest.TestReport) -> None:
        properties = {str(key): str(value) for key, value in report.user_properties}
        if f"{PREFIX}certificate" in properties:
            self._certificates[report.nodeid] = properties[f"{PREFIX}certificate"]
        crash = getattr(report.longrepr, "reprcrash", None)
        if not report.failed or crash is None or f"{PREFIX}scenario" not in properties:
            return
        status = properties.get(f"{PREFIX}verdict", "ERROR")
        if not status.startswith(("FAIL", "INCONCLUSIVE")):
            status = "ERROR"
        path = in_repository(crash.path, self._workspace)
        run = report.nodeid.rpartition("::")[2]
        text = _text_of(report, crash.message)
        reason = crash.message.removeprefix(f"{status}: ")
        self._mishaps.append(Mishap(status, run, f"{path}:{crash.lineno}", reason, text))
        if not (self._others_annotate and report.when == "call"):
            title = f"{status} {run}"
            self._annotations.append(Annotation(path, crash.lineno, title, text))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take note of a file that is no valid scenario."""
        guarded(lambda: self._take_invalid(report), self._faults.append)

    def _take_invalid(self, report: pytest.CollectReport) -> None:
        if report.failed and report.nodeid.endswith((".yaml", ".yml")):
            text = str(report.longrepr)
            for found in problem_annotations(text):
                path = in_repository(found.path, self._workspace)
                annotation = Annotation(path, found.line, found.title, found.message, found.column)
                self._annotations.append(annotation)
                place = f"{path}:{found.line}"
                self._mishaps.append(Mishap("ERROR", found.title, place, found.message, text))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write both."""
        guarded(lambda: self._write(terminalreporter), self._faults.append)
        for fault in self._faults:
            terminalreporter.write_line(
                shown(f"warning: annotations or summary of the job: {fault}")
            )

    def _write(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._annotates:
            for annotation in self._annotations:
                terminalreporter.write_line(workflow_command(annotation))
        records = self._tally.records()
        if not self._summary or not (records or self._mishaps):
            return
        lines = [*summary_lines(records), *certificates_lines(self._certificates.values())]
        text = job_summary(lines, self._mishaps)
        try:
            # Other steps of the job may have written to it.
            append_text(text, self._summary)
        except MachineError as error:
            line = shown(f"warning: the summary of the job: {error.message}")
            terminalreporter.write_line(line)


def _text_of(report: pytest.TestReport, message: str) -> str:
    """Return our own text of a failure, without the line for the place that pytest adds."""
    entries = getattr(getattr(report.longrepr, "reprtraceback", None), "reprentries", None)
    lines = [line for entry in entries or () for line in entry.lines]
    return "\n".join(lines).rstrip() or message


def github_reporter(
    config: pytest.Config, tally: Tally, environ: Mapping[str, str]
) -> GitHubReporter | None:
    """Return the plugin, or None if neither annotations nor a summary are asked for.

    Args:
        config: pytest's.
        tally: what the reports say.
        environ: the environment; GITHUB_ACTIONS, GITHUB_STEP_SUMMARY and GITHUB_WORKSPACE count.
    """
    annotates = environ.get("GITHUB_ACTIONS") == "true"
    summary = environ.get("GITHUB_STEP_SUMMARY", "")
    if not annotates and not summary:
        return None
    return GitHubReporter(
        tally,
        annotates=annotates,
        summary=summary,
        workspace=environ.get("GITHUB_WORKSPACE", ""),
        others_annotate=config.pluginmanager.hasplugin(_ANNOTATOR),
    )
