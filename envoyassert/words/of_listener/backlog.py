"""The backlog of listening sockets: as asked for, and as the kernel took it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.fact import Fact, Quote
from envoyassert.judge.verdict import Status
from envoyassert.scenario.grammar import Model, choice, one_of
from envoyassert.words.remedy import Change, at_place, numbers
from envoyassert.words.word import Example, ListenerWord, Part

if TYPE_CHECKING:
    from envoyassert.accounts import NetworkSocket, Witness
    from envoyassert.graph.model import KernelSocket
    from envoyassert.judge.context import Subject
    from envoyassert.judge.target import Target
    from envoyassert.judge.values import Reason
    from envoyassert.judge.verdict import Finding

#: Stands for the limit of Envoy's network namespace, whatever it is on the machine.
SOMAXCONN = "somaxconn"


class Backlog(Model):
    """With which backlog its sockets listen, and what the kernel made of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": [number]} for number in ("requested", "effective")]
        }
    )

    requested: int | None = Field(
        None,
        description="What listen() was last called with on each of its sockets; Envoy's default "
        "is -1.",
    )
    effective: (
        Annotated[
            Annotated[Literal["somaxconn"], Tag("|text")] | Annotated[int, Tag("|int")],
            choice(one_of((SOMAXCONN,)), "a number or `somaxconn`"),
        ]
        | None
    ) = Field(
        None,
        description="How many connections may wait, as the kernel shows at the end: what was "
        "requested, but no more than net.core.somaxconn, which a negative number stands for.",
    )

    @model_validator(mode="after")
    def _some_number(self) -> Backlog:
        if self.requested is None and self.effective is None:
            raise ValueError("give requested or effective")
        return self


_NumberOrBacklog = Annotated[
    Annotated[int, Tag("|int")] | Annotated[Backlog, Tag("|Backlog")],
    choice(one_of(Backlog=()), "a number or {requested: n, effective: n}"),
]


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
    """Judge what listen() was last called with on each socket: a later call replaces the number."""
    context = target.context
    listening = _listening(target)
    last = [socket.listens[-1].event for socket in listening]
    known = [event for event in last if event.args["backlog"] is not None]
    wrong = [event for event in known if event.args["backlog"] != wanted]
    reason = None
    if context.doubt:
        status = Status.INCONCLUSIVE  # a call that was lost may have replaced the number
    elif wrong or not last:
        status = Status.FAIL
    elif len(known) < len(last):
        status, reason = Status.INCONCLUSIVE, Fact("backlog_unknown")
    else:
        status = Status.PASS
    numbers = tuple(sorted({event.args["backlog"] for event in known}))
    seen = Fact("backlog_seen", numbers=numbers, sockets=len(listening))
    return context.finding(
        subject,
        status,
        Fact("backlog", number=wanted),
        seen if listening else Fact("no_socket_listens"),
        reason=reason,
        evidence=wrong or last,
    )


def _effective(target: Target, subject: Subject, wanted: int | str) -> Finding:
    """Judge what sock_diag showed of each socket that listens at the end."""
    context = target.context
    witness = context.trace.witness
    network = None if witness is None else witness.network
    listening = _listening(target)
    evidence = [call.event for call in target.calls("listens")]
    reason: Reason | None = None
    number = wanted
    if witness is None or network is None or network.error:
        reason = Fact("kernel_not_asked_backlog")
        if network is not None and network.error:
            reason = Fact("kernel_account", said=Quote(network.error))
    elif wanted == SOMAXCONN:
        limits = {network.limit_of(socket.netns) for socket in listening}
        if len(limits) == 1 and (limit := limits.pop()) is not None:
            number = limit
        else:
            reason = Fact("somaxconn_unknown")
    shown = [_shown(witness, socket) for socket in listening]
    known = [entry.backlog for entry in shown if entry is not None and entry.backlog is not None]
    if not reason and len(known) < len(listening):
        reason = Fact("kernel_did_not_show")
    if not listening:
        reason, status = None, Status.INCONCLUSIVE if context.doubt else Status.FAIL
    elif reason:
        status = Status.INCONCLUSIVE
    else:
        status = Status.PASS if all(backlog == number for backlog in known) else Status.FAIL
    seen = Fact("backlog_held", numbers=tuple(sorted(set(known))), sockets=len(listening))
    return context.finding(
        subject,
        status,
        Fact("backlog_effective", number=wanted),
        seen if listening else Fact("no_socket_listens"),
        reason=reason,
        evidence=evidence,
    )


def _listening(target: Target) -> list[KernelSocket]:
    return [socket for socket in target.standing if socket.listens]


def _shown(witness: Witness | None, socket: KernelSocket) -> NetworkSocket | None:
    """Return what sock_diag showed of a socket, joined by the inode of its descriptors."""
    if witness is None or witness.network is None:
        return None
    own = {(d.pid, d.fd) for d in socket.descriptors if d.is_open}
    inodes = {entry.inode for entry in witness.sockets if (entry.pid, entry.fd) in own}
    found = [entry for entry in witness.network.sockets if entry.inode in inodes]
    return found[0] if len(found) == 1 else None


_ADVICE = (
    "listen() gets tcp_backlog_size of the listener, and without it -1, which Linux takes for "
    "net.core.somaxconn; a change of it by LDS reaches the sockets since Envoy 1.40"
)


def _field(change: Change, _: int) -> str:
    wanted = change.before
    return f"tcp_backlog_size: {wanted}" if isinstance(wanted, int) and wanted > 0 else ""


def _of_state(place: tuple[object, ...], _: int | Backlog) -> tuple[Status, ...]:
    return (Status.PASS, Status.FAIL) if place == ("effective",) else ()


WORD = ListenerWord(
    name="backlog",
    form=_NumberOrBacklog,
    description="Backlog that listen() was last called with on each of its sockets.",
    judge=judge_backlog,
    example=Example("backlog: -1", "shared", "backlog_128"),
    parts=(
        Part(
            Backlog,
            "`backlog`",
            "[{listener: {port: 15006}, backlog: {%}}]",
            {
                "requested": Example("requested: 128", "backlog_128", "shared"),
                "effective": Example("effective: somaxconn", "longest_queue", "short_queue"),
            },
        ),
    ),
    advice=at_place({(): _ADVICE, ("requested",): _ADVICE}),
    tries={"backlog": numbers, "requested": numbers},
    config=_field,
    of_state=_of_state,
)
