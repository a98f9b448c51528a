"""What `envoyassert run` shows while it works: a live line on a terminal, plain lines elsewhere.

A pytest plugin for the process that prints. pytest says nothing of a single test meanwhile; its
account of failures and its summary stay as they are.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Generator

import pytest

from envoyassert.pytest_plugin.execute import STORY
from envoyassert.pytest_plugin.summary import run_of
from envoyassert.shown import shown

#: How often the live line is drawn again, in seconds.
_INTERVAL_S = 0.2
#: ECMA-48: back to the first column, erase to the end of the line.
_CLEAR = "\r\x1b[K"
_COLOURS = {
    "PASS": "green",
    "FAIL": "red",
    "KNOWN_DEFECT": "yellow",
    "INCONCLUSIVE": "yellow",
    "ERROR": "red",
}


class Progress:
    """A line for every run that is over, and on a terminal one that shows those under way."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._total = 0
        self._done = 0
        self._running: dict[str, float] = {}
        self._words: dict[str, tuple[str, float]] = {}
        self._stood_in: dict[str, list[str]] = {}
        self._reporter: pytest.TerminalReporter | None = None
        self._live: _LiveLine | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Begin, unless the user wants pytest's own lines (-v, -q) or no run at all."""
        config = session.config
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or config.option.verbose != 0 or config.option.collectonly:
            return
        self._reporter = reporter
        # It would begin a line with the name of the file.
        reporter.showfspath = False
        if is_terminal():
            self._live = _LiveLine(self._text)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn how many runs there are."""
        self._total = len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Learn it from a worker, each of which collects all."""
        self._total = len(ids)

    def _text(self) -> str:
        now = time.monotonic()
        total = f" of {self._total}" if self._total else ""
        parts = [f"{now - self._started:.1f} s", f"{self._done}{total} done"]
        running = list(self._running.items())
        parts += [shown(f"{run_of(node)} {now - since:.1f} s") for node, since in running]
        return "  ".join(parts)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A run begins."""
        self._running[nodeid] = time.monotonic()
        if self._live is not None:
            self._live.show()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> Generator[None, tuple[str, str, str], tuple[str, str, str]]:
        """Keep the category, which pytest counts, and leave out what it would print."""
        category, letter, word = yield
        return (category, letter, word) if self._reporter is None else (category, "", "")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember how a run went."""
        properties = dict(report.user_properties)
        self._stood_in[report.nodeid] = str(properties.get("envoyassert_stood_in", "")).splitlines()
        verdict = properties.get("envoyassert_verdict", "")
        word = str(verdict).partition(" ")[0]
        if not word and (report.when == "call" or not report.passed):
            word = {"passed": "PASS", "skipped": "SKIP"}.get(report.outcome, "ERROR")
        before, took = self._words.get(report.nodeid, ("", 0.0))
        late = report.failed and before == "PASS"
        self._words[report.nodeid] = ("ERROR" if late else word or before, took + report.duration)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A run is over: its line stays."""
        self._running.pop(nodeid, None)
        word, took = self._words.pop(nodeid, ("", 0.0))
        stood_in = self._stood_in.pop(nodeid, [])
        if self._reporter is None or not word:
            return
        self._done += 1
        if self._live is not None:
            self._live.hide()
        elapsed = time.monotonic() - self._started
        self._reporter.write(f"{elapsed:7.1f} s  ")
        colour = _COLOURS.get(word)
        self._reporter.write(f"{word:12}", **({colour: True} if colour else {}))
        self._reporter.write_line(shown(f"  {run_of(nodeid)}  {took:.1f} s"))
        for one in stood_in:
            self._reporter.write_line(shown(f"{'':25}stood in: {one}"))
        if self._live is not None and self._running:
            self._live.show()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Leave nothing on the terminal that is not finished; after Ctrl-C too."""
        if self._live is not None:
            self._live.close()
            self._live = None
        # The summary names failures by the words that were left out until now.
        self._reporter = None

    pytest_keyboard_interrupt = pytest_internalerror = pytest_sessionfinish


class Stories:
    """The story of every run, below pytest's line for it."""

    def __init__(self) -> None:
        self._reporter: pytest.TerminalReporter | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Find out where to print."""
        self._reporter = session.config.pluginmanager.get_plugin("terminalreporter")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None]:
        """Take the story out of the report before a failure shows it once more."""
        stories = [text for title, text in report.sections if title == STORY]
        report.sections = [entry for entry in report.sections if entry[0] != STORY]
        yield
        # Every later phase carries it along.
        if stories and report.when != "teardown" and (report.when == "call" or report.failed):
            self._write(stories[-1])

    def _write(self, story: str) -> None:
        if self._reporter is not None:
            self._reporter.ensure_newline()
            for line in story.splitlines():
                self._reporter.write_line(shown(f"  {line}".rstrip()))


def is_terminal() -> bool:
    """Return whether a line on the standard output can be drawn again."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class _LiveLine:
    """The last line of a terminal, drawn again by a thread of its own.

    Args:
        text: returns what to show.
    """

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text
        # pytest puts a file instead of the standard output while a test runs.
        self._terminal = os.dup(sys.stdout.fileno())
        self._lock = threading.Lock()
        self._shown = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._redraw, name="progress", daemon=True)
        self._thread.start()

    def show(self) -> None:
        """Draw it until it is hidden."""
        with self._lock:
            self._shown = True
            self._draw()

    def hide(self) -> None:
        """Make room for something else."""
        with self._lock:
            if self._shown:
                self._write(_CLEAR)
            self._shown = False

    def close(self) -> None:
        """Hide it for good."""
        self.hide()
        self._closed.set()
        self._thread.join()
        os.close(self._terminal)

    def _redraw(self) -> None:
        while not self._closed.wait(_INTERVAL_S):
            with self._lock:
                if self._shown:
                    self._draw()

    def _draw(self) -> None:
        columns = shutil.get_terminal_size().columns
        text = self._text()
        # One column is left free: some terminals wrap when the last one is written.
        self._write(_CLEAR + (text if len(text) < columns else text[: columns - 2] + "…"))

    def _write(self, text: str) -> None:
        os.write(self._terminal, text.encode(sys.stdout.encoding or "utf-8", "replace"))
