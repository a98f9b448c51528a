"""Calls on epoll instances."""

from __future__ import annotations

from typing import Any

from envoyassert.calls.payload import UNSIGNED, Args, flag_names
from envoyassert.calls.row import (
    Arguments,
    Effect,
    Numbers,
    Phase,
    RecordedCall,
    Source,
    flags_text,
)
from envoyassert.names import EPOLL_EVENTS, EPOLL_OPS, epoll_event_names
from envoyassert.ranges import I32, Flags, Name
from envoyassert.strace import values as printed


class CreateArguments(Arguments):
    """epoll_create1(2): flags [`EPOLL_CLOEXEC`]."""

    flags: Flags


def _created(args: Args, _data: bytes, _ret: int) -> dict[str, object]:
    return {"flags": flag_names("EPOLL", args[0])}


EPOLL_CREATE1 = RecordedCall(
    "epoll_create1",
    CreateArguments,
    (
        Source(
            "EA_EPOLL_CREATE",
            17,
            lambda _a, _d, _r: {"flags": []},
            {"epoll_create": Numbers(213, None)},
        ),
        Source("EA_EPOLL_CREATE1", 18, _created, {"epoll_create1": Numbers(291, 20)}),
    ),
    None,
    {
        "epoll_create": lambda _a, _: {"flags": []},
        "epoll_create1": lambda a, _: {"flags": printed.flags_of(a[0], ("EPOLL_CLOEXEC",))},
    },
    Effect.MAKE_EPOLL,
    cloexec="EPOLL_CLOEXEC",
)


class ControlArguments(Arguments):
    """epoll_ctl(2): op `EPOLL_CTL_ADD`, events [`EPOLLIN`]."""

    epfd: I32
    op: Name
    fd: I32
    events: Flags


def _control(args: Args, _data: bytes, _ret: int) -> dict[str, object]:
    return {
        "epfd": args[0],
        "op": EPOLL_OPS.get(args[1], args[1]),
        "fd": args[2],
        "events": epoll_event_names(args[3] & UNSIGNED),
    }


EPOLL_CTL = RecordedCall(
    "epoll_ctl",
    ControlArguments,
    (Source("EA_EPOLL_CTL", 19, _control, {"epoll_ctl": Numbers(233, 21)}, words=4),),
    lambda a: f"{a['epfd']}, {a['op']}, {a['fd']}, {flags_text(a.get('events'))}",
    {"epoll_ctl": lambda a, _: printed.epoll_arguments(a)},
    Effect.REGISTER,
    Phase.SERVING,
    words={"op": tuple(EPOLL_OPS.values()), "events": tuple(EPOLL_EVENTS.values())},
)


class WaitArguments(Arguments):
    """epoll_wait(2), epoll_pwait(2), epoll_pwait2(2): once per thread and instance."""

    epfd: I32


def _printed_wait(a: list[str], _: int | None) -> dict[str, object]:
    return {"epfd": int(a[0])}


EPOLL_WAIT = RecordedCall(
    "epoll_wait",
    WaitArguments,
    (Source("EA_EPOLL_WAIT", 20, lambda a, _d, _r: {"epfd": a[0]}, words=1),),
    None,
    dict.fromkeys(("epoll_wait", "epoll_pwait", "epoll_pwait2"), _printed_wait),
    Effect.WAIT_EPOLL,
    at_entry=True,
)

ROWS: tuple[RecordedCall[Any], ...] = (EPOLL_CREATE1, EPOLL_CTL, EPOLL_WAIT)
