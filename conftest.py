"""This repository's own fixtures, and what its tests need of the machine."""

from __future__ import annotations

import functools
import importlib.util
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from envoyassert.errors import (
    BrowserUnavailableError,
    DockerUnavailableError,
    EnvoyUnavailableError,
    MachineError,
    ProbeUnavailableError,
)
from envoyassert.pytest_plugin.session import session_of

if TYPE_CHECKING:
    from envoyassert.errors import Capability

pytest_plugins = ["pytester"]


@functools.cache
def _missing_bpf() -> MachineError | None:
    from envoyassert.probe import probe_capability

    for capability in probe_capability():
        if not capability.ok:
            return ProbeUnavailableError(capability.detail, capability.remedy)
    return None


@functools.cache
def _missing_bpftrace() -> MachineError | None:
    if shutil.which("bpftrace"):
        return None
    return ProbeUnavailableError("bpftrace is not installed", "apt-get install bpftrace")


@functools.cache
def _missing_browser() -> MachineError | None:
    if shutil.which("chromium") is None:
        return BrowserUnavailableError("Chromium is not installed", "apt-get install chromium")
    for module in ("playwright", "axe_playwright_python"):
        if importlib.util.find_spec(module) is None:
            return BrowserUnavailableError(f"{module} is not installed", "make venv")
    return None


@functools.cache
def _missing_docker() -> MachineError | None:
    from envoyassert.launch.engine import docker_capability

    return _error(docker_capability(), DockerUnavailableError)


@functools.cache
def _missing_envoy() -> MachineError | None:
    from envoyassert.launch.engine import envoy_capability

    return _error(envoy_capability(), EnvoyUnavailableError)


def _error(capability: Capability, kind: type[MachineError]) -> MachineError | None:
    return None if capability.ok else kind(capability.detail, capability.remedy)


_MISSING: dict[str, Callable[[], MachineError | None]] = {
    "bpf": _missing_bpf,
    "bpftrace": _missing_bpftrace,
    "browser": _missing_browser,
    "docker": _missing_docker,
    "envoy": _missing_envoy,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a marked test where the machine lacks what the mark names, or fail if it must not.

    The rule is the plugin's own, so that `ENVOYASSERT_REQUIRE` and `CI` mean the same for scenario
    files and for these tests. Scenario files find out by themselves.
    """
    if hasattr(item, "plan"):
        return
    for mark, missing in _MISSING.items():
        if item.get_closest_marker(mark) is not None:
            error = missing()
            if error is not None:
                session_of(item.config).lacks(error, item)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many runs of scenarios the tests counted (their property `runs`), and their sum."""
    counted = [
        str(value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "runs"
    ]
    for line in counted:
        terminalreporter.write_line(line)
    if counted:
        total = sum(int(line.split()[0]) for line in counted)
        terminalreporter.write_line(f"shipped scenarios: {total} runs executed in all")
