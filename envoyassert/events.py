"""One observed fact: a system call that returned, or something the kernel reported about a task.

`Event.call` is the system call's name, or one of the kernel's own facts: `exec`, `fork`, `exit`,
`signal`, `rename`, `tcp_state`. `Event.args` holds decoded arguments by the names of the man page;
`envoyassert.calls` has a row for each call with their types, and `row.of(event)` returns them with
these types. Numbers without a known name stay numbers. `fd` is always the descriptor *operated on*;
a new descriptor is `ret`.
"""

from __future__ import annotations

from typing import Any

from envoyassert.names import errno_name


class Event:
    """One event.

    Args:
        ts_ns: CLOCK_MONOTONIC nanoseconds; for a system call the time of its return, but for
            close that of its entry: from then on its number may be given out again.
        pid: process id (tgid) in the initial pid namespace.
        tid: thread id in the initial pid namespace.
        call: what happened, one of `envoyassert.calls.CALLS`.
        ret: return value, negative errno on failure; None where it was not observed.
        args: decoded arguments, see the row of the call.
        cpu: CPU that recorded it.
        seq: number of this record among those of its run on its CPU, from 1 without gaps.
        fault: whether some user memory could not be read, so that an argument is None.
        stack: frames of the user stack, innermost first, each `<build id>+0x<offset>`.
    """

    __slots__ = ("args", "call", "cpu", "fault", "pid", "ret", "seq", "stack", "tid", "ts_ns")

    def __init__(
        self,
        ts_ns: int,
        pid: int,
        tid: int,
        call: str,
        ret: int | None,
        args: dict[str, Any],
        cpu: int = 0,
        seq: int = 0,
        fault: bool = False,
        stack: tuple[str, ...] = (),
    ) -> None:
        self.ts_ns = ts_ns
        self.pid = pid
        self.tid = tid
        self.call = call
        self.ret = ret
        self.args = args
        self.cpu = cpu
        self.seq = seq
        self.fault = fault
        self.stack = stack

    @property
    def ok(self) -> bool:
        """Whether the call is known to have succeeded."""
        return self.ret is not None and self.ret >= 0

    @property
    def errno(self) -> str | None:
        """Name of the error (`EADDRINUSE`), or None if there was none or it is unknown."""
        return errno_name(-self.ret) if self.ret is not None and self.ret < 0 else None

    def _key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self._key() == other._key()

    __hash__ = None  # type: ignore[assignment]  # args is a dict

    def __repr__(self) -> str:
        return f"Event({self.ts_ns}, {self.pid}/{self.tid}, {self.call}, {self.args} = {self.ret})"
