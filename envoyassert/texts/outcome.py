"""What happened to a process, in words."""

from __future__ import annotations

from envoyassert.texts.facts import text
from envoyassert.trace import Outcome
from envoyassert.words.process import outcome_value


def outcome_in_words(outcome: Outcome) -> str:
    """Return what happened to the process: `exited with 1`, `live after 0.060 s, and up`."""
    return text(outcome_value(outcome))
