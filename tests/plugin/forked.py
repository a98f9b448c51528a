"""`python -m MODULE` in a fork of a process that has done the imports already.

A short pytest session spends most of its time importing pytest, pydantic and envoyassert. The fork
server of `multiprocessing` pays for that once for each worker of the outer session; every inner
session is still a process of its own, with its own environment, directory and exit code.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence

# Not at first use, within a test: pytester takes what was imported meanwhile out of sys.modules, so
# the next test would start a server of its own, which stays until the outer session ends.
from multiprocessing import forkserver  # noqa: F401
from pathlib import Path

#: What the inner sessions import. Not what pytest loads as a plugin by name: it would warn that it
#: comes too late to rewrite the asserts.
_IMPORTED = [
    "envoyassert.cli.command_line",
    "envoyassert.cli.command_line",
    "envoyassert.cli.run",
    "envoyassert.launch.engine",
    "envoyassert.launch.sweep",
    "envoyassert.pytest_plugin.collect",
    "envoyassert.pytest_plugin.execute",
    "envoyassert.pytest_plugin.machine",
    "envoyassert.pytest_plugin.factory",
    "envoyassert.pytest_plugin.plans",
    "envoyassert.pytest_plugin.representation",
    "envoyassert.outputs.events",
    "envoyassert.testing",
    "envoyassert.texts.facts",  # and with it every word
    "pytest",
    # What pytest itself loads when a session begins.
    *(f"_pytest.{name}" for name in ("helpconfig", "junitxml", "skipping", "unittest")),
    "xml.etree.ElementTree",
    "tests.plugin.warmed",
]


class ForkedModule:
    """What pytester wants of a `subprocess.Popen`, for a module that runs in a fork.

    Args:
        module: the name that would follow `python -m`.
        arguments: what would follow the name.
        stdout: where standard output goes; the file exists.
        stderr: where standard error goes; the file exists.
        environment: the whole environment.
    """

    stdin = None

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        stdout: Path,
        stderr: Path,
        environment: Mapping[str, str],
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        # Taken into account when the server is started, by the first fork.
        context.set_forkserver_preload(_IMPORTED)
        self._process = context.Process(
            target=_run_module,
            args=(module, list(arguments), stdout, stderr, dict(environment), Path.cwd()),
        )
        self._process.start()

    def wait(self) -> int | None:
        """Wait for the end and return the exit code, the negative number of a signal for that."""
        self._process.join()
        return self._process.exitcode


def _run_module(
    module: str,
    arguments: Sequence[str],
    stdout: Path,
    stderr: Path,
    environment: Mapping[str, str],
    directory: Path,
) -> None:
    for path, flags, descriptor in (
        (Path(os.devnull), os.O_RDONLY, 0),
        (stdout, os.O_WRONLY | os.O_APPEND, 1),
        (stderr, os.O_WRONLY | os.O_APPEND, 2),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.path.insert(0, str(directory))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
