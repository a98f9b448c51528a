"""How a failed item shows: our text, with a place and one line for summaries and JUnit.

The only module that imports from `_pytest`: its classes survive xdist's serialisation, which a
representation of our own would not, and without a `reprcrash` the short summary and JUnit's
`message` would lose the reason.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest._code.code import (
    ReprEntryNative,
    ReprExceptionInfo,
    ReprFileLocation,
    ReprTraceback,
)

from envoyassert.errors import EnvoyAssertError, ScenarioError, text_with_output
from envoyassert.judge.verdict import Status
from envoyassert.outcomes import NotPassed
from envoyassert.report.colour import coloured
from envoyassert.shown import shown


def representation(
    error: BaseException, path: Path, line: int, where: str = ""
) -> ReprExceptionInfo | None:
    """Return how an error of a scenario item shows, None for one that is not ours.

    Args:
        error: what was raised.
        path: the scenario file.
        line: 1-based line where it starts, for errors without a place of their own.
        where: the place as text, to stand before the error; "" for none.
    """
    if isinstance(error, NotPassed):
        if error.place is not None:
            line = error.place.line
        return _represent(str(error), path, line, error.summary)
    if isinstance(error, EnvoyAssertError):
        text = text_with_output(error)
        text = f"{shown(where)}: error: {text}" if where else text
        return _represent(text, path, line, shown(error.message.partition("\n")[0]))
    return None


def _represent(text: str, path: Path, line: int, summary: str) -> ReprExceptionInfo:
    return ReprExceptionInfo(
        ReprTraceback([ReprEntryNative([text + "\n"])], None, "native"),
        ReprFileLocation(shown(str(path)), line, summary),
    )


def collect_error(error: ScenarioError) -> pytest.Collector.CollectError:
    """Return the error that makes pytest print every problem of a scenario file, no traceback."""
    return pytest.Collector.CollectError(str(error))


def without_place(config: pytest.Config, reason: str) -> None:
    """Have pytest say why a session was interrupted alone, unless it is to show the traceback.

    Args:
        config: pytest's.
        reason: why.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.option.fulltrace:
        return
    nothing = ReprTraceback([], None, "native")
    # pytest adds the place where a message has the name of the exception.
    words = reason if reason.startswith("interrupted") else f"interrupted: {reason}"
    reporter._keyboardinterrupt_memo = ReprExceptionInfo(  # noqa: SLF001 - there is no public way
        nothing, ReprFileLocation("", 0, words)
    )


_OURS = tuple(f"{status.value}{sign}" for status in Status for sign in (" ", ":", "\n"))


@contextlib.contextmanager
def in_colour(reporter: pytest.TerminalReporter) -> Iterator[None]:
    """Have the texts of failures that are ours in colour inside a `with` statement.

    Args:
        reporter: pytest's terminal, which has colours.
    """
    changed: list[tuple[Any, list[str]]] = []
    for report in (*reporter.stats.get("failed", ()), *reporter.stats.get("error", ())):
        traceback = getattr(report.longrepr, "reprtraceback", None)
        for entry in getattr(traceback, "reprentries", ()):
            if entry.lines and str(entry.lines[0]).startswith(_OURS):
                changed.append((entry, entry.lines))
                text = "".join(entry.lines)
                entry.lines = ["\n".join(coloured(text.split("\n")))]
    try:
        yield
    finally:
        for entry, lines in changed:
            entry.lines = lines
