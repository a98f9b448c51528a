"""The backlog of listening sockets: as asked for, and as the kernel took it."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.accounts import NetworkSocket, Witness
from envoyassert.graph.model import KernelSocket
from envoyassert.judge.context import Subject
from envoyassert.judge.target import Target
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.listener_words import SOMAXCONN, Backlog


def judge_backlog(target: Target, word: str, value: int | Backlog) -> Iterator[Finding]:
    """Judge what listen() was called with, and what the kernel made of it."""
    subject = target.subject.at(word)
    if isinstance(value, int):
        yield _requested(target, subject, value)
        return
    if value.requested is not None:
        yield _requested(target, subject.at("requested"), value.requested)
    if value.effective is not None:
        yield _effective(target, subject.at("effective"), value.effective)


def _requested(target: Target, subject: Subject, wanted: int) -> Finding:
    calls = target.calls("listens")
    wrong = [call for call in calls if call.event.args["backlog"] != wanted]
    context = target.context
    if any(call.certain for call in wrong) or (not context.doubt and (wrong or not calls)):
        status = Status.FAIL
    else:
        status = Status.INCONCLUSIVE if context.doubt else Status.PASS
    seen = sorted({call.event.args["backlog"] for call in calls})
    return context.finding(
        subject,
        status,
        f"every listen() with backlog {wanted}",
        f"backlog {', '.join(map(str, seen))}" if seen else "no listen() call",
        evidence=[call.event for call in (wrong or calls)],
    )


def _effective(target: Target, subject: Subject, wanted: int | str) -> Finding:
    """Judge what sock_diag showed of each socket that listens at the end."""
    context = target.context
    witness = context.trace.witness
    network = None if witness is None else witness.network
    listening = [socket for socket in target.standing if socket.listens]
    expected = f"the kernel lets {wanted} connections wait"
    evidence = [call.event for call in target.calls("listens")]
    reason, number = "", wanted
    if witness is None or network is None or network.error:
        reason = "" if network is None else network.error
        reason = reason or "the kernel was not asked how many connections may wait"
    elif wanted == SOMAXCONN:
        limits = {network.limit_of(socket.netns) for socket in listening}
        if len(limits) == 1 and (limit := limits.pop()) is not None:
            number = limit
        else:
            reason = "the limit net.core.somaxconn could not be read, or there are several"
    shown = [_shown(witness, socket) for socket in listening]
    known = [entry.backlog for entry in shown if entry is not None and entry.backlog is not None]
    if not reason and len(known) < len(listening):
        reason = "the kernel did not show a socket of it at the end"
    if not listening:
        reason, status = "", Status.INCONCLUSIVE if context.doubt else Status.FAIL
    elif reason:
        status = Status.INCONCLUSIVE
    else:
        status = Status.PASS if all(backlog == number for backlog in known) else Status.FAIL
    seen = ", ".join(map(str, sorted(set(known)))) or "nothing"
    return context.finding(
        subject,
        status,
        expected,
        f"{seen} of {_sockets(listening)}" if listening else "no socket listens",
        reason=reason,
        evidence=evidence,
    )


def _sockets(listening: list[KernelSocket]) -> str:
    return "1 socket" if len(listening) == 1 else f"{len(listening)} sockets"


def _shown(witness: Witness | None, socket: KernelSocket) -> NetworkSocket | None:
    """Return what sock_diag showed of a socket, joined by the inode of its descriptors."""
    if witness is None or witness.network is None:
        return None
    own = {(d.pid, d.fd) for d in socket.descriptors if d.is_open}
    inodes = {entry.inode for entry in witness.sockets if (entry.pid, entry.fd) in own}
    found = [entry for entry in witness.network.sockets if entry.inode in inodes]
    return found[0] if len(found) == 1 else None
