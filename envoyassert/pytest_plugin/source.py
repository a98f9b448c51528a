"""Where the reports of all tests arrive, and what comes of them: the events of a session.

This is in the one process that prints: under xdist in the controller.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from envoyassert.errors import JudgingError, MachineError, fault_words
from envoyassert.outputs.stream import Stream
from envoyassert.pytest_plugin.console import PytestConsole
from envoyassert.pytest_plugin.crossing import Arrivals, problems_of
from envoyassert.pytest_plugin.named import asked_paths
from envoyassert.pytest_plugin.options import YAML_SUFFIXES
from envoyassert.pytest_plugin.runs import Runs, RunState, is_of_scenario, title_of
from envoyassert.pytest_plugin.session import (
    DESELECTED,
    DIVISION,
    IS_COMMAND,
    MACHINE_ERROR,
    refusing,
    session_of,
)
from envoyassert.shown import shown_lines

_ENDED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
_PHASES = ("setup", "call", "teardown")
#: Of the user properties, which JUnit shows.
PREFIX = "envoyassert_"


class Source:
    """A plugin that makes the events of a session.

    In a session without scenarios it loads nothing, unless an output needs its beginning.

    Args:
        config: pytest's.
        stream: takes the events.
        console: where the outputs print.
    """

    def __init__(self, config: pytest.Config, stream: Stream, console: PytestConsole) -> None:
        self._config = config
        self._stream = stream
        self._console = console
        self._runs = Runs()
        self._arrivals = Arrivals()
        self._states: dict[str, RunState] = {}
        self._began = False
        self._started_s = 0.0
        self._stopped = ""
        #: The tests that were found, by their ids; of xdist's workers each finds all.
        self._ids: list[str] = []
        self._found_all = False
        self._interrupted = False

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Take note of what is left out."""
        session_of(self._config).deselected += len(items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take note of what a worker of xdist left out; each of them leaves out the same."""
        output = getattr(node, "workeroutput", {})
        session = session_of(self._config)
        session.deselected += output.get(DESELECTED, 0)
        session.division = session.division or output.get(DIVISION, "")

    def _begin(self) -> None:
        """Emit the beginning, before any other event."""
        if self._began:
            return
        from envoyassert.outputs.events import SessionAsked, SessionBegan
        from envoyassert.pytest_plugin.division import part_of
        from envoyassert.pytest_plugin.machine import this_machine

        self._began = True
        options = session_of(self._config).options
        self._stream.emit(
            SessionBegan(
                this_machine(),
                self._started_s,
                SessionAsked(
                    options.launchers,
                    options.envoys,
                    options.tracer,
                    options.witness,
                    options.untrusted,
                ),
                collects_only=self._config.option.collectonly,
                verbosity=self._config.getoption("verbose", 0),
                part=part_of(self._config),
            )
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Let outputs prepare.

        Raises:
            pytest.UsageError: one is asked for in a way that it cannot be made.
        """
        self._started_s = time.time()
        if self._stream.needs_beginning:
            with refusing():
                self._begin()

    def pytest_collection_modifyitems(self) -> None:
        """Take note that all were found: what follows comes after an interrupt too."""
        self._found_all = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_collectionfinish(self, items: list[pytest.Item]) -> None:
        """Learn which runs there are, where a header of a session has its place."""
        self._found_items(items)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn it where there is no terminal for a header."""
        if not self._console.is_shown:
            self._found_items(session.items)

    def _found_items(self, items: list[pytest.Item]) -> None:
        plans = [item.plan for item in items if hasattr(item, "plan")]
        privileges = ""
        if plans:
            from envoyassert.pytest_plugin.machine import privileges_of

            privileges = privileges_of(plans)
        ids = [item.nodeid for item in items]
        self._found(ids, session_of(self._config).has_scenarios, privileges)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Learn it from a worker, each of which collects all."""
        self._found_all = True
        self._found(ids, any(map(is_of_scenario, ids)))

    def _found(self, ids: list[str], has_scenarios: bool, privileges: str = "") -> None:
        self._ids = ids
        if self._began or has_scenarios:
            from envoyassert.outputs.events import RunsFound

            self._begin()
            self._stream.emit(RunsFound(len(ids), has_scenarios, privileges))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take note of what could not be collected."""
        if report.failed and (self._began or report.nodeid.endswith(YAML_SUFFIXES)):
            from envoyassert.outputs.events import FileRefused

            self._begin()
            message, problems = str(report.longrepr), problems_of(report)
            self._stream.emit(FileRefused(report.nodeid, message, problems))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        if self._began or is_of_scenario(nodeid):
            from envoyassert.outputs.events import RunBegan

            self._begin()
            self._stream.emit(RunBegan(nodeid, title_of(nodeid)))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None]:
        """Emit what a report carries and means, before anybody else takes note of it."""
        state = self._states.setdefault(report.nodeid, RunState())
        if report.when not in _PHASES:
            state.run = None  # the process died, and with it what was not written
        for event in self._arrivals.take(report):
            self._begin()
            state.take(event)
            self._stream.emit(event)
            state.sections.update(self._stream.sections(event))
            state.properties.update(self._stream.properties(event))
        if state.sections:
            report.sections += state.sections.items()
        if state.properties:
            report.user_properties += [
                (PREFIX + name, shown_lines(text))
                for name, text in state.properties.items()
                if text
            ]
        state.add(report)
        self._runs.add(report, state)
        if report.when not in _PHASES[:2] and not state.is_repeated:
            self._ended(report.nodeid, state, report)
        yield

    def _ended(self, nodeid: str, state: RunState, report: pytest.TestReport | None) -> None:
        """Emit the end of a test."""
        del self._states[nodeid]
        if not self._began and state.record is None:
            return
        from envoyassert.outputs.events import RunEnded, RunNotJudged

        self._begin()
        title = title_of(nodeid)
        if state.record is not None and not state.verdicts:
            record = state.record
            self._stream.emit(RunNotJudged(nodeid, title, record.outcome, record.reason))

        def event() -> RunEnded:
            return RunEnded(
                nodeid,
                title,
                state.word,
                state.started_s,
                state.stopped_s - state.started_s,
                state.record,
                state.run,
                tuple(state.failures),
            )

        def failed(_: RunEnded, output: str, error: Exception) -> RunEnded:
            assert report is not None
            self._make_error(report, state, output, error)
            return event()

        self._stream.emit(event(), failed if report is not None else None)

    def _make_error(
        self, report: pytest.TestReport, state: RunState, output: str, error: Exception
    ) -> None:
        """Make an error of a test whose results could not be written: it would be green else."""
        from envoyassert.pytest_plugin.representation import representation

        known = error if isinstance(error, MachineError) else None
        ours = known or JudgingError(f"{output} {fault_words(error)}")
        path, line, _ = report.location
        report.outcome = "failed"
        place = Path(self._config.rootpath, path)
        report.longrepr = representation(ours, place, (line or 0) + 1)
        report.user_properties.append((MACHINE_ERROR, type(ours).__name__))
        state.add(report)
        self._runs.add(report, state)

    @pytest.hookimpl(wrapper=True)
    def pytest_keyboard_interrupt(
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> Generator[None]:
        """Take note of why the session ends early, and leave out the place of ours where it was."""
        self._stopped = str(excinfo.value) or "interrupted"
        self._interrupted = type(excinfo.value) is KeyboardInterrupt
        self._stopping(self._stopped)
        yield
        # Without any, it is not known what pytest was to run.
        has_own = bool(self._ids) or self._config.stash.get(IS_COMMAND, False)
        if self._interrupted and has_own and all(map(is_of_scenario, self._ids)):
            from envoyassert.pytest_plugin.representation import without_place

            without_place(self._config, self._stopped)

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object) -> None:
        """Let outputs finish their lines before pytest prints the fault."""
        self._stopping(str(excrepr))

    def _stopping(self, reason: str) -> None:
        if self._began:
            from envoyassert.outputs.events import SessionStopping

            self._stream.emit(SessionStopping(reason))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Emit the end, and fail a session that would pass for lack of tests or of outputs."""
        exit_codes = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if self._runs.nothing_ran and session.exitstatus in exit_codes:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        self._console.hold()
        for nodeid, state in list(self._states.items()):
            if state.record is not None:  # it was cut off in its teardown
                self._ended(nodeid, state, None)
        if self._runs.nothing_ran:
            self._begin()
        if not self._began:
            return
        from envoyassert.outputs.events import SessionEnded

        stopped = session.shouldfail or session.shouldstop
        self._stopped = self._stopped or (stopped if isinstance(stopped, str) else "")
        self._stream.emit(
            SessionEnded(
                self._runs.records,
                complete=session.exitstatus in _ENDED and not self._stopped,
                stopped=self._stopped,
                nothing_ran=self._runs.nothing_ran,
                machine_errors=self._runs.machine_errors,
                scenario_errors=self._runs.scenario_errors,
                whole=session_of(self._config).is_whole(self._config),
                asked=asked_paths(self._config),
                division=session_of(self._config).division,
                interrupted=self._left_out() if self._interrupted and self._found_all else 0,
            )
        )
        if self._stream.lacks_output and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _left_out(self) -> int:
        """Return how many runs were not executed, the one that was under way included."""
        return sum(is_of_scenario(one) and one not in self._runs.records for one in self._ids)

    def pytest_terminal_summary(self) -> None:
        """Print what the outputs have to say at the end."""
        self._console.release()

    def pytest_unconfigure(self) -> None:
        """Print it where pytest had no summary, without a terminal above all."""
        self._console.release()
