"""What a state can answer: of an Envoy that ran already nothing is known of its start.

A state is judged as the end of a trace of made-up calls (`envoyassert.state`). A word says which of
its answers a state can give: those that are the same whatever calls led there. All others are
INCONCLUSIVE, and so is what rests on a variable, which may stand for one of the calls.
"""

from __future__ import annotations

from dataclasses import replace

from envoyassert.judge.context import NOT_KNOWN, Context
from envoyassert.judge.values import Fact, Quote, Reason
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.state import is_state, why_unsettled
from envoyassert.words.registry import word_named, word_of
from envoyassert.words.word import ListenerWord

_BEFORE = Fact("history_unobserved")


def as_of_state(context: Context, finding: Finding, item: Conditional, *, joined: bool) -> Finding:
    """Return a finding as far as a state gives it.

    Args:
        context: the trace.
        finding: as the made-up calls show.
        item: the expectation, as written.
        joined: whether a variable had a part in it.
    """
    if not is_state(context.trace.header.unobserved):
        return finding
    reason: Reason | None = finding.reason
    seen, status = finding.seen, finding.status
    answers = () if joined else _answers(finding, item)
    witness = context.trace.witness
    if finding.path[2:3] == ("when",):
        pass  # it is about the version, and not about what was seen
    elif not answers:
        seen, status, reason = NOT_KNOWN, Status.INCONCLUSIVE, _BEFORE
    elif witness is not None and (why := why_unsettled(witness)):
        status, reason = Status.INCONCLUSIVE, Fact("state_unsettled", said=Quote(why))
    elif status is not Status.INCONCLUSIVE and status not in answers:
        status, reason = Status.INCONCLUSIVE, _BEFORE
    # The calls were made up, so they show nothing; what is nearest is made of them.
    return replace(
        finding,
        status=status,
        seen=seen,
        reason=reason,
        evidence=(),
        near=(),
        cause=finding.cause if status is Status.FAIL else None,
    )


def _answers(finding: Finding, item: Conditional) -> tuple[Status, ...]:
    word = word_of(item)
    place = finding.path[2:]
    named = word_named(place[0]) if place else None
    if isinstance(named, ListenerWord):
        return named.of_state(place[1:], getattr(item, named.name))
    return word.of_state(place[1:], item)
