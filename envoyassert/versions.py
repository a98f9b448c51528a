"""Versions of Envoy in their order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.version import Version

#: The oldest version that the shipped scenarios name.
OLDEST = "1.36.2"


def version_key(version: str) -> Version:
    """Return what versions are sorted by: `1.9.0` comes before `1.10.0`.

    Raises:
        ValueError: it is no version.
    """
    # Not above: every command would load it for the sake of OLDEST.
    from packaging.version import Version

    return Version(version)


def releases(versions: Iterable[str]) -> list[str]:
    """Return the releases among versions, the oldest first; no pre-release, no repackaging."""
    found = {key for key in map(version_key, versions) if str(key) == key.base_version}
    return [str(key) for key in sorted(found)]


def since(versions: Iterable[str], oldest: str) -> list[str]:
    """Return the versions that are not older than `oldest`, in their order."""
    return [version for version in versions if version_key(version) >= version_key(oldest)]


def newest_of_each_minor(versions: Iterable[str]) -> list[str]:
    """Return the newest patch of each minor version, the oldest first."""
    ordered = sorted(versions, key=version_key)
    return list({version_key(version).release[:2]: version for version in ordered}.values())


def between(versions: Iterable[str], first: str, last: str) -> list[str]:
    """Return the versions on the way from one to another, both included, in that direction."""
    low, high = sorted((first, last), key=version_key)
    inside = {low, high} | {
        version
        for version in versions
        if version_key(low) < version_key(version) < version_key(high)
    }
    return sorted(inside, key=version_key, reverse=first != low)
