"""What the kernel's tracepoints say of tasks and states, and calls that change namespaces."""

from __future__ import annotations

from typing import Any

from typing_extensions import NotRequired

from envoyassert.calls.descriptors import OTHER_TABLE_OF_FILES
from envoyassert.calls.payload import UNSIGNED, Args, text_at, two_words
from envoyassert.calls.row import (
    Arguments,
    Effect,
    Hides,
    Numbers,
    RecordedCall,
    Source,
    or_unknown,
)
from envoyassert.events import Event
from envoyassert.names import CLONE_NEWNET, TCP_STATES
from envoyassert.ranges import I32, U32, U64, Hex, Name, Pid, Port
from envoyassert.strace import values as printed

#: Sizes of comm and filename at the head of an exec record, see `wire.Exec`.
EXEC_HEAD = (16, 240)
_MAX_WORDS = 60
_CLONE_FILES = 0x400  # unshare(2), clone(2)


class ExecArguments(Arguments):
    """An exec that succeeded; name: the thread's (comm)."""

    filename: str | None
    argv: list[str]
    name: str


def _executed(args: Args, data: bytes, _ret: int) -> dict[str, object]:
    name, filename = EXEC_HEAD
    argv = data[name + filename :].split(b"\0")[:-1]
    return {
        "filename": text_at(data[name : name + filename]),
        "argv": [text_at(item) for item in argv[: max(args[0], 0)]],
        "name": text_at(data[:name]),
    }


def _exec_text(args: dict[str, Any]) -> str:
    words = " ".join([str(args.get("filename") or "?"), *(args.get("argv") or [])[1:]])
    return words if len(words) <= _MAX_WORDS else words[: _MAX_WORDS - 1] + "…"


EXEC = RecordedCall(
    "exec",
    ExecArguments,
    (Source("EA_EXEC", 32, _executed),),
    _exec_text,
    effect=Effect.EXEC,
    also=("execve", "execveat"),
    is_fact=True,
    before_accept=True,
)


class ForkArguments(Arguments):
    """A new thread or process; shares_files: there only if it differs from `thread`."""

    child_pid: Pid
    child_tid: Pid
    thread: bool
    shares_files: NotRequired[bool]


def _forked(args: Args, _data: bytes, _ret: int) -> dict[str, object]:
    thread, shares_files = bool(args[2]), bool(args[3])
    made: dict[str, object] = {"child_pid": args[0], "child_tid": args[1], "thread": thread}
    if shares_files is not thread:
        made["shares_files"] = shares_files
    return made


def _hidden_by_fork(event: Event) -> Hides:
    return OTHER_TABLE_OF_FILES if "shares_files" in event.args else ""


FORK = RecordedCall(
    "fork",
    ForkArguments,
    (Source("EA_FORK", 33, _forked),),
    lambda a: f"{'thread' if a['thread'] else 'process'} {a['child_tid']}",
    effect=Effect.FORK,
    unasked=frozenset({"truncated", "shares_files"}),
    also=("clone", "clone3", "vfork"),
    is_fact=True,
    before_accept=True,
    hides=_hidden_by_fork,
)


class ExitArguments(Arguments):
    """The end of a thread; last: the last one of the process is gone."""

    status: I32 | None
    last: bool


EXIT = RecordedCall(
    "exit",
    ExitArguments,
    (
        Source(
            "EA_EXIT", 34, lambda a, _d, _r: {"status": a[1] if a[0] else None, "last": bool(a[2])}
        ),
    ),
    lambda a: or_unknown(a.get("status")),
    effect=Effect.EXIT,
    also=("exit_group",),
    is_fact=True,
    timed_at_entry=True,
    before_accept=True,
)


class SignalArguments(Arguments):
    """A signal with the default action, delivered; Linux shows fatal ones without a core as 9."""

    number: I32


