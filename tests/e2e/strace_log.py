"""Read the log of `strace -f -v` into the form of our own events, for a comparison call by call.

An independent reading of the same run: nothing here knows how the probe works. Only the calls and
arguments that both sides record are kept; addresses of user memory and times are not.
"""

import errno as errno_numbers
import re
from collections import defaultdict
from typing import Any

#: (call, return value, arguments), in the order of their return.
Row = tuple[str, int, dict[str, Any]]

CALLS = (
    "socket,bind,listen,getsockname,dup,dup2,dup3,fcntl,setsockopt,accept,accept4,close,"
    "close_range,epoll_create1,epoll_ctl,connect,shutdown,unlink,unlinkat,chmod,fchmod,fchmodat"
)

_LINE = re.compile(r"(\d+) +(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)(?: (E\w+))?")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_LEVELS = {"SOL_IP": "IPPROTO_IP", "SOL_TCP": "IPPROTO_TCP", "SOL_UDP": "IPPROTO_UDP"}
_LEVELS["SOL_IPV6"] = "IPPROTO_IPV6"
_PROTOCOLS = {"IPPROTO_IP": 0, "IPPROTO_TCP": 6, "IPPROTO_UDP": 17, "NETLINK_ROUTE": 0}
_PROTOCOLS["IPPROTO_MPTCP"] = 262


def parse_strace(text: str) -> dict[int, list[Row]]:
    """Return the calls of each thread; raise ValueError on a line that is not understood."""
    rows: dict[int, list[Row]] = defaultdict(list)
    begun: dict[int, str] = {}
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"not a line of strace: {line}")
        tid, rest = int(found[1]), found[2]
        if rest.startswith(("+++", "---")):
            continue
        if rest.endswith("<unfinished ...>"):
            begun[tid] = rest.removesuffix("<unfinished ...>").rstrip()
            continue
        resumed = _RESUMED.match(rest)
        if resumed is not None:
            rest = begun.pop(tid) + resumed[2]
        if "= ?" in rest:
            continue  # the process ended inside, or the call runs again
        if rest.startswith("execve("):
            rows[tid].clear()  # what a wrapper did before it became Envoy
            continue
        row = _parse_call(rest)
        if row is not None:
            rows[tid].append(row)
    return {tid: found for tid, found in rows.items() if found}


def _parse_call(text: str) -> Row | None:
    found = _CALL.match(text)
    if found is None:
        raise ValueError(f"not a call: {text}")
    name, arguments = found[1], _split(found[2])
    ret = -getattr(errno_numbers, found[4]) if found[4] else int(found[3])
    if name == "fcntl" and not arguments[1].startswith("F_DUPFD"):
        return None
    return name, ret, _ARGUMENTS[name](arguments)


def _split(text: str) -> list[str]:
    """Split at commas outside of brackets and quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for index, char in enumerate(text):
        if char == '"' and text[index - 1] != "\\":
            quoted = not quoted
        elif not quoted and char in "([{":
            depth += 1
        elif not quoted and char in ")]}":
            depth -= 1
        elif char == "," and depth == 0 and not quoted:
            parts.append(text[start:index].strip())
            start = index + 1
    parts.append(text[start:].strip())
    return parts


def _address(text: str) -> dict[str, Any] | None:
    family = re.search(r"sa_family=(AF_\w+)", text)
    if family is None:
        return None
    port = re.search(r"htons\((\d+)\)", text)
    if port is not None:
        host = re.search(r'(?:inet_addr\(|AF_INET6, )"([^"]+)"', text)
        assert host is not None, text
        return {"family": family[1], "host": host[1], "port": int(port[1])}
    if family[1] != "AF_UNIX":
        return {"family": family[1]}
    name = re.search(r'sun_path=(@?)"((?:[^"\\]|\\.)*)"', text)
    if name is None:
        return {"family": "AF_UNIX", "path": ""}
    value = name[2].encode().decode("unicode_escape")
    return {"family": "AF_UNIX", "abstract" if name[1] else "path": value}


def _socket(a: list[str]) -> dict[str, Any]:
    kind, *flags = a[1].split("|")
    protocol = _PROTOCOLS.get(a[2], a[2])
    return {
        "family": a[0],
        "type": kind,
        "flags": sorted(flags),
        "protocol": int(protocol),
    }


def _setsockopt(a: list[str]) -> dict[str, Any]:
    value: Any = a[3].strip("[]")
    name: Any = a[2]
    number = re.match(r"(0x[0-9a-f]+)", name)  # `0x270f /* TCP_??? */`
    return {
        "fd": int(a[0]),
        "level": _LEVELS.get(a[1], a[1]),
        "name": int(number[1], 16) if number else name,
        "length": int(a[4]),
        "value": int(value) if re.fullmatch(r"-?\d+", value) else None,
    }


def _epoll_ctl(a: list[str]) -> dict[str, Any]:
    events = re.match(r"\{events=([A-Z|]+|0)", a[3])
    names = events[1].split("|") if events and events[1] != "0" else []
    return {"epfd": int(a[0]), "op": a[1], "fd": int(a[2]), "events": sorted(names)}


def _path(a: list[str]) -> str:
    return a[-1].strip('"') if len(a) == 1 else next(x.strip('"') for x in a if x.startswith('"'))


_ARGUMENTS = {
    "socket": _socket,
    "bind": lambda a: {"fd": int(a[0]), "address": _address(a[1])},
    "connect": lambda a: {"fd": int(a[0]), "address": _address(a[1])},
    "getsockname": lambda a: {"fd": int(a[0]), "address": _address(a[1])},
    "listen": lambda a: {"fd": int(a[0]), "backlog": int(a[1])},
    "dup": lambda a: {"fd": int(a[0])},
    "dup2": lambda a: {"fd": int(a[0]), "newfd": int(a[1])},
    "dup3": lambda a: {"fd": int(a[0]), "newfd": int(a[1])},
    "fcntl": lambda a: {"fd": int(a[0]), "cmd": a[1], "arg": int(a[2])},
    "setsockopt": _setsockopt,
    "accept": lambda a: {"fd": int(a[0])},
    "accept4": lambda a: {"fd": int(a[0]), "address": _address(a[1])},
    "close": lambda a: {"fd": int(a[0])},
    "close_range": lambda a: {"first": int(a[0]), "last": int(a[1])},
    "epoll_create1": lambda a: {},
    "epoll_ctl": _epoll_ctl,
    "shutdown": lambda a: {"fd": int(a[0])},
    "unlink": lambda a: {"path": _path(a)},
    "unlinkat": lambda a: {"path": _path(a)},
    "chmod": lambda a: {"path": _path(a), "mode": int(a[1], 8)},
    "fchmod": lambda a: {"fd": int(a[0]), "mode": int(a[1], 8)},
    "fchmodat": lambda a: {"path": _path(a), "mode": int(a[2], 8)},
}
