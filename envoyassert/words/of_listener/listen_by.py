"""`listen_by`: the threads that called listen() on the listener's sockets."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.judge.roles import judge_callers
from envoyassert.judge.target import Target
from envoyassert.judge.values import Act
from envoyassert.judge.verdict import Finding
from envoyassert.scenario.grammar import RoleOrNone
from envoyassert.words.word import Example, ListenerWord


def _listen_by(target: Target, word: str, value: str) -> Iterator[Finding]:
    calls = target.calls("listens")
    yield judge_callers(target.context, target.subject.at(word), Act("listen"), value, calls)


WORD = ListenerWord(
    name="listen_by",
    form=RoleOrNone,
    description="Threads that called listen() on the listener's sockets.",
    judge=_listen_by,
    example=Example("listen_by: main", "shared", "worker_listens"),
    done=True,
)
