"""Where the files of a test are kept, below a directory of the session."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from envoyassert.pytest_plugin.options import FILE_SUFFIXES
from envoyassert.pytest_plugin.session import session_of
from envoyassert.pytest_plugin.summary import run_of

#: Directory of the runs in a report.
RUNS = "runs"
#: Name of a run's document in its own directory.
DOCUMENT = "run.json"
_NOT_IN_NAMES = re.compile(r"[^\w.,=@-]+")
#: Bytes of a name that stay legible; the names of files end at 255.
_LONGEST = 80


def run_directory(name: str) -> str:
    """Return the directory of a run in a report, relative to the report.

    Args:
        name: pytest's name of the run; the same in each process and each session.

    Returns:
        `runs/udp-concurrency=2-1f0c5a3e9d20`: legible, short, and never another run's.
    """
    return f"{RUNS}/{_with_digest(run_of(name), name)}"


def artifact_base(item: pytest.Item) -> Path:
    """Return the directory that all of a session's traces and logs are below."""
    options = session_of(item.config).options
    return Path(options.report or options.artifacts)


def artifact_directory(item: pytest.Item) -> Path:
    """Return the directory for traces and logs of one test, relative to where pytest was started.

    In a report it is the run's own. Else `scenarios/udp.envoyassert.yaml::udp[concurrency=2]` has
    `scenarios/udp/concurrency=2`, and `scenarios/udp.yaml::udp` has `scenarios/udp.yaml/udp`: never
    another run's. A name that is long, or cannot be one of a file, is cut and has a digest.
    """
    options = session_of(item.config).options
    if options.report:
        return artifact_base(item) / run_directory(item.nodeid)
    path = os.path.relpath(item.path, item.config.rootpath)
    *parts, file = Path(path).parts
    name = item.name if "[" not in item.name else item.name.partition("[")[2].removesuffix("]")
    run = name if _is_short_and_plain(name) else _with_digest(name, name)
    if os.pardir in parts:  # not below the root: another file's path may have the same end
        parts, run = [part for part in parts if part != os.pardir], _with_digest(name, path + name)
    return Path(artifact_base(item), *parts, file.removesuffix(FILE_SUFFIXES[0]), run)


def _is_short_and_plain(name: str) -> bool:
    plain = name and not name.startswith(".") and not _NOT_IN_NAMES.search(name)
    return bool(plain) and len(name.encode()) <= _LONGEST


def _with_digest(name: str, whole: str) -> str:
    """Return what of a name is legible, with a digest of the whole that it stands for."""
    digest = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    legible = _NOT_IN_NAMES.sub("-", name).strip("-.")
    return f"{legible.encode()[:_LONGEST].decode(errors='ignore')}-{digest}"
