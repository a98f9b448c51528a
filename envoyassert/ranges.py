"""Ranges of the numbers and words in a trace; a file that does not keep to them is not read.

They are the kernel's own: what a 32-bit or 64-bit value of its can be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from annotated_types import Ge, Le, Lt


class Matches:
    """Metadata of text that matches a pattern, for pydantic, which is not loaded for it.

    Args:
        pattern: a regular expression.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __get_pydantic_core_schema__(
        self, source: object, handler: Callable[[object], Any]
    ) -> dict[str, object]:
        return {**handler(source), "pattern": self._pattern}


#: Nanoseconds of CLOCK_MONOTONIC, or between two times of it; a count, a size, a place in a list.
Natural = Annotated[int, Ge(0), Lt(2**63)]
#: A process or thread id; 0 where none was noted.
Pid = Annotated[int, Ge(0), Lt(2**31)]
#: A `__u16`: a CPU, say.
U16 = Annotated[int, Ge(0), Lt(2**16)]
#: A `__u32`.
U32 = Annotated[int, Ge(0), Lt(2**32)]
#: A `__u64`: an inode, a cookie.
U64 = Annotated[int, Ge(0), Lt(2**64)]
#: An `int` of C, which is what a system call takes for a descriptor: any may be passed.
I32 = Annotated[int, Ge(-(2**31)), Lt(2**31)]
#: A `long` of C: what a system call returns.
I64 = Annotated[int, Ge(-(2**63)), Lt(2**63)]
#: More workers than this are asked for by mistake; the judge has work to do for each.
MOST_WORKERS = 1024
#: Longer lists are written by mistake, or to keep the machine busy: steps, expectations and files
#: of a scenario, what comes `in_order`, variables of one `let` (it is joined with all others).
MOST_STEPS, MOST_EXPECTATIONS, MOST_FILES, MOST_IN_ORDER, MOST_VARIABLES = 200, 2000, 1000, 200, 64
Workers = Annotated[int, Ge(0), Le(MOST_WORKERS)]
#: Seconds for which something lasted.
Seconds = Annotated[float, Ge(0), Le(1e9)]
#: A port in host byte order.
Port = U16
#: Names of flags, bits without a name as hex.
Flags = list[str]
#: A constant by its name, or by its number where it has none here.
Name = Annotated[str, Matches("^[A-Z][A-Z0-9_]*$")] | I32
Hex = Annotated[str, Matches("^0x[0-9a-f]{1,16}$")]

#: Members of closed lists.
ListenerProtocol = Annotated[str, Matches("^(TCP|UDP|UNIX)$")]
ListenerKind = Annotated[str, Matches("^(static|lds|admin)$")]
AttemptProtocol = Annotated[str, Matches("^(TCP|MPTCP|UDP|UNIX)$")]
AttemptEnd = Annotated[str, Matches("^(held|closed|eof|reset|)$")]
UpdateAnswer = Annotated[str, Matches("^(ack|nack)$")]
Tracer = Annotated[str, Matches("^(ebpf|strace|bpftrace|)$")]
