"""`in_order`: calls that come in this order on each of the listener's sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.ranges import MOST_IN_ORDER
from envoyassert.scenario.grammar import Many
from envoyassert.scenario.pattern import Step
from envoyassert.words.in_order import advice
from envoyassert.words.remedy import turned
from envoyassert.words.word import Example, ListenerWord

if TYPE_CHECKING:
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding


def _in_order(target: Target, word: str, value: tuple[Any, ...]) -> Iterator[Finding]:
    from envoyassert.judge.context import NO_SOCKET
    from envoyassert.judge.order import judge_order_on_socket

    subject = target.subject.at(word)
    if not target.sockets:
        status = Status.INCONCLUSIVE if target.context.doubt else Status.FAIL
        yield target.context.finding(subject, status, Fact("calls_in_order"), NO_SOCKET)
    for socket in target.sockets:
        events = [call.event for call in socket.calls]
        yield judge_order_on_socket(target.context, subject, value, events)


WORD = ListenerWord(
    name="in_order",
    form=Many[Step],
    description="On each of its sockets these calls come in this order.",
    judge=_in_order,
    limits={"min_length": 2, "max_length": MOST_IN_ORDER},
    example=Example("in_order: [socket, setsockopt, bind, listen]", "shared", "option_between"),
    advice=advice,
    tries={"in_order": turned},
)
