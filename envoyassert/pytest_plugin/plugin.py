"""Hooks of the pytest plugin; imports nothing heavy, so that an idle plugin costs nothing.

Nothing here is autouse, and what needs bcc, Docker or pydantic is imported when a scenario file is
collected or a fixture is used.
"""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

# Before the others are imported.
from envoyassert.pytest_plugin import as_written  # noqa: F401

# isort: split
from envoyassert.baseline import SUFFIX
from envoyassert.errors import EnvoyAssertError, LaunchError, MachineError, ScenarioError
from envoyassert.pytest_plugin.crossing import attach, attach_problems
from envoyassert.pytest_plugin.fixtures import (
    _envoyassert_probe,
    _envoyassert_run,
    envoy,
    envoy_factory,
    scenario,
    socket_probe,
    socket_trace,
)
from envoyassert.pytest_plugin.named import named_files, restrict
from envoyassert.pytest_plugin.options import FILE_SUFFIXES, YAML_SUFFIXES, add_options
from envoyassert.pytest_plugin.session import (
    DESELECTED,
    DIVISION,
    MACHINE_ERROR,
    SCENARIO_ERROR,
    SHOWN_PHASE,
    console_of,
    session_of,
    stream_of,
)
from envoyassert.pytest_plugin.source import Source

__all__ = [
    "_envoyassert_probe",
    "_envoyassert_run",
    "envoy",
    "envoy_factory",
    "scenario",
    "socket_probe",
    "socket_trace",
]

#: The first error of a test that was INCONCLUSIVE, and how it shows.
_FIRST_ERROR = pytest.StashKey[tuple[BaseException, Any]]()

