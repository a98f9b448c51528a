"""The version of an Envoy that was not asked for by version, remembered per build."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path

from envoyassert.errors import LaunchError, MachineError
from envoyassert.launch.asked import ask
from envoyassert.launch.kept import cache_dir

_DEADLINE_S = 10.0
_REPORTED = re.compile(r"version: [0-9a-f]+/(?P<version>\d+\.\d+\.\d+)[^/\s]*/")
_SERVER_INFO = re.compile(r'"version":\s*"[0-9a-f]+/(?P<version>\d+\.\d+\.\d+)[^/"]*/')


def parse_version(printed: str) -> str:
    """Return `1.40.0` from what `envoy --version` prints, or "" if it is something else."""
    match = _REPORTED.search(printed)
    return match["version"] if match else ""


def reported_version(body: str) -> str:
    """Return `1.40.0` from the reply of `/server_info` (envoy.admin.v3.ServerInfo), or ""."""
    match = _SERVER_INFO.search(body)
    return match["version"] if match else ""


def binary_version(binary: Path, build_id: str) -> str:
    """Return the version of an executable, or "" if it does not say.

    Args:
        binary: the executable; run once with `--version`.
        build_id: its build id; the answer is remembered under it and the size, since a file that
            is cut off has the same id. "" is never remembered.

    Raises:
        OSError: the executable is not there.
    """
    key = build_id and f"{build_id}-{binary.stat().st_size}"
    known = recall(key)
    if known:
        return known
    version = parse_version(_run_version(binary))
    remember(key, version)
    return version


def _run_version(binary: Path) -> str:
    """Return what an executable prints for `--version`, or ""."""
    try:
        return ask(binary, ["--version"], _DEADLINE_S).printed
    except (subprocess.TimeoutExpired, OSError, LaunchError, MachineError):
        return ""


def recall(key: str) -> str:
    """Return what `remember` stored under a build id or an image id, or ""."""
    if not key:
        return ""
    try:
        return _path(key).read_text(encoding="ascii")
    except OSError:
        return ""


def remember(key: str, version: str) -> None:
    """Store a version under a build id or an image id; a cache that cannot be written is none."""
    if not key or not version:
        return
    with contextlib.suppress(OSError):
        path = _path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(version, encoding="ascii")


def _path(key: str) -> Path:
    return cache_dir() / "version" / re.sub(r"[^0-9a-zA-Z]", "-", key)
