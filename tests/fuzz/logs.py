"""Damaged logs of bpftrace and strace: an import is refused with its line or reads as a trace.

What cannot be understood of strace's is a problem in words, for the log is only a part of a run.
"""

from __future__ import annotations

import re
from functools import cache
from random import Random

from envoyassert.bpftrace.imported import parse_bpftrace_log
from envoyassert.errors import TraceFileError
from envoyassert.events import Event
from envoyassert.strace.log import parse_strace
from envoyassert.trace import End, Header, Trace
from envoyassert.trace_file import parse_trace, trace_lines
from tests.fuzz.case import REFUSED, Case
from tests.fuzz.commands import refusal_problem
from tests.fuzz.recorded import ROOT
from tests.fuzz.values import damaged

_PLACE = re.compile(r"^<log>:(\d+:\d+: )?error: ")
_STRACE = r"""
100 1000.000000000 execve("/usr/bin/envoy", ["/usr/bin/envoy", "-c", "a\"b"], ["A=b"]) = 0 <0.000000010>
100 1001.000000000 socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP) = 3 <0.000000010>
100 1001.100000000 setsockopt(3, SOL_SOCKET, SO_REUSEPORT, [1], 4) = 0 <0.000000010>
100 1001.200000000 setsockopt(3, SOL_TCP, TCP_CONGESTION, "cubic", 5) = 0 <0.000000010>
100 1001.300000000 bind(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("0.0.0.0")}, 16) = 0 <0.000000010>
100 1001.400000000 bind(4, {sa_family=AF_UNIX, sun_path=@"x\0y"}, 6) = -1 EADDRINUSE (Address already in use) <0.000000010>
100 1001.500000000 listen(3, 4096) = 0 <0.000000010>
100 1001.600000000 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, exit_signal=0}, 88 <unfinished ...>
101 1001.600000100 prctl(PR_SET_NAME, "wrk:worker_0"... <unfinished ...>
100 1001.600000200 <... clone3 resumed> => {parent_tid=[101]}) = 101 <0.000000300>
101 1001.600000300 <... prctl resumed>) = 0 <0.000000100>
101 1001.700000000 epoll_create1(EPOLL_CLOEXEC) = 5 <0.000000010>
101 1001.800000000 epoll_ctl(5, EPOLL_CTL_ADD, 3, {events=EPOLLIN|EPOLLET, data={u32=1}}) = 0 <0.000000010>
101 1001.900000000 epoll_wait(5, [{events=EPOLLIN, data={u32=1}}], 1, -1) = 1 <0.000000010>
101 1002.000000000 sendmsg(3, {msg_control=[{cmsg_type=SCM_RIGHTS, cmsg_data=[3, 4]}]}, 0) = 1 <0.000000010>
101 1002.100000000 openat(AT_FDCWD, "/run/netns/blue", O_RDONLY) = 6 <0.000000010>
101 1002.200000000 setns(6, CLONE_NEWNET) = 0 <0.000000010>
101 1002.300000000 renameat2(AT_FDCWD, "/a", AT_FDCWD, "/b", RENAME_NOREPLACE) = 0 <0.000000010>
101 1002.400000000 seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=1, filter=[BPF_STMT(BPF_RET|BPF_K, SECCOMP_RET_ALLOW)]}) = 0 <0.000000010>
101 1002.500000000 close_range(3, 4294967295, CLOSE_RANGE_UNSHARE) = 0 <0.000000010>
101 1003.000000000 +++ exited with 0 +++
100 1003.000000000 +++ killed by SIGKILL +++
""".strip()  # noqa: E501 - as strace prints them
_PIECES = (
    *("", "0", "-1", "65536", "4294967296", "99999999999999999999", "9" * 5000, "0x", "08"),
    *(
        "\0",
        "\x1b[2J",
        "\u202e",
        "::error::x",
        '"',
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        "|",
    ),
    *("AF_INET", "SO_X", "<unfinished ...>", "<... bind resumed>", "= ?", "(" * 300),
)


#: Logs of bpftrace: of the script that came before our program, and of the program.
BPFTRACE = ("istio-1.11-envoy-1.19.1", "sockets")


@cache
def _bpftrace(name: str) -> tuple[str, ...]:
    log = ROOT / "tests" / "traces" / f"{name}.bpftrace.txt"
    return tuple(log.read_text(encoding="utf-8").splitlines())


def log(case: Case) -> str:
    """Read a damaged log."""
    chance = case.chance
    name = chance.choice(BPFTRACE)
    strace = chance.random() < 0.5
    lines = _STRACE.splitlines() if strace else list(_bpftrace(name))
    before = set(lines)
    for _ in range(chance.randint(1, 3)):
        _damage(lines, chance)
    # As they are read from a file: the one by the tracer, the other by `import`.
    errors = "surrogateescape" if strace else "replace"
    lines = [line.encode("utf-8", "surrogatepass").decode("utf-8", errors) for line in lines]
    try:
        return _strace(lines, case) if strace else _imported(name, lines, case)
    finally:
        if case.broken:
            case.broken.append(str([line[:300] for line in lines if line not in before]))


def _damage(lines: list[str], chance: Random) -> None:
    """Replace a line, or a part of one, by something else."""
    at = chance.randrange(len(lines))
    kind = chance.randrange(9)
    if kind == 0:
        lines[at:at] = [lines[at]] * chance.choice((1, 1, 1, 2000))
    elif kind == 1:
        other = chance.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 2 and len(lines) > 1:
        del lines[at]
    elif kind == 3:
        lines[at] = damaged(lines[at], chance)
    else:
        parts = re.split(r"(\W+)", lines[at])
        if kind == 4:
            parts = parts[: chance.randrange(len(parts) + 1)]
        elif kind == 5:
            parts.insert(chance.randrange(len(parts) + 1), chance.choice(_PIECES))
        else:
            parts[chance.randrange(len(parts))] = chance.choice(_PIECES)
        lines[at] = "".join(parts)


def _imported(name: str, lines: list[str], case: Case) -> str:
    try:
        trace = parse_bpftrace_log(lines, concurrency=2)
    except TraceFileError as error:
        if problem := refusal_problem(str(error), _PLACE):
            case.broken.append(problem)
        case.seen[f"bpftrace log {name}: refused"] += 1
        return REFUSED
    case.broken += _unreadable(trace)
    return f"bpftrace log {name}: read"


def _strace(lines: list[str], case: Case) -> str:
    read = parse_strace(lines)
    case.broken += _unreadable(Trace(Header(tracer="strace"), read.events, End()))
    return f"strace log: {'problems' if read.problems else 'read'}"


def _unreadable(trace: Trace) -> list[str]:
    """Return why a file that is written of a trace is not read as the same, if it is not."""
    events: list[Event] = parse_trace(trace_lines(trace)).events
    return [] if events == trace.events else ["its events are others when they are read again"]
