"""`served_by`: the threads that have one of the listener's sockets in their epoll."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.judge.context import Subject
from envoyassert.judge.roles import judge_threads, matches_role, roles_in_words
from envoyassert.judge.target import Target
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.grammar import RoleOrNone
from envoyassert.words.word import Example, ListenerWord


def _served_by(target: Target, word: str, value: str) -> Iterator[Finding]:
    subject = target.subject.at(word)
    if target.context.by_listen:
        yield target.context.finding(
            subject,
            Status.INCONCLUSIVE,
            f"served by {value}",
            f"listen() called by {roles_in_words(call.thread for call in target.calls('listens'))}",
            reason="epoll was not observed; `listened` falls back on listen()",
        )
    else:
        yield judge_servers(target, subject, "served by", value)


def judge_servers(target: Target, subject: Subject, verb: str, role: str) -> Finding:
    """Judge which threads serve a listener."""
    if target.context.by_listen:
        verb = f"{verb} (by listen(), for epoll was not observed)"
    serving, taking = target.serving, target.taking
    sure = [(e.thread, e.certain) for e in serving] + [(c.thread, c.certain) for c in taking]
    threads = list(dict.fromkeys(thread for thread, _ in sure))
    hint = ""
    if target.standing and not threads:
        hint = "a socket listens, but no thread waits for it: clients connect and hang"
    return judge_threads(
        target.context,
        subject,
        verb,
        role,
        threads,
        evidence=[entry.since.event for entry in serving] + [call.event for call in taking],
        certain=any(certain for thread, certain in sure if not matches_role(thread, role)),
        hint=hint,
    )


WORD = ListenerWord(
    name="served_by",
    form=RoleOrNone,
    description="Threads that have one of the listener's sockets in their epoll.",
    judge=_served_by,
    serves=str,
    example=Example("served_by: workers", "shared", "one_worker_left"),
)
