"""`served_by`: the threads that have one of the listener's sockets in their epoll."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.scenario.grammar import RoleOrNone
from envoyassert.words.remedy import Failed, roles
from envoyassert.words.word import Example, ListenerWord, every_answer

if TYPE_CHECKING:
    from envoyassert.judge.context import Subject
    from envoyassert.judge.target import Target
    from envoyassert.judge.values import Act
    from envoyassert.judge.verdict import Finding


def _served_by(target: Target, word: str, value: str) -> Iterator[Finding]:
    from envoyassert.judge.roles import names_of
    from envoyassert.judge.values import Act, By, Threads

    subject = target.subject.at(word)
    if target.context.by_listen:
        yield target.context.finding(
            subject,
            Status.INCONCLUSIVE,
            By(Act("serve"), value, target.context.workers),
            Threads(Act("listen"), names_of(call.thread for call in target.calls("listens"))),
            reason=Fact("epoll_unobserved", instead="listened"),
        )
    else:
        yield judge_servers(target, subject, Act("serve"), value)


def judge_servers(target: Target, subject: Subject, act: Act, role: str) -> Finding:
    """Judge which threads serve a listener."""
    from envoyassert.judge.roles import judge_threads, matches_role

    if target.context.by_listen:
        act = replace(act, by_listen=True)
    serving, taking = target.serving, target.taking
    sure = [(e.thread, e.certain) for e in serving] + [(c.thread, c.certain) for c in taking]
    threads = list(dict.fromkeys(thread for thread, _ in sure))
    cause = None
    if target.standing and not threads:
        cause = Fact("no_thread_waits")
    return judge_threads(
        target.context,
        subject,
        act,
        role,
        threads,
        evidence=[entry.since.event for entry in serving] + [call.event for call in taking],
        certain=any(certain for thread, certain in sure if not matches_role(thread, role)),
        cause=cause,
    )


def _servers(failed: Failed) -> Iterator[str]:
    yield from roles(failed)
    yield "none"


WORD = ListenerWord(
    name="served_by",
    form=RoleOrNone,
    description="Threads that have one of the listener's sockets in their epoll.",
    judge=_served_by,
    serves=str,
    example=Example("served_by: workers", "shared", "one_worker_left"),
    also_called=("serve", "serves", "served", "serving"),
    tries={"served_by": _servers},
    of_state=every_answer,
)
