"""Who did it: thread roles against `by`, `served_by` and `listen_by`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envoyassert.events import Event
from envoyassert.graph.model import Call, Thread
from envoyassert.judge.context import UNKNOWN_WORKERS, Context, Subject
from envoyassert.judge.interval import plural
from envoyassert.judge.verdict import Finding, Status


def matches_role(thread: Thread, role: str) -> bool:
    """Whether a single thread is one of those that a role means."""
    if role == "workers":
        return thread.role.startswith("worker_")
    return thread.role == role


def roles_in_words(threads: Iterable[Thread]) -> str:
    """Return `main, worker_0`, workers in the order of their numbers, or `no thread`."""
    known = {thread.tid: thread for thread in threads}
    if not known:
        return "no thread"

    def rank(thread: Thread) -> tuple[int, int]:
        if thread.role == "main":
            return (0, 0)
        worker = thread.role.startswith("worker_")
        return (1, int(thread.role[7:])) if worker else (2, thread.tid)

    return ", ".join(
        f"{thread.role} ({_name(thread)})" if thread.role == "other" else thread.role
        for thread in sorted(known.values(), key=rank)
    )


def _name(thread: Thread) -> str:
    name = thread.name or str(thread.tid)
    return name if thread.of_envoy else f"{name}, process {thread.pid}"


def is_surely_other(context: Context, thread: Thread) -> bool:
    """Whether a thread that is no main is none whatever was lost."""
    return not context.doubt or thread.tid != thread.pid


def judge_threads(
    context: Context,
    subject: Subject,
    verb: str,
    role: str,
    threads: Sequence[Thread],
    *,
    evidence: Iterable[Event] = (),
    certain: bool = True,
    hint: str = "",
) -> Finding:
    """Judge a set of threads against a role.

    Args:
        context: the trace.
        subject: what and where.
        verb: what the threads did: `served by`.
        role: what was expected: `main`, `workers`, `worker_<i>`, `other` or `none`.
        threads: those that did it.
        evidence: events that show it.
        certain: whether a thread that ought not to be there is so for sure.
        hint: behaviour-level help.
    """
    expected = f"{verb} {_role_in_words(context, role)}"
    seen = f"{verb} {roles_in_words(threads)}"
    if role == "workers" and context.workers < 1:
        return context.finding(
            subject,
            Status.INCONCLUSIVE,
            expected,
            seen,
            reason=UNKNOWN_WORKERS,
        )
    status, note = _compare(context, role, threads, certain)
    if note:
        seen = f"{seen} ({note})"
    return context.finding(subject, status, expected, seen, evidence=evidence, hint=hint)


def _role_in_words(context: Context, role: str) -> str:
    if role == "workers":
        return f"each of {plural(context.workers, 'worker')} and nobody else"
    return {"none": "nobody", "main": "main and nobody else"}.get(role, f"{role} and nobody else")


def _compare(
    context: Context, role: str, threads: Sequence[Thread], certain: bool
) -> tuple[Status, str]:
    """Return the status, and what is amiss in words."""
    unproven = Status.INCONCLUSIVE if context.doubt else None
    # A lost rename makes a worker look like `other`; main is known by its numbers, in an Envoy.
    nameless = unproven is not None and role.startswith("worker")
    strangers = [
        thread
        for thread in threads
        if not matches_role(thread, role)
        and not (nameless and thread.role == "other")
        and (role != "main" or is_surely_other(context, thread))
    ]
    if strangers:
        if certain or not unproven:
            return Status.FAIL, ""
        return Status.INCONCLUSIVE, ""
    if role == "workers":
        present = context.worker_threads
        if len(present) > context.workers or (len(present) != context.workers and not unproven):
            return Status.FAIL, f"{plural(len(present), 'worker thread')} exist"
        if not unproven and len({thread.role for thread in present}) < len(present):
            # Of two processes, or of one that counts wrong: not the N workers of one Envoy.
            return Status.FAIL, "worker threads of the same name exist"
        if not unproven and len({thread.pid for thread in present}) > 1:
            return Status.FAIL, "the worker threads belong to several processes"
        missing = [thread for thread in present if thread not in threads]
        if missing and not unproven:
            return Status.FAIL, f"not {roles_in_words(missing)}"
    elif not threads and role != "none" and not unproven:
        return Status.FAIL, ""
    return unproven or Status.PASS, ""


def judge_callers(
    context: Context,
    subject: Subject,
    verb: str,
    role: str,
    calls: Sequence[Call],
    hint: str = "",
) -> Finding:
    """Judge who made some calls; `certain` calls prove a stranger."""
    threads = list(dict.fromkeys(call.thread for call in calls))
    strangers = [call for call in calls if not matches_role(call.thread, role)]
    return judge_threads(
        context,
        subject,
        verb,
        role,
        threads,
        evidence=[call.event for call in (strangers or calls)],
        certain=any(call.certain for call in strangers),
        hint=hint,
    )
