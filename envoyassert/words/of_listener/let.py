"""`let`: names for facts of a listener, by which expectations are joined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from envoyassert.scenario.pattern import LET, Let
from envoyassert.words.word import Example, ListenerWord

if TYPE_CHECKING:
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding


def _let(target: Target, word: str, value: dict[str, Any]) -> Iterator[Finding]:
    from envoyassert.judge.variables import judge_let_of_listener

    return judge_let_of_listener(target, target.subject.at(word), value)


WORD = ListenerWord(
    name="let",
    form=Let,
    description=LET,
    judge=_let,
    example=Example(
        "let: {ingress_port: port, ingress_sockets: socket}",
        "shared",
        "one_listens",
        inside=(
            "[{listener: {port: 15006}, %}, {calls: {call: listen, listener: {port: 15006}, %}}]"
        ),
    ),
)
