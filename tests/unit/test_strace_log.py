"""Reading what strace prints, line by line."""

from __future__ import annotations

import hashlib

import pytest

from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.strace.lines import RepeatedWaits, StraceLogError, split_arguments, unquoted
from envoyassert.strace.log import StraceLog, arguments_of, parse_strace

MARK = "ENVOYASSERT_RUN=0123456789abcdef"
EXEC = (
    '100 1000.000000000 execve("/usr/bin/envoy", ["/usr/bin/envoy", "-c", "a \\"b\\".yaml"], '
    f'["{MARK}", "A=b, c"]) = 0 <0.000000010>'
)
THREAD = "{flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, exit_signal=0, stack_size=0x7fd400}, 88"


def parsed(*lines: str, mark: str = MARK) -> StraceLog:
    return parse_strace([EXEC, *lines], mark)


def last(*lines: str) -> Event:
    log = parsed(*lines)
    assert log.problems == []
    return log.events[-1]


def test_run_begins_with_the_exec_that_carries_the_mark() -> None:
    log = parse_strace(
        [
            '100 999.000000000 execve("/usr/bin/env", ["env"], ["A=b"]) = 0 <0.000000010>',
            "100 999.500000000 socket(AF_UNIX, SOCK_STREAM, 0) = 3 <0.000000010>",
            EXEC,
            "100 1001.000000000 dup(3) = 4 <0.000000010>",
        ],
        MARK,
        offset_ns=-1_000_000_000_000,
    )
    assert [event.call for event in log.events] == ["exec", "dup"]
    assert log.events[0].args == {
        "filename": "/usr/bin/envoy",
        "argv": ["/usr/bin/envoy", "-c", 'a "b".yaml'],
        "name": "envoy",
    }
    assert [event.ts_ns for event in log.events] == [10, 1_000_000_010]
    assert [event.seq for event in log.events] == [1, 2]
    assert (log.marked, log.ended, log.problems) == (True, False, [])
    assert parsed(mark="ENVOYASSERT_RUN=fedcba9876543210").marked is False


def test_call_in_two_lines_has_its_begin_and_its_own_result() -> None:
    log = parsed(
        f"100 1001.000000000 clone3({THREAD} <unfinished ...>",
        '101 1001.000000100 prctl(PR_SET_NAME, "first"... <unfinished ...>',
        "100 1001.000000200 <... clone3 resumed> => {parent_tid=[101]}) = 101 <0.000000300>",
        "101 1001.000000400 <... prctl resumed>) = 0 <0.000000350>",
        '100 1002.000000000 openat(AT_FDCWD, "/proc/self/task/101/comm", O_RDWR) = 9 <0.000000001>',
        '100 1002.000000010 write(9, "wrk:worker_0", 12) = 12 <0.000000001>',
        "100 1002.000000020 close(9) = 0 <0.000000005>",
        '100 1002.000000030 write(9, "no name", 7) = 7 <0.000000001>',
    )
    assert log.problems == []
    found = [(event.ts_ns % 10**12, event.tid, event.call) for event in log.events[1:]]
    assert found == [
        (1_000_000_000, 100, "fork"),
        (1_000_000_450, 101, "rename"),
        (2_000_000_011, 100, "rename"),
        (2_000_000_020, 100, "close"),
    ]
    assert log.events[1].args == {"child_pid": 100, "child_tid": 101, "thread": True}
    assert log.events[2].pid == 100
    assert [event.args.get("name") for event in log.events[2:4]] == ["first", "wrk:worker_0"]


