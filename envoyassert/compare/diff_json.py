"""A comparison as JSON types."""

from __future__ import annotations

from envoyassert.compare.comparison import Comparison, Difference, TimeDifference
from envoyassert.compare.profile import Profile

FORMAT = "envoyassert-diff/1"


def diff_json(comparison: Comparison, before: str, after: str) -> dict[str, object]:
    """Return the whole of a comparison.

    Args:
        comparison: two runs.
        before: the name of the old one, a file say.
        after: the name of the new one.
    """
    return {
        "format": FORMAT,
        "result": comparison.result,
        "before": side_json(comparison.before, before),
        "after": side_json(comparison.after, after),
        "differences": [difference_json(one) for one in comparison.differences],
        "times": [time_json(one) for one in comparison.times],
        "grows_with_workers": list(comparison.growing),
        "not_compared": list(comparison.not_compared),
    }


def side_json(profile: Profile, name: str) -> dict[str, object]:
    """Return which run it was, and what its trace lacks."""
    header = profile.trace.header
    return {
        "name": name,
        "scenario": header.scenario,
        "matrix": dict(header.matrix),
        "envoy": header.envoy.version,
        "build_id": header.envoy.build_id,
        "source": header.envoy.source,
        "launcher": header.launcher,
        "workers": profile.workers,
        "events": len(profile.trace.events),
        "whole": profile.whole,
        "missing": list(profile.missing),
        "assumed": list(profile.assumed),
    }


def difference_json(difference: Difference) -> dict[str, object]:
    """Return one difference."""
    return {
        "subject": difference.subject,
        "aspect": difference.aspect,
        "before": difference.before,
        "after": difference.after,
        "words": difference.words,
        "sure": difference.sure,
    }


def time_json(time: TimeDifference) -> dict[str, object]:
    """Return one milestone that came at another time, in milliseconds since exec."""
    return {
        "milestone": time.milestone,
        "before_ms": time.before_ms,
        "after_ms": time.after_ms,
        "words": time.words,
    }
