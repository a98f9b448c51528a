"""`listened`: who serves the listener, and how the sockets reach them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from envoyassert.judge.verdict import Status
from envoyassert.scenario.grammar import Model, Role
from envoyassert.words.of_listener.served_by import judge_servers
from envoyassert.words.of_listener.via import Via, judge_via
from envoyassert.words.remedy import field_of_shape, shapes
from envoyassert.words.word import Example, ListenerWord, Part

if TYPE_CHECKING:
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding


class Listened(Model):
    """Who serves the listener, and how the sockets reach them."""

    by: Role = Field(description="Threads whose epoll holds the listener's sockets.")
    via: Via | None = Field(
        None,
        description="dup: one kernel socket, a descriptor per worker; reuse_port: a kernel socket "
        "per worker, SO_REUSEPORT before bind; shared_fd: one descriptor in every epoll.",
    )


def _listened(target: Target, word: str, value: Listened) -> Iterator[Finding]:
    from envoyassert.judge.values import Act

    yield judge_servers(target, target.subject.at(word, "by"), Act("listened"), value.by)
    if value.via is not None:
        yield judge_via(target, target.subject.at(word, "via"), value.via)


def _of_state(place: tuple[object, ...], _: Listened) -> tuple[Status, ...]:
    """How descriptors came to be, and when SO_REUSEPORT was set, is not there to see."""
    return (Status.PASS, Status.FAIL) if place == ("by",) else ()


WORD = ListenerWord(
    name="listened",
    form=Listened,
    description="Who serves it, and how.",
    judge=_listened,
    serves=lambda value: value.by,
    example=Example("listened: {by: workers, via: dup}", "shared", "reuse"),
    also_called=("listen", "listens", "listening", "listens_on"),
    parts=(
        Part(
            Listened,
            "`listened`",
            "[{listener: {port: 15006}, listened: {%}}]",
            {
                "by": Example("by: workers", "shared", "one_worker_left"),
                "via": Example("by: workers, via: reuse_port", "reuse", "shared"),
            },
        ),
    ),
    tries={"via": shapes},
    config=field_of_shape,
    of_state=_of_state,
)
