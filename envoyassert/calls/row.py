"""What is known of one recorded call, in one row.

A row is all that the rest of the package has to know of a call: the probe's table of numbers, the C
enum, the decoder of records, the reader of strace's log, the schema of trace files, the words of a
scenario, the story and the fold read their part of it. `envoyassert.calls` has all rows.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Generic, Literal, TypeVar

from typing_extensions import NotRequired, TypedDict

from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.frozen import frozen


class Arguments(TypedDict):
    """What the arguments of every call may have.

    truncated: there was more than a record holds.
    """

    truncated: NotRequired[bool]


A = TypeVar("A", bound=Arguments)

#: The first six arguments of a record, its payload, the call's result, of which only whether it
#: failed may count: to decoded arguments. Takes any numbers and any payload: what is cut short
#: becomes None or is left out.
Decode = Callable[[tuple[int, ...], bytes, int], dict[str, Any]]
#: The arguments as strace prints them, and the result (None if the call has not returned): to
#: decoded arguments, None for a call that is not recorded. Raises ValueError, IndexError, KeyError.
Parse = Callable[[list[str], "int | None"], "dict[str, Any] | None"]
#: Decoded arguments as strace would print them; what was not observed is `?`.
Render = Callable[[dict[str, Any]], str]


class Effect(enum.Enum):
    """What the fold into a socket graph does with a call."""

    NONE = enum.auto()
    EXEC = enum.auto()
    FORK = enum.auto()
    EXIT = enum.auto()
    SIGNAL = enum.auto()
    RENAME_THREAD = enum.auto()
    TCP_STATE = enum.auto()
    CHANGE_NAMESPACE = enum.auto()
    MAKE_SOCKET = enum.auto()
    MAKE_PAIR = enum.auto()
    BIND = enum.auto()
    CONNECT = enum.auto()
    LISTEN = enum.auto()
    ACCEPT = enum.auto()
    SET_OPTION = enum.auto()
    SHUT_DOWN = enum.auto()
    LEARN_ADDRESS = enum.auto()
    ON_PATH = enum.auto()
    COPY = enum.auto()
    CLOSE = enum.auto()
    CLOSE_RANGE = enum.auto()
    SEND = enum.auto()
    RECEIVE = enum.auto()
    MAKE_EPOLL = enum.auto()
    WAIT_EPOLL = enum.auto()
    REGISTER = enum.auto()


#: Why a trace does not show all after a call: `unseen`, it acts where no probe looks; a `filter`
#: may answer in the kernel's place; `files`, a table of descriptors was unshared or shared; the
#: table of system calls by whose numbers it was made.
Hides = Literal["", "unseen", "filter", "files", "32-bit", "x32"]


class Phase(enum.Enum):
    """In which part of a start-up's story a call is printed."""

    MADE = "made"
    LISTENING = "listening"
    SERVING = "serving"
    CLOSING = "closing"


@frozen
class Numbers:
    """Number of a system call per architecture, None where it has none.

    Sources: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux.
    The arm64 column has not been run on such a machine.
    """

    x86_64: int | None
    aarch64: int | None

    @classmethod
    def everywhere(cls, number: int) -> Numbers:
        """Return those of a call that is newer than Linux 5.0: it has one number everywhere."""
        return cls(number, number)


@frozen
class Source:
    """One type of record that an event may come from.

    Args:
        constant: its name in `enum ea_type` of the program.
        number: its value there; never reused.
        decode: its arguments.
        syscalls: the system calls that are recorded at their exit with this type. None for what a
            tracepoint of its own records.
        words: how many of the six arguments `decode` looks at, from the first; the others hold
            whatever the registers held.
        pointers: of these, from which to before which one it does not: addresses of memory.
    """

    constant: str
    number: int
    decode: Decode
    syscalls: Mapping[str, Numbers] = field(default_factory=dict)
    words: int = 6
    pointers: tuple[int, int] = (0, 0)


@frozen
class RecordedCall(Generic[A]):
    """One row.

    Args:
        name: of the event: a system call, or one of the kernel's own facts.
        arguments: decoded arguments by the names of the man page, with their types and ranges.
        sources: types of records that it comes from.
        text: its arguments as strace would print them; None: the values, one after the other.
        strace: how strace's log is read, by the names of calls there.
        effect: what the fold does with it.
        phase: where the story of a start-up prints it; None where it does not.
        unasked: arguments that no scenario asks for.
        words: arguments that are one word of a closed list, with these words.
        also: further system calls that are recorded under this name.
        is_fact: reported by a tracepoint of the kernel, as opposed to a system call.
        at_entry: recorded when it begins: it has no result.
        timed_at_entry: the time of an event is that at which the call began.
        before_accept: no connection sees it, so none of them is the framework's own traffic.
        cloexec: the flag with which the new descriptor is closed by exec.
        hides: why a trace does not show what happens to sockets after such a call; "" if it does.
    """

    name: str
    arguments: type[A]
    sources: tuple[Source, ...] = ()
    text: Render | None = None
    strace: Mapping[str, Parse] = field(default_factory=dict)
    effect: Effect = Effect.NONE
    phase: Phase | None = None
    unasked: frozenset[str] = frozenset({"truncated"})
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    is_fact: bool = False
    at_entry: bool = False
    timed_at_entry: bool = False
    before_accept: bool = False
    cloexec: str = ""
    hides: Callable[[Event], Hides] | None = None

    def of(self, event: Event) -> A:
        """Return the arguments of an event of this call, with their types."""
        args: Any = event.args
        typed: A = args
        return typed


# Envoy's hot restart sockets are padded to the longest name there is: unix(7), every NUL counts.
_PADDING = re.compile(r"(\\0){2,}$")


def address_text(address: Address | None) -> str:
    """Return an address for people: `?` if unknown, the padding of an abstract name cut off."""
    return "?" if address is None else _PADDING.sub(r"\\0…", str(address))


def or_unknown(value: object) -> str:
    """Return a value as text."""
    if isinstance(value, Address):
        return address_text(value)
    return "?" if value is None else str(value)


def flags_text(names: list[str] | None) -> str:
    """Return names of flags with bars between, `0` for none."""
    return "|".join(str(name) for name in names or ()) or "0"


def quoted_path(path: str | None) -> str:
    """Return a path in quotes."""
    return "?" if path is None else f'"{path}"'
