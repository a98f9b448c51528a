"""`listen_by`: the threads that called listen() on the listener's sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envoyassert.scenario.grammar import RoleOrNone
from envoyassert.words.remedy import at_place, roles
from envoyassert.words.word import Example, ListenerWord

if TYPE_CHECKING:
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding


def _listen_by(target: Target, word: str, value: str) -> Iterator[Finding]:
    from envoyassert.judge.roles import judge_callers
    from envoyassert.judge.values import Act

    calls = target.calls("listens")
    yield judge_callers(target.context, target.subject.at(word), Act("listen"), value, calls)


#: Who calls listen(), by the version.
WHO_LISTENS = (
    "since Envoy 1.20 main calls listen() on all sockets of a listener before the workers start; "
    "up to 1.19 each worker did"
)

WORD = ListenerWord(
    name="listen_by",
    form=RoleOrNone,
    description="Threads that called listen() on the listener's sockets.",
    judge=_listen_by,
    example=Example("listen_by: main", "shared", "worker_listens"),
    done=True,
    advice=at_place({(): WHO_LISTENS}),
    tries={"listen_by": roles},
)