def test_child_process_and_ends_are_distinguished() -> None:
    log = parsed(
        f"100 1001.000000000 clone3({THREAD}) = 101 <0.000000001>",
        "100 1002.000000000 vfork() = 200 <0.000000001>",
        "200 1003.000000000 dup(1) = 2 <0.000000001>",
        "200 1004.000000000 +++ exited with 3 +++",
        "101 1005.000000000 accept4(3,  <unfinished ...>",
        "101 1006.000000000 +++ killed by SIGSEGV (core dumped) +++",
        "100 1007.000000000 +++ killed by SIGSEGV (core dumped) +++",
    )
    assert log.problems == []
    assert log.ended is True
    ends = [(e.pid, e.tid, e.call, e.args) for e in log.events if e.call in ("exit", "signal")]
    assert ends == [
        (200, 200, "exit", {"status": 3, "last": True}),
        (100, 101, "exit", {"status": None, "last": False}),
        (100, 100, "signal", {"number": 11}),
        (100, 100, "exit", {"status": None, "last": True}),
    ]
    (fork,) = (event for event in log.events if event.args.get("child_tid") == 200)
    assert fork.args == {"child_pid": 200, "child_tid": 200, "thread": False}


def test_process_that_shares_the_descriptors_of_its_parent_is_recorded_as_such() -> None:
    flags = "CLONE_VM|CLONE_FILES|SIGCHLD"
    shares = last(f"100 1002.000000000 clone(child_stack=NULL, flags={flags}) = 7 <0.000000001>")
    assert shares.args == {"child_pid": 7, "child_tid": 7, "thread": False, "shares_files": True}


