"""Makes pytest leave the line of a run to `envoyassert.outputs.progress`."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from envoyassert.pytest_plugin.session import IS_COMMAND

#: pytest's last line has it behind a number: `80 passed, 12 with a known defect`.
_KNOWN_DEFECT = "with a known defect"


class OwnLines:
    """A pytest plugin for `envoyassert run`, in the process that prints.

    pytest says nothing of a single test meanwhile, unless the user asks for its lines (-v, -q). Its
    account of failures and its summary stay as they are.
    """

    def __init__(self) -> None:
        self._hides = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Say so to the outputs, before they are made."""
        config.stash[IS_COMMAND] = True

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Begin."""
        config = session.config
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or config.option.verbose != 0 or config.option.collectonly:
            return
        self._hides = True
        # It would begin a line with the name of the file.
        reporter.showfspath = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> Generator[None, tuple[str, str, str], tuple[str, str, str]]:
        """Keep the category, which pytest counts, and leave out what it would print.

        A known defect has a category of its own, or pytest would list it among what failed.
        """
        category, letter, word = yield
        if category == "xfailed" and _is_known_defect(report):
            category = _KNOWN_DEFECT
        return (category, "", "") if self._hides else (category, letter, word)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Let the summary name failures by the words that were left out until now."""
        self._hides = False

    pytest_keyboard_interrupt = pytest_internalerror = pytest_sessionfinish


def _is_known_defect(report: pytest.TestReport) -> bool:
    from envoyassert.report.headline import KNOWN_DEFECT_STARTS

    # pytest.xfail() writes `reason: ` before it until pytest 8.3.
    reason = str(getattr(report, "wasxfail", "")).removeprefix("reason: ")
    return reason.startswith(KNOWN_DEFECT_STARTS)
