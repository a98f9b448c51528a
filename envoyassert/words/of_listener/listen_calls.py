"""`listen_calls`: successful listen() calls on the listener's sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Tag

from envoyassert.scenario.grammar import Model, Role, choice, one_of
from envoyassert.scenario.quantity import COUNT_WORDS, RANGE_KEYS, Count, Linear, Range, is_any
from envoyassert.words.of_listener.listen_by import WHO_LISTENS
from envoyassert.words.remedy import at_place, counts
from envoyassert.words.word import Example, ListenerWord, Part, Vacuous

if TYPE_CHECKING:
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding


class ListenCalls(Model):
    """listen() calls on the listener's sockets that succeeded."""

    times: Count = Field(Range(at_least=1), description="How many listen() calls succeeded.")
    by: Role | None = Field(None, description="Which threads called listen().")
    each: Literal["socket", "worker"] | None = Field(
        None, description="Count those on each socket, or by each worker, by themselves."
    )


CountOrListenCalls = Annotated[
    Annotated[int, Field(ge=0), Tag("|int")]
    | Annotated[Literal["workers", "none"], Tag("|text")]
    | Annotated[Linear, Tag("|Linear")]
    | Annotated[Range, Tag("|Range")]
    | Annotated[ListenCalls, Tag("|ListenCalls")],
    choice(
        one_of(("workers", "none"), Linear=("workers", "plus"), Range=RANGE_KEYS, ListenCalls=()),
        f"{COUNT_WORDS}, or {{times: count, by: role}}",
    ),
]
"""A count of successful listen() calls, or more about them."""


def _listen_calls(target: Target, word: str, value: Count | ListenCalls) -> Iterator[Finding]:
    from envoyassert.judge.each import groups_of_calls, judge_each
    from envoyassert.judge.roles import judge_callers
    from envoyassert.judge.values import Act

    calls = target.calls("listens")
    subject = target.subject.at(word)
    if not isinstance(value, ListenCalls):
        yield target.context.judge_times(subject, Act("listen"), value, calls)
        return
    if value.each is None:
        yield target.context.judge_times(
            subject.at("times"), Act("listen"), value.times, calls, shape=target.shape
        )
    else:
        groups = groups_of_calls(target.context, calls, value.each, target.sockets)
        yield judge_each(
            target.context, subject.at("times"), value.each, Act("listen"), value.times, groups
        )
    if value.by is not None:
        by = subject.at("by")
        yield judge_callers(target.context, by, Act("listen"), value.by, calls)


def _vacuous(value: Count | ListenCalls) -> Vacuous:
    if isinstance(value, Range) and is_any(value):
        yield (), "any number is right"


WORD = ListenerWord(
    name="listen_calls",
    form=CountOrListenCalls,
    description="Successful listen() calls; a plain count in its place means `times`.",
    judge=_listen_calls,
    vacuous=_vacuous,
    example=Example("listen_calls: workers", "shared", "listens_once"),
    parts=(
        Part(
            ListenCalls,
            "`listen_calls`",
            "[{listener: {port: 15006}, listen_calls: {%}}]",
            {
                "times": Example("times: workers", "shared", "listens_once"),
                "by": Example("by: main", "shared", "worker_listens"),
                "each": Example("times: 1, each: socket", "reuse", "listens_again"),
            },
        ),
    ),
    done=True,
    advice=at_place({("by",): WHO_LISTENS}),
    tries={"listen_calls": counts},
)
