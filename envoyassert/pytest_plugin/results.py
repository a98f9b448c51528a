"""Writing the results for machines: each process its own runs, the controlling one the index.

A run's document is written when the run is over, in the process that ran it, so that under xdist
nothing but its name has to travel. The index is written at the start too, as incomplete: a session
that was killed leaves no old one behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections.abc import Generator, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envoyassert.errors import JudgingError, MachineError
from envoyassert.guard import fault_words
from envoyassert.launch.wanted import preference_of, source_of
from envoyassert.output_file import directory_at, write_lines
from envoyassert.pytest_plugin.attempts import attempts_of
from envoyassert.pytest_plugin.failure import representation
from envoyassert.pytest_plugin.machine import this_machine
from envoyassert.pytest_plugin.places import DOCUMENT, RUNS, run_directory
from envoyassert.pytest_plugin.session import MACHINE_ERROR
from envoyassert.pytest_plugin.summary import Tally
from envoyassert.report.results import AskedPart, RunDocument, ScenarioPart, index_document
from envoyassert.report.verdict_json import Location, Part
from envoyassert.shown import json_text, shown

if TYPE_CHECKING:
    from envoyassert.pytest_plugin.collect import ScenarioItem

INDEX = "index.json"
_INDEX_FORMATS = "envoyassert-index/"
_ENDED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


class ResultWriter:
    """A plugin that writes the document of each run in the process that runs it.

    Args:
        directory: of the report.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._machine = this_machine()
        self._tally = Tally()
        self._started: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Take note of a phase of a run; after the last one write its document."""
        report = yield
        if hasattr(item, "plan"):
            self._started.setdefault(item.nodeid, call.start)
            self._tally.add(report)
            if call.when == "teardown" and item.nodeid in self._tally.runs:
                try:
                    self._write(item, call.stop)  # type: ignore[arg-type]  # it has a plan
                except Exception as problem:  # noqa: BLE001 - it becomes the test's error
                    # A report that lacks a run would be green by silence.
                    known = isinstance(problem, MachineError)
                    error = problem if known else JudgingError(f"results {fault_words(problem)}")
                    report.outcome = "failed"
                    line = (item.reportinfo()[1] or 0) + 1
                    report.longrepr = representation(error, item.path, line)
                    report.user_properties.append((MACHINE_ERROR, type(error).__name__))
        return report

    def _write(self, item: ScenarioItem, stopped_s: float) -> None:
        attempts, plan = attempts_of(item), item.plan
        record = self._tally.runs[item.nodeid]
        started_s = self._started[item.nodeid]
        line, column = plan.loaded.mark(("name",))
        document = RunDocument(
            id=item.nodeid,
            run=plan.id,
            scenario=ScenarioPart(
                name=plan.scenario.name,
                description=plan.scenario.description.strip(),
                location=Location(file=str(plan.loaded.path), line=line, column=column),
                matrix=plan.matrix_text,
            ),
            outcome=record.outcome,
            reason=record.reason,
            started=_utc(started_s),
            duration_s=round(stopped_s - started_s, 3),
            asked=AskedPart(
                envoy=str(source_of(plan)),
                launcher=preference_of(plan, "auto"),
                concurrency=plan.workers,
            ),
            envoy=attempts.envoy,
            machine=self._machine,
            verdict=attempts.verdict,
            figures=attempts.figures,
            attempts=tuple(attempts.done),
        )
        _write(document, self._directory, f"{run_directory(item.nodeid)}/{DOCUMENT}")


class ResultIndex:
    """A plugin that prepares the directory and writes the index, where all reports arrive.

    Args:
        directory: of the report.
        tally: what the reports say.
    """

    def __init__(self, directory: str, tally: Tally) -> None:
        self._directory = Path(directory)
        self._tally = tally
        self._machine = this_machine()
        self._started = ""
        self._faults: dict[str, str] = {}
        self._stopped = ""
        self._error: MachineError | None = None
        self._lock = contextlib.ExitStack()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remove the last session's results.

        Raises:
            pytest.UsageError: the directory cannot be written, is in use, or holds other things.
        """
        if session.config.option.collectonly:
            return
        self._started = _utc(datetime.now(timezone.utc).timestamp())
        try:
            self._lock.enter_context(_locked(self._directory))
            self._empty()
            self._write(complete=False)
        except OSError as error:
            raise pytest.UsageError(
                f"--envoyassert-report: {self._directory} cannot be used: {error.strerror or error}"
            ) from error
        except MachineError as error:
            raise pytest.UsageError(f"--envoyassert-report: {error}") from error

    def _empty(self) -> None:
        """Remove the runs of an earlier report, and nothing that is not of one."""
        index, runs = self._directory / INDEX, self._directory / RUNS
        if not index.exists() and not runs.exists():
            return
        if not _is_index(index):
            raise pytest.UsageError(
                f"--envoyassert-report: {self._directory} holds {index.name} or {runs.name}/ that "
                "are not of a report; name another directory"
            )
        if runs.exists():
            shutil.rmtree(runs)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take note of what could not be collected."""
        if report.failed:
            self._faults[report.nodeid] = str(report.longrepr)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Take note of why the session ends early."""
        self._stopped = str(excinfo.value) or "interrupted"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the index."""
        if not self._started:
            return
        stopped = session.shouldfail or session.shouldstop
        self._stopped = self._stopped or (stopped if isinstance(stopped, str) else "")
        try:
            self._write(complete=session.exitstatus in _ENDED and not self._stopped)
        except MachineError as error:
            self._error = error
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        finally:
            self._lock.close()

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where the results are."""
        if self._error is not None:
            terminalreporter.write_line(shown(f"ERROR: {self._error}"), red=True)
        elif self._started:
            terminalreporter.write_line(shown(f"results: {self._directory / INDEX}"))

    def _write(self, *, complete: bool) -> None:
        documents = {}
        for name in self._tally.runs:
            path = f"{run_directory(name)}/{DOCUMENT}"
            if (self._directory / path).exists():
                documents[name] = path
        index = index_document(
            self._tally.runs,
            documents,
            self._faults,
            machine=self._machine,
            started=self._started,
            complete=complete,
            stopped=self._stopped,
        )
        _write(index, self._directory, INDEX)


def _is_index(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and str(found.get("format")).startswith(_INDEX_FORMATS)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a directory for one session; the lock is on itself, so that no lock file is left.

    Raises:
        pytest.UsageError: another session holds it.
    """
    with directory_at(directory) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise pytest.UsageError(
                f"--envoyassert-report: another session is writing to {directory}; name another one"
            ) from error
        yield


def _write(document: Part, directory: Path, name: str) -> None:
    text = json_text(document.model_dump(mode="json"), indent=1)
    write_lines(text.splitlines(), directory / name, below=directory)


def _utc(timestamp_s: float) -> str:
    when = datetime.fromtimestamp(timestamp_s, timezone.utc)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
