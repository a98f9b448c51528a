"""Where the files of a test are kept, below a directory of the session."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from envoyassert.pytest_plugin.session import session_of

#: Directory of the runs in a report.
RUNS = "runs"
#: Name of a run's document in its own directory.
DOCUMENT = "run.json"
_NOT_IN_NAMES = re.compile(r"[^\w.,=@-]+")
_LONGEST = 80


def run_directory(name: str) -> str:
    """Return the directory of a run in a report, relative to the report.

    Args:
        name: pytest's name of the run; the same in each process and each session.

    Returns:
        `runs/udp-concurrency=2-1f0c5a3e`: legible, of limited length, and never another run's.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    legible = _NOT_IN_NAMES.sub("-", name.partition("::")[2]).strip("-")
    return f"{RUNS}/{legible[:_LONGEST]}-{digest}"


def artifact_directory(item: pytest.Item) -> Path:
    """Return the directory for traces and logs of one test, relative to where pytest was started.

    In a report it is the run's own. Else `scenarios/reuse_port.yaml::reuse_port[concurrency=2]` has
    `scenarios/reuse_port/concurrency=2`.
    """
    options = session_of(item.config).options
    if options.report:
        return Path(options.report, run_directory(item.nodeid))
    path = Path(os.path.relpath(item.path, item.config.rootpath))
    parts = [part for part in path.parts if part != ".."]
    parts[-1] = parts[-1].partition(".")[0]
    name = item.name if "[" not in item.name else item.name.partition("[")[2].rstrip("]")
    return Path(options.artifacts, *parts, _NOT_IN_NAMES.sub("_", name))
