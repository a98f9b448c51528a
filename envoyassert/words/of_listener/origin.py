"""`origin`: where the sockets come from that are served at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import ConfigDict, Field, model_validator

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.scenario.grammar import Model
from envoyassert.scenario.quantity import Count
from envoyassert.words.word import Example, ListenerWord, Part

if TYPE_CHECKING:
    from envoyassert.graph.model import KernelSocket
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding

_SOURCES = ("created", "inherited")


class Origin(Model):
    """Where the sockets come from that are served at the end."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [source]} for source in _SOURCES]}
    )

    created: Count | None = Field(
        None, description="Those that the process which serves them made by socket()."
    )
    inherited: Count | None = Field(
        None, description="Those that it got from another process (SCM_RIGHTS, as in hot restart)."
    )

    @model_validator(mode="after")
    def _some_source(self) -> Origin:
        if self.created is None and self.inherited is None:
            raise ValueError("give created or inherited")
        return self


def judge_origin(target: Target, word: str, value: Origin) -> Iterator[Finding]:
    """Judge how many of the sockets that are served were made, and how many were passed on."""
    from envoyassert.judge.context import EPOLL_UNOBSERVED, NOT_KNOWN, UNKNOWN_WORKERS
    from envoyassert.judge.interval import count_of
    from envoyassert.judge.target import root_of
    from envoyassert.judge.values import Number, Things

    context = target.context
    if context.by_listen:
        subject = target.subject.at(word)
        wanted, reason = Fact("an_origin"), EPOLL_UNOBSERVED
        yield context.finding(subject, Status.INCONCLUSIVE, wanted, NOT_KNOWN, reason=reason)
        return
    groups: dict[str, dict[KernelSocket, bool]] = {"created": {}, "inherited": {}}
    others: set[str] = set()
    for entry in target.serving:
        root = root_of(entry.descriptor)
        if root.origin == "socket":
            groups["created"][root.socket] = entry.certain
        elif root.origin == "scm_rights":
            groups["inherited"][root.socket] = entry.certain
        else:
            others.add(root.origin)
    unknown = Fact("other_origins", origins=tuple(sorted(others))) if others else None
    for name, sockets in groups.items():
        count = getattr(value, name)
        if count is None:
            continue
        of, bounds = Things("socket", name), context.wanted_interval(count)
        possible = context.interval(sum(sockets.values()), len(sockets))
        status = Status.INCONCLUSIVE
        if bounds is not None and not unknown:
            status = possible.compare(bounds)
        yield context.finding(
            target.subject.at(word, name),
            status,
            count_of(of, bounds),
            Number(of, len(sockets)),
            reason=UNKNOWN_WORKERS if bounds is None else unknown,
            evidence=[socket.born for socket in sockets],
        )


WORD = ListenerWord(
    name="origin",
    form=Origin,
    description="Where the sockets that are served come from.",
    judge=judge_origin,
    example=Example("origin: {created: 1, inherited: none}", "shared", "handed_over"),
    also_called=("inherited",),
    parts=(
        Part(
            Origin,
            "`origin`",
            "[{listener: {port: 15006}, origin: {%}}]",
            {
                "created": Example("created: 1", "shared", "handed_over"),
                "inherited": Example("inherited: workers", "handed_over", "reuse"),
            },
        ),
    ),
)
