"""`descriptors`: how many descriptors a listener has, by kind."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.judge.tally import judge_tally
from envoyassert.judge.target import Target
from envoyassert.judge.verdict import Finding
from envoyassert.scenario.quantity import Count
from envoyassert.scenario.tally import CountOrDescriptorTally, Tally
from envoyassert.words.word import ListenerWord


def _descriptors(target: Target, word: str, value: Count | Tally) -> Iterator[Finding]:
    yield from judge_tally(target, word, value, "descriptor", descriptors=True)


WORD = ListenerWord(
    name="descriptors",
    form=CountOrDescriptorTally,
    description="Descriptors of these sockets.",
    judge=_descriptors,
)
