"""Plugins of the pytest session of `envoyassert run`: for its lines, its time and its workers."""

from __future__ import annotations

import gc
import shlex
import sys
from collections.abc import Generator, Iterable
from typing import Any

import pytest

from envoyassert.pytest_plugin.named import named_files
from envoyassert.pytest_plugin.options import YAML_SUFFIXES
from envoyassert.pytest_plugin.session import IS_COMMAND, session_of

#: pytest's last line has it behind a number: `80 passed, 12 with a known defect`.
_KNOWN_DEFECT = "with a known defect"


class OwnLines:
    """Leaves the line of a run to `envoyassert.outputs.progress`, in the process that prints.

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


class Spared:
    """Leaves out what a pytest session would take time for, and no scenario needs."""

    def __init__(self) -> None:
        self._loaded = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Leave out Hypothesis, where no test in Python is named.

        At the end it imports all of itself, to say that it wrote no observations.
        """
        plugins = config.pluginmanager
        if plugins.hasplugin("hypothesispytest") and all(
            file.endswith(YAML_SUFFIXES) for file in named_files(config)
        ):
            plugins.unregister(name="hypothesispytest")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Let the kernel check the probe while the scenarios are read, if they run here."""
        config = session.config
        elsewhere = config.getoption("collectonly") or config.getoption("dist", "no") != "no"
        if not elsewhere and session_of(config).options.tracer == "ebpf":
            from envoyassert.probe.program import load_early

            load_early()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None]:
        """Keep what the first run has loaded out of all looks for garbage: it stays."""
        yield
        if not self._loaded:
            self._loaded = True
            gc.freeze()

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        """Look for garbage once: pytest does so ten times, for what cannot be freed properly."""
        gc.collect()
        gc.freeze()


class IsolatedWorkers:
    """Keeps the current directory out of what a worker of pytest-xdist imports as it starts.

    It may be another user's, where the session is root's. execnet starts each by `python -c`, which
    looks there first. Python 3.10 has no option against that.
    """

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Iterable[Any]) -> None:
        """Set the command of each worker that is started on this machine."""
        for spec in specs:
            if spec.popen and not spec.python and sys.version_info >= (3, 11):
                spec.python = shlex.join([sys.executable, "-P"])
