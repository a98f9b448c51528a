"""A directory with one scenario, and a command line that is run in it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.launching import VERSION
from tests.e2e.machine_faults.command_line import SCENARIO, Done, RunCommand


@pytest.fixture(autouse=True)
def _a_desk(monkeypatch) -> Iterator[None]:
    """A directory with one scenario, and nothing in the environment that changes the rules."""
    for name in ("CI", "DOCKER_HOST", "TMPDIR", *(n for n in os.environ if "ENVOYASSERT_" in n)):
        monkeypatch.delenv(name, raising=False)
    # Only the plugins that matter: the others take most of the time of a short session.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "envoyassert.pytest_plugin.plugin")
    # Not tmp_path: that is root's alone.
    with tempfile.TemporaryDirectory(prefix="ea-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        monkeypatch.chdir(directory)
        Path("one.yaml").write_text(SCENARIO.format(version=VERSION))
        yield
        monkeypatch.chdir("/")


@pytest.fixture
def run() -> RunCommand:
    """Return a function that runs the command line under a wrapper and expects a plain message."""

    def run(*arguments: str, under: tuple[str, ...] = (), **environment: str) -> Done:
        done = subprocess.run(
            [*under, sys.executable, "-m", "envoyassert", *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        said = done.stdout + done.stderr
        for word in ("Traceback", "internal error", ".py:", "Error:"):
            assert word not in said.replace("Error: --envoy", ""), said
        return Done(done.returncode, done.stdout, done.stderr)

    return run
