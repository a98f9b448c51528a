"""`sockets`: how many kernel sockets a listener has, by kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envoyassert.scenario.quantity import Count
from envoyassert.scenario.timing import CountOrTally, Tally, any_is_right
from envoyassert.words.remedy import TALLY, counts, field_of_number
from envoyassert.words.word import Example, ListenerWord, Part, tally_of_state

if TYPE_CHECKING:
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding


def _sockets(target: Target, word: str, value: Count | Tally) -> Iterator[Finding]:
    from envoyassert.judge.tally import judge_tally

    yield from judge_tally(target, word, value, "kernel socket", descriptors=False)


WORD = ListenerWord(
    name="sockets",
    form=CountOrTally,
    description="Kernel sockets.",
    judge=_sockets,
    vacuous=any_is_right,
    example=Example("sockets: 1", "shared", "reuse"),
    parts=(
        Part(
            Tally,
            "Counts by kind (`sockets`)",
            "[{listener: {port: 15006}, sockets: {%}}]",
            {
                "ever": Example("ever: {at_most: 3}", "three_binds", "four_binds"),
                "live": Example("live: workers", "reuse", "shared"),
                "serving": Example("serving: workers", "reuse", "one_socket_left"),
                "spare": Example("spare: none", "reuse", "one_socket_left"),
                "live_at": Example(
                    "live: workers, live_at: live", "closed_after_live", "made_after_live"
                ),
                "each": Example("serving: 1, each: worker", "reuse", "one_socket_left"),
            },
        ),
    ),
    tries={"sockets": counts, **TALLY},
    config=field_of_number,
    of_state=tally_of_state,
)
