"""Processes of pytest-xdist that are started as root in a directory of another user."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from typing import Any

import pytest


class IsolatedWorkers:
    """A pytest plugin that keeps the current directory out of what a worker imports as it starts.

    execnet starts each by `python -c`, which looks there first. Python 3.10 has no option against
    that.
    """

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Iterable[Any]) -> None:
        """Set the command of each worker that is started on this machine."""
        for spec in specs:
            if spec.popen and not spec.python and sys.version_info >= (3, 11):
                spec.python = shlex.join([sys.executable, "-P"])