_MARKERS = (
    "envoy(config, concurrency=2, ...): needs an Envoy; arguments are for the fixture `envoy`",
    "bpf: needs eBPF (root, the distribution's bcc, tracefs)",
    "docker: needs a Docker engine on this kernel",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Prepare for strace, if it is asked for, before any plugin starts a thread.

    Raises:
        pytest.UsageError: strace is not available, or a file that is named may not be used.
    """
    if getattr(config.option, "splits", None):
        from envoyassert.pytest_plugin.division import check_durations

        check_durations(config)
    restrict(config)
    options = session_of(config).options
    if options.untrusted:
        _check_no_link(config)
    if "strace" not in (options.tracer, options.witness):
        return
    from envoyassert.probe.tracing import prepare_tracer

    try:
        prepare_tracer(options.tracer, options.witness)
    except MachineError as error:
        raise pytest.UsageError(str(error)) from error


def _check_no_link(config: pytest.Config) -> None:
    """Refuse a report of JUnit's that a link leads elsewhere, which pytest would write through."""
    start = config.invocation_params.dir
    report = start / (config.getoption("xmlpath", None) or "")
    for path in (report, *report.parents):
        if start in path.parents and path.is_symlink():
            raise pytest.UsageError(
                f"--junitxml: {path.relative_to(start)} is a link, and files here are untrusted: "
                "name a place outside of this directory"
            )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, and register the markers."""
    session_of(config)
    stream = stream_of(config)
    if not hasattr(config, "workerinput"):
        source = Source(config, stream, console_of(config))
        config.pluginmanager.register(source, "envoyassert_source")
    else:
        from envoyassert.pytest_plugin.dealing import ordering

        config.pluginmanager.register(_LeftOut(config), "envoyassert_left_out")
        if order := ordering(config):
            config.pluginmanager.register(order, "envoyassert_ordering")
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


class _LeftOut:
    """A plugin of a worker of xdist: it reports what the worker left out (`-k`, `--shard`).

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Take note of it."""
        session_of(self._config).deselected += len(items)

    def pytest_sessionfinish(self) -> None:
        """Report it."""
        output: dict[str, Any] = self._config.workeroutput  # type: ignore[attr-defined]  # xdist's
        output[DESELECTED] = session_of(self._config).deselected
        output[DIVISION] = session_of(self._config).division


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Have SIGTERM and SIGHUP reach the workers of this process, which are about to be started."""
    from envoyassert.pytest_plugin.termination import ToWorkers

    config.pluginmanager.register(ToWorkers(), "envoyassert_to_workers")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect `*.envoyassert.yaml` anywhere, and what the ini option names; nothing else."""
    name = file_path.name
    if not name.endswith(YAML_SUFFIXES) or name.endswith(SUFFIX):
        return None
    config = parent.config
    if not name.endswith(FILE_SUFFIXES) and str(file_path) not in named_files(config):
        globs = session_of(config).options.globs
        if not any(_matches(file_path, glob, config.rootpath) for glob in globs):
            return None
    from envoyassert.pytest_plugin.collect import ScenarioFile

    return ScenarioFile.of_path(parent, file_path)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Have the report of a scenario file that is not valid say so one by one."""
    report = yield
    call: pytest.CallInfo[Any] | None = getattr(report, "call", None)
    cause = None if call is None or call.excinfo is None else call.excinfo.value.__cause__
    if isinstance(cause, ScenarioError):
        attach_problems(report, cause)
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Name what is divided between machines: after `-k`, and before pytest-split's own hook.

    That is later, as pytest-split registers it when all plugins are loaded.
    """
    if getattr(config.option, "splits", None):
        from envoyassert.pytest_plugin.division import division_of, part_of

        if part_of(config) is not None:
            session_of(config).division = division_of(config, items)


@pytest.hookimpl(tryfirst=True)
def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take a directory of untrusted files for no package: pytest would import `__init__.py`."""
    if named_files(parent.config) and session_of(parent.config).options.untrusted:
        return pytest.Dir.from_parent(parent, path=path)
    return None


def _matches(path: Path, glob: str, root: Path) -> bool:
    return fnmatch.fnmatchcase(str(path), str(root / glob))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """See before the first test whether skipping what lacks a capability leaves anything."""
    if session.config.option.collectonly or not session_of(session.config).has_scenarios:
        return
    from envoyassert.pytest_plugin.collect import nothing_would_run

    session_of(session.config).nothing_would_run = nothing_would_run(session.items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Keep a test INCONCLUSIVE that once was, however often another plugin repeats it.

    Repeating until it is green would make a PASS of a run that proved nothing. What may be repeated
    is said by --envoyassert-rerun-inconclusive.
    """
    __tracebackhide__ = True
    first = item.stash.get(_FIRST_ERROR, None)
    if first is not None:
        raise first[0]


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """Have pytest-timeout's thread, which ends the process, keep what there is of a run before."""
    if not hasattr(item, "plan"):
        return None
    from envoyassert.pytest_plugin.timeouts import set_timer

    return set_timer(item, settings)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make what is not a verdict on Envoy an error, whatever phase and mark it comes in.

    pytest calls what fails in its `call` phase a failure and what fails before it an error; an
    xfail mark turns both into a skip. A verdict that could not be reached, or a machine that could
    not run Envoy, is neither.
    """
    report = yield
    _correct(report, item, call)
    attach(item, report)
    return report


def _correct(report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    error = call.excinfo.value if call.excinfo is not None else None
    # Where the module was not imported, no one raised its exception.
    outcomes = sys.modules.get("envoyassert.outcomes")
    no_verdict = outcomes is not None and isinstance(error, outcomes.TraceInconclusive)
    if not no_verdict and not isinstance(error, EnvoyAssertError):
        return
    assert call.excinfo is not None
    report.outcome = "failed"
    if report.when == "call":
        # Who counts errors, JUnit's XML above all, takes what fails in a call for a failure.
        report.when = "setup"
        setattr(report, SHOWN_PHASE, "call")
    if hasattr(report, "wasxfail"):
        del report.wasxfail
    if no_verdict:
        if hasattr(item, "plan"):
            # pytest asks an item how its failure shows in the call phase only.
            report.longrepr = item.repr_failure(call.excinfo)
        first = item.stash.setdefault(_FIRST_ERROR, (call.excinfo.value, report.longrepr))
        report.longrepr = first[1]
    if isinstance(error, EnvoyAssertError):
        from envoyassert.pytest_plugin.representation import representation

        path, line = _place_of(item, call.excinfo)
        of_machine = isinstance(error, (MachineError, LaunchError))
        if of_machine:
            report.user_properties.append((MACHINE_ERROR, type(error).__name__))
        elif isinstance(error, ScenarioError):
            report.user_properties.append((SCENARIO_ERROR, type(error).__name__))
        # A mistake in a test in Python is shown with its place; a scenario's error names its own.
        mistake = not of_machine and not hasattr(item, "plan")
        where = f"{_shown(path, item.config)}:{line}" if mistake else ""
        report.longrepr = representation(error, path, line, where)


def _place_of(item: pytest.Item, raised: pytest.ExceptionInfo[BaseException]) -> tuple[Path, int]:
    """Return where the test itself raised an error, else where the test begins; lines from 1."""
    for entry in reversed(raised.traceback):
        if entry.path == item.path:
            return item.path, entry.lineno + 1
    path, line, _ = item.reportinfo()
    return Path(path), (line or 0) + 1


def _shown(path: Path, config: pytest.Config) -> str:
    """Return a path as pytest shows it: relative to where it was started, if it is below."""
    shown = os.path.relpath(path, config.invocation_params.dir)
    return str(path) if shown.startswith("..") else shown


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Call an error one, though it arose in the call."""
    return ("error", "E", "ERROR") if hasattr(report, SHOWN_PHASE) and report.failed else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None]:
    """Have failures in colour on a terminal that has some."""
    stats = terminalreporter.stats
    failed = stats.get("failed") or stats.get("error")
    if not (failed and config.get_terminal_writer().hasmarkup):
        return (yield)
    from envoyassert.pytest_plugin.representation import in_colour

    with in_colour(terminalreporter):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> Generator[None]:
    """Once everybody has counted an error as one, say again in which phase it arose."""
    yield
    phase = getattr(report, SHOWN_PHASE, None)
    if phase is not None:
        report.when = phase
