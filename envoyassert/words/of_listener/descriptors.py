"""`descriptors`: how many descriptors a listener has, by kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envoyassert.scenario.quantity import Count
from envoyassert.scenario.timing import CountOrDescriptorTally, DescriptorTally, Tally, any_is_right
from envoyassert.words.remedy import TALLY, counts
from envoyassert.words.word import Example, ListenerWord, Part, tally_of_state

if TYPE_CHECKING:
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding


def _descriptors(target: Target, word: str, value: Count | Tally) -> Iterator[Finding]:
    from envoyassert.judge.tally import judge_tally

    yield from judge_tally(target, word, value, "descriptor", descriptors=True)


WORD = ListenerWord(
    name="descriptors",
    form=CountOrDescriptorTally,
    description="Descriptors of these sockets.",
    judge=_descriptors,
    vacuous=any_is_right,
    example=Example("descriptors: workers", "shared", "dup_closed"),
    also_called=("descriptor", "fd", "fds"),
    parts=(
        Part(
            DescriptorTally,
            "Counts by kind (`descriptors`)",
            "[{listener: {port: 15006}, descriptors: {%}}]",
            {
                "ever": Example("ever: {at_most: 3}", "reuse", "three_dups"),
                "live": Example("live: workers", "shared", "dup_closed"),
                "serving": Example("serving: workers", "shared", "one_worker_left"),
                "spare": Example("spare: none", "shared", "one_worker_left"),
                "live_at": Example(
                    "live: workers, live_at: live", "dup_closed_after_live", "dup_after_live"
                ),
                "each": Example("live: 1, each: socket", "reuse", "shared"),
            },
        ),
    ),
    tries={"descriptors": counts, **TALLY},
    of_state=tally_of_state,
)
