"""One event in words: the call as strace would print it, its time, and its thread."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from envoyassert.addresses import Address
from envoyassert.events import KERNEL_FACTS, Event
from envoyassert.graph.model import SocketGraph
from envoyassert.names import CLONE_NEWNET
from envoyassert.option_values import value_text
from envoyassert.trace import Trace

_MAX_PATH = 60
# Envoy's hot restart sockets are padded to the longest name there is: unix(7), every NUL counts.
_PADDING = re.compile(r"(\\0){2,}$")


def _flags(names: list[str]) -> str:
    return "|".join(str(name) for name in names) or "0"


def address_text(address: Address | None) -> str:
    """Return an address for people: `?` if unknown, the padding of an abstract name cut off."""
    return "?" if address is None else _PADDING.sub(r"\\0…", str(address))


def _or_unknown(value: Any) -> str:
    if isinstance(value, Address):
        return address_text(value)
    return "?" if value is None else str(value)


def _socket(args: dict[str, Any]) -> str:
    kind = "|".join([str(args["type"]), *(str(flag) for flag in args.get("flags") or [])])
    return f"{args['family']}, {kind}, {args['protocol']}"


def _path(args: dict[str, Any]) -> str:
    if "path" not in args:
        return str(args["fd"])
    return '"' + str(args["path"]) + '"' if args["path"] is not None else "?"


def _renameat2(args: dict[str, Any]) -> str:
    paths = [f'"{path}"' if path is not None else "?" for path in (args["path"], args["to"])]
    flags = [hex(args["flags"])] if args["flags"] else []
    return ", ".join(paths + flags)


def _chmod(args: dict[str, Any]) -> str:
    mode = args.get("mode")
    return f"{_path(args)}, {'?' if mode is None else format(mode, '04o')}"


def _rights(args: dict[str, Any]) -> str:
    more = ", …" if args.get("truncated") else ""
    fds = ", ".join(str(fd) for fd in args.get("fds") or [])
    return f"{args['fd']}, SCM_RIGHTS [{fds}{more}]"


def _exec(args: dict[str, Any]) -> str:
    words = " ".join([str(args.get("filename") or "?"), *(args.get("argv") or [])[1:]])
    return words if len(words) <= _MAX_PATH else words[: _MAX_PATH - 1] + "…"


def _setns(args: dict[str, Any]) -> str:
    kind = "CLONE_NEWNET" if args["nstype"] == CLONE_NEWNET else hex(args["nstype"])
    return f"{args['fd']}<{_or_unknown(args.get('path'))}>, {kind}"


_ARGUMENTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "socket": _socket,
    "socketpair": _socket,
    "bind": lambda a: f"{a['fd']}, {_or_unknown(a['address'])}",
    "connect": lambda a: f"{a['fd']}, {_or_unknown(a['address'])}",
    "getsockname": lambda a: f"{a['fd']}, {_or_unknown(a['address'])}",
    "listen": lambda a: f"{a['fd']}, {_or_unknown(a['backlog'])}",
    "dup": lambda a: f"{a['fd']}",
    "dup2": lambda a: f"{a['fd']}, {a['newfd']}",
    "dup3": lambda a: f"{a['fd']}, {a['newfd']}, {_or_unknown(a.get('flags'))}",
    "fcntl": lambda a: f"{a['fd']}, {a['cmd']}, {_or_unknown(a.get('arg'))}",
    "setsockopt": lambda a: f"{a['fd']}, {a['level']}, {a['name']}, {value_text(a['value'])}",
    "accept": lambda a: f"{a['fd']}, {_or_unknown(a.get('address'))}",
    "accept4": lambda a: f"{a['fd']}, {_or_unknown(a.get('address'))}",
    "epoll_ctl": lambda a: f"{a['epfd']}, {a['op']}, {a['fd']}, {_flags(a.get('events') or [])}",
    "epoll_wait": lambda a: f"{a['epfd']}",
    "sendmsg": _rights,
    "recvmsg": _rights,
    "sendmmsg": _rights,
    "recvmmsg": _rights,
    "renameat2": _renameat2,
    "other_table": lambda a: f"{a['table']} number {a['number']}",
    "seccomp": lambda a: "?" if a["answers"] is None else "|".join(a["answers"]),
    "setns": _setns,
    "unlink": _path,
    "unlinkat": _path,
    "chmod": _chmod,
    "fchmod": _chmod,
    "fchmodat": _chmod,
    "exec": _exec,
    "fork": lambda a: f"{'thread' if a['thread'] else 'process'} {a['child_tid']}",
    "exit": lambda a: f"{_or_unknown(a.get('status'))}",
    "rename": lambda a: f'{a["tid"]}, "{a["name"]}"',
    "tcp_state": lambda a: f"{a['old']} -> {a['new']}",
}


def render_call(event: Event) -> str:
    """Return the call as strace prints it: `bind(32, 0.0.0.0:15006) = -1 EADDRINUSE`.

    What was not observed is `?`; the kernel's own facts (exec, fork …) have no result.
    """
    render = _ARGUMENTS.get(event.call)
    if render is not None:
        arguments = render(event.args)
    else:
        arguments = ", ".join(str(value) for value in event.args.values())
    return f"{event.call}({arguments}){_result(event)}"


def _result(event: Event) -> str:
    if event.call in KERNEL_FACTS or (event.call == "epoll_wait" and event.ret is None):
        return ""
    if event.ret is None:
        return " = ?"
    return f" = -1 {event.errno}" if event.ret < 0 else f" = {event.ret}"


class Clock:
    """Times of a trace as text, relative to the first exec.

    Args:
        trace: the trace; one without real times (an imported log) is numbered instead.
    """

    def __init__(self, trace: Trace) -> None:
        self._ordinal = "completeness" in trace.header.unobserved
        starts = [event.ts_ns for event in trace.events if event.call == "exec"]
        starts = starts or [event.ts_ns for event in trace.events[:1]]
        self.start_ns = starts[0] if starts else 0

    def ms(self, ts_ns: int) -> float | None:
        """Return milliseconds since the first exec, or None where the trace has no times."""
        return None if self._ordinal else round((ts_ns - self.start_ns) / 1e6, 3)

    def text(self, ts_ns: int) -> str:
        """Return `+1.203ms`, or `event 14` in a trace without times."""
        ms = self.ms(ts_ns)
        return f"event {ts_ns}" if ms is None else f"{ms:+.3f}ms"


def thread_label(graph: SocketGraph, tid: int) -> str:
    """Return `main`, `worker_0`, or for other threads their name or number.

    Where there are several processes, main and the threads of a helper have their number behind it.
    """
    thread = graph.threads.get(tid)
    if thread is None:
        return f"thread {tid}"
    if thread.role == "main" and len(graph.processes) > 1:
        return f"main/{thread.pid}"
    if not thread.of_envoy:
        return f"{thread.name or 'thread'}/{tid}"
    if thread.role == "other":
        return thread.name or f"thread {tid}"
    return thread.role


def fd_label(event: Event) -> str:
    """Return the descriptor that a call worked on or made, or `-`."""
    fd = event.args.get("fd")
    if fd is None and event.call in ("socket", "epoll_create1") and event.ok:
        fd = event.ret
    return "-" if fd is None else str(fd)
