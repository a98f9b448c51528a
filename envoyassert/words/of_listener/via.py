"""`via`: how the descriptors relate through which a listener is served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.words.remedy import field_of_shape, shapes
from envoyassert.words.word import Example, ListenerWord

if TYPE_CHECKING:
    from envoyassert.graph.model import KernelSocket
    from envoyassert.judge.context import Subject
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding

Via = Literal["dup", "reuse_port", "shared_fd"]


def _via(target: Target, word: str, value: str) -> Iterator[Finding]:
    yield judge_via(target, target.subject.at(word), value)


def judge_via(target: Target, subject: Subject, via: str) -> Finding:
    """Judge how a listener is served."""
    from envoyassert.judge.context import UNKNOWN_WORKERS
    from envoyassert.judge.roles import matches_role
    from envoyassert.judge.target import shape_of, shape_value

    context, serving, standing = target.context, target.serving, target.standing
    shape = shape_of(serving, standing)
    threads = {entry.thread for entry in serving}
    seen = shape_value(serving, standing)
    workers = sum(matches_role(thread, "workers") for thread in threads)
    if workers and not target.role and workers != context.workers:
        # Each way is one of reaching every worker, so one that reaches fewer is none of them.
        # Where the scenario says who serves, that word shows who is missing.
        shape = ""
        seen = replace(seen, workers=context.workers)
    if workers and context.workers < 1:
        return context.finding(
            subject, Status.INCONCLUSIVE, Fact("served_via", via=via), seen, reason=UNKNOWN_WORKERS
        )
    if shape == via or (shape == "dup" and via == "shared_fd" and len(threads) == 1):
        status = Status.INCONCLUSIVE if context.doubt else Status.PASS
    elif context.doubt and not _contradicts(target, via):
        status = Status.INCONCLUSIVE
    else:
        status = Status.FAIL
    return context.finding(
        subject,
        status,
        Fact("served_via", via=via),
        seen,
        evidence=[call.event for call in target.calls("binds")]
        + [entry.since.event for entry in serving],
        cause=Fact("shape", shape=shape, other="either") if shape else None,
    )


def _contradicts(target: Target, via: str) -> bool:
    """Whether what was seen for certain already rules `via` out, whatever was lost."""
    if via == "reuse_port":
        holders: dict[KernelSocket, set[int]] = {}
        for entry in target.serving:
            if entry.certain:
                holders.setdefault(entry.descriptor.socket, set()).add(entry.thread.tid)
        return any(len(tids) > 1 for tids in holders.values())
    sure = [
        socket
        for socket in target.standing
        if all(d.tainted_ns is None for d in socket.descriptors)
    ]
    return len(sure) > 1


WORD = ListenerWord(
    name="via",
    form=Via,
    description="How the serving descriptors relate.",
    judge=_via,
    example=Example("via: reuse_port", "reuse", "shared"),
    also_called=("dup", "dups", "reuse_port", "reuseport", "shared_fd"),
    tries={"via": shapes},
    config=field_of_shape,
)
