"""`sockets`: how many kernel sockets a listener has, by kind."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.judge.tally import judge_tally
from envoyassert.judge.target import Target
from envoyassert.judge.verdict import Finding
from envoyassert.scenario.quantity import Count
from envoyassert.scenario.tally import CountOrTally, Tally
from envoyassert.words.word import ListenerWord


def _sockets(target: Target, word: str, value: Count | Tally) -> Iterator[Finding]:
    yield from judge_tally(target, word, value, "kernel socket", descriptors=False)


WORD = ListenerWord(
    name="sockets",
    form=CountOrTally,
    description="Kernel sockets.",
    judge=_sockets,
)
