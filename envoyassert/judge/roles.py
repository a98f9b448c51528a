"""Who did it: thread roles against `by`, `served_by` and `listen_by`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envoyassert.events import Event
from envoyassert.graph.model import Call, Thread
from envoyassert.judge.context import UNKNOWN_WORKERS, Context, Subject
from envoyassert.judge.values import (
    Act,
    By,
    Fact,
    ThreadName,
    Threads,
    thread_name,
)
from envoyassert.judge.verdict import Finding, Status


def matches_role(thread: Thread, role: str) -> bool:
    """Whether a single thread is one of those that a role means."""
    if role == "workers":
        return thread.role.startswith("worker_")
    return thread.role == role


def names_of(threads: Iterable[Thread]) -> tuple[ThreadName, ...]:
    """Return threads by name: main first, then the workers in the order of their numbers."""
    known = {thread.tid: thread for thread in threads}

    def rank(thread: Thread) -> tuple[int, int]:
        if thread.role == "main":
            return (0, 0)
        worker = thread.role.startswith("worker_")
        return (1, int(thread.role[7:])) if worker else (2, thread.tid)

    return tuple(map(thread_name, sorted(known.values(), key=rank)))


def is_surely_other(context: Context, thread: Thread) -> bool:
    """Whether a thread that is no main is none whatever was lost."""
    return not context.doubt or thread.tid != thread.pid


def judge_threads(
    context: Context,
    subject: Subject,
    act: Act,
    role: str,
    threads: Sequence[Thread],
    *,
    evidence: Iterable[Event] = (),
    certain: bool = True,
    cause: Fact | None = None,
) -> Finding:
    """Judge a set of threads against a role.

    Args:
        context: the trace.
        subject: what and where.
        act: what the threads did.
        role: what was expected: `main`, `workers`, `worker_<i>`, `other` or `none`.
        threads: those that did it.
        evidence: events that show it.
        certain: whether a thread that ought not to be there is so for sure.
        cause: what it means at the level of behaviour.
    """
    wanted, names = By(act, role, context.workers), names_of(threads)
    if role == "workers" and context.workers < 1:
        return context.finding(
            subject,
            Status.INCONCLUSIVE,
            wanted,
            Threads(act, names),
            reason=UNKNOWN_WORKERS,
        )
    status, note = _compare(context, role, threads, certain)
    seen = Threads(act, names, note)
    return context.finding(subject, status, wanted, seen, evidence=evidence, cause=cause)


def _compare(
    context: Context, role: str, threads: Sequence[Thread], certain: bool
) -> tuple[Status, Fact | None]:
    """Return the status, and what is wrong beside who did it."""
    unproven = Status.INCONCLUSIVE if context.doubt else None
    # A lost rename makes a worker look like `other`; main is known by its numbers, in an Envoy.
    nameless = unproven is not None and role.startswith("worker")
    others = [
        thread
        for thread in threads
        if not matches_role(thread, role)
        and not (nameless and thread.role == "other")
        and (role != "main" or is_surely_other(context, thread))
    ]
    if others:
        if certain or not unproven:
            return Status.FAIL, None
        return Status.INCONCLUSIVE, None
    if role == "workers":
        present = context.worker_threads
        if len(present) > context.workers or (len(present) != context.workers and not unproven):
            return Status.FAIL, Fact("workers_exist", number=len(present))
        if not unproven and len({thread.role for thread in present}) < len(present):
            # Of two processes, or of one that counts wrong: not the N workers of one Envoy.
            return Status.FAIL, Fact("workers_of_one_name")
        if not unproven and len({thread.pid for thread in present}) > 1:
            return Status.FAIL, Fact("workers_of_several_processes")
        missing = [thread for thread in present if thread not in threads]
        if missing and not unproven:
            return Status.FAIL, Fact("without", threads=names_of(missing))
    elif not threads and role != "none" and not unproven:
        return Status.FAIL, None
    return unproven or Status.PASS, None


def judge_callers(
    context: Context,
    subject: Subject,
    act: Act,
    role: str,
    calls: Sequence[Call],
) -> Finding:
    """Judge who made some calls; `certain` calls prove a foreign process."""
    threads = list(dict.fromkeys(call.thread for call in calls))
    others = [call for call in calls if not matches_role(call.thread, role)]
    return judge_threads(
        context,
        subject,
        act,
        role,
        threads,
        evidence=[call.event for call in (others or calls)],
        certain=any(call.certain for call in others),
    )
