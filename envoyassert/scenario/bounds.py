"""Bounds of versions, of Envoy and of the kernel."""

from __future__ import annotations

import operator
import re

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