def test_wait_is_recorded_once_for_each_thread_and_epoll_at_its_begin() -> None:
    log = parsed(
        "100 1001.000000000 epoll_wait(5, [], 16, 100) = 0 <0.100000000>",
        "100 1002.000000000 epoll_wait(5, [], 16, 100) = 0 <0.100000000>",
        "100 1003.000000000 epoll_pwait(6, [], 16, 100, NULL, 8) = 0 <0.100000000>",
        "100 1004.000000000 epoll_create1(EPOLL_CLOEXEC) = 5 <0.000000001>",
        "100 1005.000000000 epoll_wait(5,  <unfinished ...>",
    )
    assert log.problems == []
    waits = [(e.ts_ns // 10**9, e.args["epfd"]) for e in log.events if e.call == "epoll_wait"]
    assert waits == [(1001, 5), (1003, 6), (1005, 5)]


@pytest.mark.parametrize(
    "line",
    [
        "100 1001.000000000 accept4(3, NULL, NULL, 0) = ? ERESTARTSYS (To be restarted)",
        "100 1001.000000000 exit_group(0) = ?",
        "100 1001.000000000 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER} ---",
        "100 1001.000000000 prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) = 0 <0.000000001>",
        "100 1001.000000000 seccomp(SECCOMP_GET_ACTION_AVAIL, 0, [0x7ffc0000]) = 0 <0.000000001>",
        "100 1001.000000000 fcntl(3, F_GETFL) = 0x2 (flags O_RDWR) <0.000000001>",
        "100 1001.000000000 recvmsg(3, {msg_name=NULL, msg_controllen=0}, 0) = 4 <0.000000001>",
        '100 1001.000000000 openat(AT_FDCWD, "/x (y) = 3", O_RDONLY) = 3 <0.000000001>',
        "100 1001.000000000 listen(3, -1 <unfinished ...>",
    ],
)
def test_what_is_no_event_is_left_out(line: str) -> None:
    log = parsed(line)
    assert log.problems == []
    assert [event.call for event in log.events] == ["exec"]


_EPERM = "BPF_STMT(BPF_RET|BPF_K, SECCOMP_RET_ERRNO|0x1)"
_ALLOW = "BPF_STMT(BPF_RET|BPF_K, SECCOMP_RET_ALLOW)"
_TRACE = "BPF_STMT(BPF_RET|BPF_K, SECCOMP_RET_TRACE)"
_RIGHTS = "{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[6]}"
CALLS = [
    (
        "socket(AF_INET6, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_MPTCP)",
        {
            "family": "AF_INET6",
            "type": "SOCK_STREAM",
            "flags": ["SOCK_NONBLOCK", "SOCK_CLOEXEC"],
            "protocol": 262,
        },
    ),
    (
        'bind(3, {sa_family=AF_INET6, sin6_port=htons(8), inet_pton(AF_INET6, "::ffff:1.2.3.4")})',
        {"fd": 3, "address": Address.inet("::ffff:1.2.3.4", 8)},
    ),
    (
        'bind(3, {sa_family=AF_UNIX, sun_path=@"a\\0\\303\\244"}, 7)',
        {"fd": 3, "address": Address("AF_UNIX", abstract="a\0ä")},
    ),
    (
        'bind(3, {sa_family=AF_UNIX, sun_path="/run/x y"}, 110)',
        {"fd": 3, "address": Address.unix("/run/x y")},
    ),
    ("bind(3, 0x7ffc, 16)", {"fd": 3, "address": None}),
    ("listen(3, -1)", {"fd": 3, "backlog": -1}),
    (
        "setsockopt(3, SOL_TCP, TCP_KEEPIDLE, [60], 4)",
        {"fd": 3, "level": "IPPROTO_TCP", "name": "TCP_KEEPIDLE", "length": 4, "value": 60},
    ),
    (
        "setsockopt(3, SOL_SOCKET, SO_LINGER, {l_onoff=1, l_linger=5}, 8)",
        {
            "fd": 3,
            "level": "SOL_SOCKET",
            "name": "SO_LINGER",
            "length": 8,
            "value": {"onoff": 1, "linger_s": 5},
        },
    ),
    (
        'setsockopt(3, SOL_TCP, TCP_CONGESTION, "cubic", 5)',
        {"fd": 3, "level": "IPPROTO_TCP", "name": "TCP_CONGESTION", "length": 5, "value": "cubic"},
    ),
    (
        "setsockopt(3, SOL_IP, IP_MTU_DISCOVER, [IP_PMTUDISC_DO], 4)",
        {"fd": 3, "level": "IPPROTO_IP", "name": "IP_MTU_DISCOVER", "length": 4, "value": 2},
    ),
    (
        "setsockopt(3, SOL_TCP, 0x270f /* TCP_??? */, [1], 4)",
        {"fd": 3, "level": "IPPROTO_TCP", "name": 9999, "length": 4, "value": 1},
    ),
    (
        "epoll_ctl(5, EPOLL_CTL_ADD, 3, {events=EPOLLET|EPOLLIN, data={u32=3, u64=3}})",
        {"epfd": 5, "op": "EPOLL_CTL_ADD", "fd": 3, "events": ["EPOLLIN", "EPOLLET"]},
    ),
    (
        "recvmsg(3, {msg_control=[{cmsg_type=SCM_RIGHTS, cmsg_data=[7, 8]}], flags=MSG_CTRUNC})",
        {"fd": 3, "fds": [7, 8], "truncated": True},
    ),
    ("fcntl(3, F_DUPFD_CLOEXEC, 0)", {"fd": 3, "cmd": "F_DUPFD_CLOEXEC", "arg": 0}),
    (
        "close_range(3, 4294967295, CLOSE_RANGE_CLOEXEC)",
        {"first": 3, "last": 0xFFFFFFFF, "flags": 4},
    ),
    ('unlinkat(AT_FDCWD, "/run/x", 0)', {"path": "/run/x", "dirfd": -100}),
    ('unlinkat(7, "x", 0)', {"path": "x", "dirfd": 7}),
    ('rename("/a", "/b")', {"path": "/a", "to": "/b", "dirfds": [-100, -100], "flags": 0}),
    (
        'renameat(AT_FDCWD, "/a", 7, "b")',
        {"path": "/a", "to": "b", "dirfds": [-100, 7], "flags": 0},
    ),
    (
        'renameat2(7, "a", AT_FDCWD, "/b", RENAME_EXCHANGE)',
        {"path": "a", "to": "/b", "dirfds": [7, -100], "flags": 2},
    ),
    (
        f"seccomp(SECCOMP_SET_MODE_FILTER, 0, {{len=2, filter=[{_EPERM}, {_ALLOW}]}})",
        {"answers": ["ALLOW", "ERRNO EPERM"]},
    ),
    (
        f"prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, {{len=1, filter=[{_TRACE}]}})",
        {"answers": ["TRACE"]},
    ),
    ("prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)", {"answers": []}),
    ("seccomp(SECCOMP_SET_MODE_FILTER, 0, 0x7ffd0a8b3f40)", {"answers": None}),
    ("socketcall(SYS_LISTEN, [5, 1])", {"table": "32-bit", "number": 102}),
    (
        f"sendmmsg(5, [{{msg_hdr={{msg_name=NULL, msg_control=[{_RIGHTS}]}}}}], 1, 0)",
        {"fd": 5, "fds": [6], "truncated": False},
    ),
    ('fchmodat(AT_FDCWD, "/run/x", 0640)', {"path": "/run/x", "mode": 0o640}),
    ("setns(3, CLONE_NEWNET)", {"fd": 3, "nstype": 0x40000000, "path": None}),
    ("shutdown(3, SHUT_RDWR)", {"fd": 3, "how": "SHUT_RDWR"}),
]


@pytest.mark.parametrize("text, args", CALLS, ids=[text.partition("(")[0] for text, _ in CALLS])
def test_arguments_are_those_of_our_own_events(text: str, args: dict[str, object]) -> None:
    assert last(f"100 1001.000000000 {text} = 0 <0.000000001>").args == args


@pytest.mark.parametrize(
    "opened",
    ['open("/run/x", O_RDONLY)', 'openat(AT_FDCWD, "/run/x", 0)', 'openat2(5, "/run/x", {}, 24)'],
)
def test_namespace_is_named_by_the_file_that_was_opened(opened: str) -> None:
    entered = last(
        f"100 1001.000000000 {opened} = 7 <0.000000005>",
        "100 1001.000000100 setns(7, CLONE_NEWNET) = 0 <0.000000010>",
    )
    assert (entered.args["path"], entered.args["age_ns"]) == ("/run/x", 105)


def test_packet_filter_has_the_hash_of_its_instructions() -> None:
    text = (
        "3, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, {len=2, filter=[BPF_STMT(BPF_LD|BPF_W|BPF_ABS, "
        "SKF_AD_OFF+SKF_AD_CPU), BPF_STMT(BPF_RET|BPF_A, 0)]}, 16"
    )
    args = arguments_of("setsockopt", text, 0)
    assert args is not None
    instructions = bytes.fromhex("20000000 24f0ffff 16000000 00000000")
    digest = hashlib.sha256(instructions).hexdigest()
    assert args["value"] == {"instructions": 2, "sha256": digest}
    unknown = arguments_of("setsockopt", text.replace("BPF_RET", "BPF_NEW"), 0)
    assert unknown is not None
    assert unknown["value"] == {"instructions": 2, "sha256": None}


def test_failed_call_has_the_number_of_its_error() -> None:
    event = last(
        "100 1001.000000000 listen(3, 5) = -1 EADDRINUSE (Address already in use) <0.1>".replace(
            "<0.1>", "<0.000000001>"
        )
    )
    assert (event.ret, event.errno) == (-98, "EADDRINUSE")


@pytest.mark.parametrize(
    "line",
    [
        "strace: Process 101 attached",
        "100 1001.000000000 listen(3, 5) = 0",
        "100 1001.000000000 <... listen resumed>) = 0 <0.000000001>",
        "100 1001.000000000 listen(three, 5) = 0 <0.000000001>",
        "100 1001.000000000 listen(3, 5) = -1 EWRONG (No such error) <0.000000001>",
    ],
)
def test_line_that_is_not_understood_is_a_problem_and_no_event(line: str) -> None:
    log = parsed(line)
    assert len(log.problems) == 1
    assert [event.call for event in log.events] == ["exec"]


def test_split_and_unquoted_take_cs_escapes() -> None:
    assert split_arguments(r'1, "a\\", [2, {x=3, y=4}], "b, \"c"') == [
        "1",
        r'"a\\"',
        "[2, {x=3, y=4}]",
        r'"b, \"c"',
    ]
    assert unquoted(r'"a\tb\0\303\244"...') == b"a\tb\0\xc3\xa4"
    with pytest.raises(StraceLogError):
        unquoted("0x7ffc")


def test_waits_that_repeat_others_are_distinguished() -> None:
    log = """\
100 1000.000001000 epoll_wait(5, [], 16, 0) = ? <unavailable>
100 1000.000001000 epoll_pwait(5, <unfinished ...>
100 1000.000001001 <... epoll_pwait resumed> [], 16, 10, NULL, 8) = 0 <0.000000001>
100 1000.000001002 epoll_wait(5, [], 16, 0) = 0 <0.000000001>
100 1000.000001003 epoll_wait(5, [], 16, 0) = 0 <0.000000001>
88 1000.000001004 epoll_wait(5, [], 16, 0) = 0 <0.000000001>
100 1000.000001005 epoll_wait(6, [], 16, 0) = 0 <0.000000001>
100 1000.000001006 epoll_pwait(5, [], 16, 0, NULL, 8) = 0 <0.000000001>
100 1000.000001007 epoll_create1(0) = 5 <0.000000001>
100 1000.000001008 epoll_wait(5, [], 16, 0) = 0 <0.000000001>
"""
    waits = RepeatedWaits()
    repeated = [number for number, line in enumerate(log.splitlines()) if waits.has(line)]
    assert repeated == [4, 7]
    clone = f"100 1000.000001001 clone3({THREAD}) = 88 <0.000000001>"
    whole = parsed(clone, *log.splitlines())
    assert len(whole.events) > 5
    waits = RepeatedWaits()
    shortened = parsed(clone, *(line for line in log.splitlines() if not waits.has(line)))
    assert shortened.events == whole.events


NO_PORT = '{sa_family=AF_INET, sin_port=htons(99999), sin_addr=inet_addr("0.0.0.0")}'


@pytest.mark.parametrize(
    "line",
    [
        "100 1001.000000000 dup(3) = " + "9" * 5000 + " <0.000000010>",
        "100 1001.000000000 dup(3) = 08 <0.000000010>",
        "100 1001.000000000 dup(3) = 99999999999999999999 <0.000000010>",
        "100 1001.000000000 dup(4294967296) = 4 <0.000000010>",
        "100 1001.000000000 dup(" + "3" * 5000 + ") = 4 <0.000000010>",
        "9" * 5000 + " 1001.000000000 dup(3) = 4 <0.000000010>",
        "100 " + "9" * 5000 + ".000000000 dup(3) = 4 <0.000000010>",
        f"100 1001.000000000 bind(3, {NO_PORT}, 16) = 0 <0.000000010>",
        '100 1001.000000000 unlink("\\xz") = 0 <0.000000010>',
        "100 1001.000000000 openat(AT_FDCWD) = 3 <0.000000010>",
        "100 1001.000000000 prctl(PR_SET_NAME) = 0 <0.000000010>",
    ],
)
def test_number_or_text_that_cannot_be_is_a_problem_and_no_event(line: str) -> None:
    log = parsed(line)
    assert [event.call for event in log.events] == ["exec"]
    assert len(log.problems) == 1
    assert len(log.problems[0]) < 400


def test_length_of_an_option_that_cannot_be_takes_no_memory() -> None:
    call = 'setsockopt(3, SOL_TCP, TCP_CONGESTION, "cubic", 2147483647) = -1 EINVAL (Invalid)'
    event = last(f"100 1001.000000000 {call} <0.000000010>")
    assert (event.args["length"], event.args["value"]) == (2**31 - 1, None)
