"""What is remembered of a test while it lasts: each time that its run was executed and judged."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from envoyassert.report.figures import Figures
from envoyassert.report.results import Attempt, EnvoyPart
from envoyassert.report.verdict_json import Judgement


@dataclass
class Attempts:
    """The attempts of one run; small, as a test is remembered until the session ends.

    Args:
        done: each attempt, in order, whoever repeated it.
        envoy: which Envoy the last one started.
        verdict: what the last one was judged to be.
        figures: of the last one.
    """

    done: list[Attempt] = field(default_factory=list)
    envoy: EnvoyPart | None = None
    verdict: Judgement | None = None
    figures: Figures | None = None


_ATTEMPTS = pytest.StashKey[Attempts]()


def attempts_of(item: pytest.Item) -> Attempts:
    """Return what is remembered of a test, empty at first."""
    return item.stash.setdefault(_ATTEMPTS, Attempts())
