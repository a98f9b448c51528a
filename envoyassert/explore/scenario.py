"""A case as the text of a scenario: what is done, and what the model predicts."""

from __future__ import annotations

from envoyassert.draft.from_config import draft_of_config
from envoyassert.draft.scenario_text import draft_text
from envoyassert.explore.case import Case

NAME = "explored"


def scenario_text(case: Case) -> str:
    """Return the text of a scenario that holds a case against its prediction.

    Args:
        case: what is done.
    """
    predicted = draft_of_config(case.config, case.concurrency)
    return draft_text(predicted, NAME, case.config, "a config made at random")