SIGNAL = RecordedCall(
    "signal",
    SignalArguments,
    (Source("EA_SIGNAL", 35, lambda a, _d, _r: {"number": a[0]}),),
    effect=Effect.SIGNAL,
    is_fact=True,
    before_accept=True,
)


class ThreadNameArguments(Arguments):
    """A thread that is given a name."""

    tid: Pid
    name: str


RENAME = RecordedCall(
    "rename",
    ThreadNameArguments,
    (Source("EA_RENAME", 36, lambda a, d, _r: {"tid": a[0], "name": text_at(d)}),),
    lambda a: f'{a["tid"]}, "{a["name"]}"',
    effect=Effect.RENAME_THREAD,
    is_fact=True,
    before_accept=True,
)


class TcpStateArguments(Arguments):
    """A socket of TCP that listens no more; sk: as of listen. Older files: port; TCP_LISTEN too."""

    sk: Hex
    old: Name
    new: Name
    port: NotRequired[Port]


def _tcp_state(args: Args, _data: bytes, _ret: int) -> dict[str, object]:
    return {
        "sk": hex(two_words(args[0], args[1])),
        "old": TCP_STATES.get(args[2], args[2]),
        "new": TCP_STATES.get(args[3], args[3]),
    }


TCP_STATE = RecordedCall(
    "tcp_state",
    TcpStateArguments,
    (Source("EA_TCP_STATE", 37, _tcp_state),),
    lambda a: f"{a['old']} -> {a['new']}",
    effect=Effect.TCP_STATE,
    unasked=frozenset({"truncated", "port"}),
    words=dict.fromkeys(("old", "new"), tuple(TCP_STATES.values())),
    is_fact=True,
)


class SetnsArguments(Arguments):
    """setns(2).

    path: that fd was opened from, or None.
    age_ns: between the two.
    """

    fd: I32
    nstype: I32
    path: NotRequired[str | None]
    age_ns: NotRequired[U64]


def _entered(args: Args, data: bytes, _ret: int) -> dict[str, object]:
    made: dict[str, object] = {"fd": args[0], "nstype": args[1], "path": None}
    if data:
        made["path"] = text_at(data)
        made["age_ns"] = two_words(args[2], args[3])
    return made


def _setns_text(args: dict[str, Any]) -> str:
    kind = "CLONE_NEWNET" if args["nstype"] == CLONE_NEWNET else hex(args["nstype"])
    return f"{args['fd']}<{or_unknown(args.get('path'))}>, {kind}"


SETNS = RecordedCall(
    "setns",
    SetnsArguments,
    (Source("EA_SETNS", 28, _entered, {"setns": Numbers(308, 268)}),),
    _setns_text,
    {
        "setns": lambda a, _: {
            "fd": int(a[0]),
            "nstype": printed.mask_of(a[1], printed.CLONE),
            "path": None,
        }
    },
    Effect.CHANGE_NAMESPACE,
)


class UnshareArguments(Arguments):
    """unshare(2)."""

    flags: U32


def _hidden_by_unshare(event: Event) -> Hides:
    unshared = event.ok and UNSHARE.of(event)["flags"] & _CLONE_FILES
    return OTHER_TABLE_OF_FILES if unshared else ""


UNSHARE = RecordedCall(
    "unshare",
    UnshareArguments,
    (
        Source(
            "EA_UNSHARE",
            29,
            lambda a, _d, _r: {"flags": a[0] & UNSIGNED},
            {"unshare": Numbers(272, 97)},
        ),
    ),
    None,
    {"unshare": lambda a, _: {"flags": printed.mask_of(a[0], printed.CLONE)}},
    Effect.CHANGE_NAMESPACE,
    hides=_hidden_by_unshare,
)

ROWS: tuple[RecordedCall[Any], ...] = (
    EXEC,
    FORK,
    EXIT,
    SIGNAL,
    RENAME,
    TCP_STATE,
    SETNS,
    UNSHARE,
)
