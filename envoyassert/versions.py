"""Versions of Envoy in their order, and bounds of versions, of Envoy and of the kernel."""

from __future__ import annotations

import operator
import re
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


_COMPARE = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"(>=|<=|==|<|>)\s*([0-9.]+)")


def satisfies(version: str, conditions: str) -> bool:
    """Return whether a version is within all of the bounds: `1.36.4` in `>=1.20, <1.40`."""
    return all(
        _COMPARE[sign](_numbers(version, wanted), _numbers(wanted, wanted))
        for sign, wanted in _CONDITION.findall(conditions)
    )


def _numbers(version: str, like: str) -> tuple[int, ...]:
    """Return as many leading numbers of a version as `like` has: `1.36` is met by 1.36.4."""
    found = [int(part) for part in re.findall(r"\d+", version.partition("-")[0])]
    size = like.count(".") + 1
    return tuple((found + [0] * size)[:size])
