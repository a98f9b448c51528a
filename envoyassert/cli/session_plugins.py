"""Plugins of the pytest session of `envoyassert run`: arguments, lines, time and workers.

pytest knows which of the words that follow the command are options, and which are paths.
"""

from __future__ import annotations

import gc
import os
import re
import shlex
import sys
from collections.abc import Generator, Iterable, Sequence
from typing import Any

import click
import pytest

from envoyassert.cli import exits
from envoyassert.cli.output import say
from envoyassert.cli.where import scenario_files
from envoyassert.pytest_plugin.named import name_files, named_files
from envoyassert.pytest_plugin.options import YAML_SUFFIXES
from envoyassert.pytest_plugin.session import IS_COMMAND, session_of
from envoyassert.scenario.vocabulary import did_you_mean

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


class Arguments:
    """A pytest plugin that takes paths for scenarios, and refuses options that no plugin has.

    Args:
        own: the options of the command, for suggestions.
    """

    def __init__(self, own: Sequence[str]) -> None:
        self._own = own
        self._found = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(
        self, early_config: pytest.Config, parser: pytest.Parser, args: list[str]
    ) -> Generator[None]:
        """Once all plugins and conftest files have their options, separate these from paths."""
        yield
        known, more = parser.parse_known_and_unknown_args(args)
        unknown = [word for word in more if word.startswith("-")]
        if unknown:
            name = unknown[0].partition("=")[0]
            hint = did_you_mean(name, self._own)
            raise pytest.UsageError(
                f"unrecognized arguments: {' '.join(unknown)}" + (f" ({hint})" if hint else "")
            )
        # Before pytest 9, what follows behind an option is not among the known.
        paths = [*known.file_or_dir, *(word for word in more if word not in unknown)]
        try:
            files = scenario_files(paths)
        except click.UsageError as error:
            raise pytest.UsageError(error.message) from error
        other = [str(file) for file in files if file.suffix not in YAML_SUFFIXES]
        if other and known.envoyassert_untrusted:
            raise pytest.UsageError(
                f"{other[0]} is untrusted, and no YAML: pytest would execute a test in Python"
            )
        self._found = bool(files)
        name_files(early_config, (file.resolve() for file in files), paths or [os.curdir])

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self) -> int | None:
        """End here if there is nothing to run."""
        if self._found:
            return None
        say("no scenario files found", err=True)
        return exits.NOTHING


class OwnNames:
    """A pytest plugin that has refusals name options as the command does: `--report`.

    Args:
        own: the options of the command.
    """

    def __init__(self, own: Sequence[str]) -> None:
        self._own = own

    @pytest.hookimpl(wrapper=True)
    def pytest_cmdline_main(self) -> Generator[None, object, object]:
        """Say what is refused while pytest runs by the options of the command."""
        try:
            return (yield)
        except pytest.UsageError as error:
            raise pytest.UsageError(*map(self._renamed, map(str, error.args))) from error

    def _renamed(self, text: str) -> str:
        def own(found: re.Match[str]) -> str:
            return f"--{found[1]}" if f"--{found[1]}" in self._own else found[0]

        return re.sub("--envoyassert-([a-z]+(?:-[a-z]+)*)", own, text)
