"""One real system call in, one event out: every recorded call, with its arguments and result."""

from __future__ import annotations

import errno
import platform
from typing import Any

import pytest

from envoyassert.addresses import Address

pytestmark = [
    pytest.mark.bpf,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="call numbers of x86-64"),
]

# Instructions of a packet filter that fit into a record: EA_PROGRAM_SIZE of bpf/events.h.
_PROGRAM_LIMIT = 64

# Per case: what the script does between `begin` and `end`, and the expected (call, result, args).
# The expectation is a function of what the script reported.
CASES: dict[str, tuple[str, Any]] = {
    "socket": (
        """
begin()
a = call(41, socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 6)
b = call(41, socket.AF_INET6, socket.SOCK_DGRAM, 0)
call(41, socket.AF_INET, 0x1007, 0)
end(a=a, b=b)
""",
        lambda t: [
            (
                "socket",
                t["a"],
                {
                    "family": "AF_INET",
                    "type": "SOCK_STREAM",
                    "flags": ["SOCK_NONBLOCK", "SOCK_CLOEXEC"],
                    "protocol": 6,
                },
            ),
            (
                "socket",
                t["b"],
                {"family": "AF_INET6", "type": "SOCK_DGRAM", "flags": [], "protocol": 0},
            ),
            (
                "socket",
                -errno.EINVAL,
                {
                    "family": "AF_INET",
                    "type": 7,
                    "flags": ["0x1000"],
                    "protocol": 0,
                },
            ),
        ],
    ),
    "socketpair": (
        """
fds = (ctypes.c_int * 2)()
begin()
call(53, socket.AF_UNIX, socket.SOCK_STREAM, 0, fds)
end(fds=list(fds))
""",
        lambda t: [
            (
                "socketpair",
                0,
                {
                    "family": "AF_UNIX",
                    "type": "SOCK_STREAM",
                    "flags": [],
                    "protocol": 0,
                    "fds": t["fds"],
                },
            )
        ],
    ),
    "bind-listen-getsockname": (
        """
s = socket.socket()
begin()
s.bind(("127.0.0.1", 0))
s.listen(77)
port = s.getsockname()[1]
end(fd=s.fileno(), port=port)
""",
        lambda t: [
            ("bind", 0, {"fd": t["fd"], "address": Address.inet("127.0.0.1", 0)}),
            ("listen", 0, {"fd": t["fd"], "backlog": 77}),
            ("getsockname", 0, {"fd": t["fd"], "address": Address.inet("127.0.0.1", t["port"])}),
        ],
    ),
    "bind-fails": (
        """
a = socket.socket(); a.bind(("127.0.0.1", 0)); a.listen()
b = socket.socket()
name = a.getsockname()
begin()
try: b.bind(name)
except OSError: pass
libc.listen(4711, -1)
end(fd=b.fileno(), port=name[1])
""",
        lambda t: [
            (
                "bind",
                -errno.EADDRINUSE,
                {"fd": t["fd"], "address": Address.inet("127.0.0.1", t["port"])},
            ),
            ("listen", -errno.EBADF, {"fd": 4711, "backlog": -1}),
        ],
    ),
    "bind-ipv6": (
        """
s = socket.socket(socket.AF_INET6)
begin()
libc.bind(s.fileno(), sockaddr(10, 0, bytes(4), socket.inet_pton(10, "::ffff:127.0.0.1")
    + bytes(4)), 28)
port = s.getsockname()[1]
end(fd=s.fileno(), port=port)
""",
        lambda t: [
            ("bind", 0, {"fd": t["fd"], "address": Address.inet("::ffff:127.0.0.1", 0)}),
            (
                "getsockname",
                0,
                {"fd": t["fd"], "address": Address.inet("::ffff:127.0.0.1", t["port"])},
            ),
        ],
    ),
    "bind-unix-abstract": (
        """
s = socket.socket(socket.AF_UNIX)
name = "envoyassert-" + str(os.getpid())
begin()
s.bind(b"\\0" + name.encode() + b"\\0")
end(fd=s.fileno(), name=name)
""",
        lambda t: [
            (
                "bind",
                0,
                {"fd": t["fd"], "address": Address("AF_UNIX", abstract=t["name"] + "\0")},
            )
        ],
    ),
    "bind-netlink": (
        """
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
begin()
s.bind((0, 0))
end(fd=s.fileno())
""",
        lambda t: [("bind", 0, {"fd": t["fd"], "address": Address("AF_NETLINK")})],
    ),
    "bind-unreadable": (
        """
s = socket.socket()
begin()
libc.bind(s.fileno(), ctypes.c_void_p(8), 16)
end(fd=s.fileno())
""",
        lambda t: [("bind", -errno.EFAULT, {"fd": t["fd"], "address": None})],
    ),
    "connect": (
        """
a = socket.socket(); a.bind(("127.0.0.1", 0)); a.listen()
name = a.getsockname()
b = socket.socket()
c = socket.socket()
c.setblocking(False)
begin()
b.connect(name)
c.connect_ex(name)
end(fd=b.fileno(), other=c.fileno(), port=name[1])
""",
        lambda t: [
            (
                "connect",
                0,
                {"fd": t["fd"], "address": Address.inet("127.0.0.1", t["port"])},
            ),
            (
                "connect",
                -errno.EINPROGRESS,
                {"fd": t["other"], "address": Address.inet("127.0.0.1", t["port"])},
            ),
        ],
    ),
    "accept": (
        """
a = socket.socket(); a.bind(("127.0.0.1", 0)); a.listen()
peers = [socket.create_connection(a.getsockname()) for _ in range(2)]
a.setblocking(False)
ports = [peer.getsockname()[1] for peer in peers]
room, length = ctypes.create_string_buffer(16), ctypes.c_int(16)
begin()
x = call(43, a.fileno(), room, ctypes.byref(length))
y = call(288, a.fileno(), None, None, socket.SOCK_NONBLOCK)
call(288, a.fileno(), room, ctypes.byref(length), socket.SOCK_CLOEXEC)
end(fd=a.fileno(), x=x, y=y, ports=ports)
""",
        lambda t: [
            (
                "accept",
                t["x"],
                {"fd": t["fd"], "address": Address.inet("127.0.0.1", t["ports"][0]), "flags": []},
            ),
            (
                "accept4",
                t["y"],
                {"fd": t["fd"], "address": None, "flags": ["SOCK_NONBLOCK"]},
            ),
            (
                "accept4",
                -errno.EAGAIN,
                {"fd": t["fd"], "address": None, "flags": ["SOCK_CLOEXEC"]},
            ),
        ],
    ),
    "setsockopt": (
        """
s = socket.socket()
begin()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 3, 0))
try: s.setsockopt(6, 9999, -7)
except OSError: pass
try: s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, b"\\1\\2")
except OSError: pass
libc.setsockopt(s.fileno(), 1, 2, ctypes.c_void_p(8), 4)
end(fd=s.fileno())
""",
        lambda t: [
            (
                "setsockopt",
                0,
                {
                    "fd": t["fd"],
                    "level": "SOL_SOCKET",
                    "name": "SO_REUSEPORT",
                    "length": 4,
                    "value": 1,
                },
            ),
            (
                "setsockopt",
                0,
                {"name": "SO_LINGER", "length": 8, "value": {"onoff": 1, "linger_s": 5}},
            ),
            (
                "setsockopt",
                0,
                {"name": "SO_RCVTIMEO", "length": 16, "value": "03" + "00" * 15},
            ),
            (
                "setsockopt",
                -errno.ENOPROTOOPT,
                {"level": "IPPROTO_TCP", "name": 9999, "length": 4, "value": -7},
            ),
            ("setsockopt", -errno.EINVAL, {"name": "SO_REUSEADDR", "length": 2, "value": "0102"}),
            ("setsockopt", -errno.EFAULT, {"name": "SO_REUSEADDR", "length": 4, "value": None}),
        ],
    ),
    "packet-filters": (
        f"""
import hashlib
def program(*instructions):
    code = b"".join(struct.pack("=HBBI", *one) for one in instructions)
    kept = ctypes.create_string_buffer(code, len(code))
    alive.append(kept)
    return struct.pack("=HxxxxxxQ", len(instructions), ctypes.addressof(kept)), code
alive = []
accept = (0x06, 0, 0, 0xffff)
one, code = program(accept)
most, long = program(*[accept] * {_PROGRAM_LIMIT})
more, _ = program(*[accept] * ({_PROGRAM_LIMIT} + 1))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
begin()
s.setsockopt(socket.SOL_SOCKET, 51, one)
s.setsockopt(socket.SOL_SOCKET, 26, most)
s.setsockopt(socket.SOL_SOCKET, 26, more)
libc.setsockopt(s.fileno(), 1, 26, struct.pack("=HxxxxxxQ", 3, 8), 16)
end(code=hashlib.sha256(code).hexdigest(), long=hashlib.sha256(long).hexdigest())
""",
        lambda t: [
            (
                "setsockopt",
                0,
                {
                    "name": "SO_ATTACH_REUSEPORT_CBPF",
                    "length": 16,
                    "value": {"instructions": 1, "sha256": t["code"]},
                },
            ),
            (
                "setsockopt",
                0,
                {
                    "name": "SO_ATTACH_FILTER",
                    "value": {"instructions": _PROGRAM_LIMIT, "sha256": t["long"]},
                },
            ),
            (
                "setsockopt",
                0,
                {
                    "value": {"instructions": _PROGRAM_LIMIT + 1, "sha256": None},
                    "truncated": True,
                },
            ),
            ("setsockopt", -errno.EFAULT, {"name": "SO_ATTACH_FILTER", "value": None}),
        ],
    ),
    "shutdown": (
        """
a, b = socket.socketpair()
begin()
a.shutdown(socket.SHUT_WR)
libc.shutdown(b.fileno(), 77)
end(a=a.fileno(), b=b.fileno())
""",
        lambda t: [
            ("shutdown", 0, {"fd": t["a"], "how": "SHUT_WR"}),
            ("shutdown", -errno.EINVAL, {"fd": t["b"], "how": 77}),
        ],
    ),
    "dup-family": (
        """
s = socket.socket()
fd = s.fileno()
begin()
libc.dup(fd)
libc.dup2(fd, 100)
libc.dup3(fd, 101, os.O_CLOEXEC)
call(72, fd, 0, 102)
call(72, fd, 1030, 103)
call(72, fd, 3, 0)
libc.dup3(fd, fd, 0)
end(fd=fd)
""",
        lambda t: [
            ("dup", t["fd"] + 1, {"fd": t["fd"]}),
            ("dup2", 100, {"fd": t["fd"], "newfd": 100, "flags": []}),
            ("dup3", 101, {"fd": t["fd"], "newfd": 101, "flags": ["O_CLOEXEC"]}),
            ("fcntl", 102, {"fd": t["fd"], "cmd": "F_DUPFD", "arg": 102}),
            ("fcntl", 103, {"fd": t["fd"], "cmd": "F_DUPFD_CLOEXEC", "arg": 103}),
            ("dup3", -errno.EINVAL, {"fd": t["fd"], "newfd": t["fd"], "flags": []}),
        ],
    ),
    "close": (
        """
fd = socket.socket().detach()
begin()
os.close(fd)
libc.close(fd)
call(436, 200, 4294967295, 4)
end(fd=fd)
""",
        lambda t: [
            ("close", 0, {"fd": t["fd"]}),
            ("close", -errno.EBADF, {"fd": t["fd"]}),
            ("close_range", 0, {"first": 200, "last": 0xFFFFFFFF, "flags": 4}),
        ],
    ),
    "epoll": (
        """
s = socket.socket()
event = struct.pack("=IQ", 0x80000001 | 1 << 28, 0)
begin()
a = call(213, 1)
b = call(291, 0o2000000)
libc.epoll_ctl(a, 1, s.fileno(), event)
libc.epoll_ctl(a, 1, s.fileno(), event)
libc.epoll_ctl(a, 2, s.fileno(), None)
libc.epoll_ctl(a, 3, s.fileno(), ctypes.c_void_p(8))
room = ctypes.create_string_buffer(12)
call(232, a, room, 1, 0)
call(281, b, room, 1, 0, None)
call(232, a, room, 1, 0)
call(441, b, room, 1, struct.pack("qq", 0, 0), None)
end(a=a, b=b, fd=s.fileno())
""",
        lambda t: [
            ("epoll_create1", t["a"], {"flags": []}),
            ("epoll_create1", t["b"], {"flags": ["EPOLL_CLOEXEC"]}),
            (
                "epoll_ctl",
                0,
                {
                    "epfd": t["a"],
                    "op": "EPOLL_CTL_ADD",
                    "fd": t["fd"],
                    "events": ["EPOLLIN", "EPOLLEXCLUSIVE", "EPOLLET"],
                },
            ),
            ("epoll_ctl", -errno.EEXIST, {"op": "EPOLL_CTL_ADD"}),
            ("epoll_ctl", 0, {"op": "EPOLL_CTL_DEL", "fd": t["fd"], "events": []}),
            ("epoll_ctl", -errno.EFAULT, {"op": "EPOLL_CTL_MOD", "events": []}),
            ("epoll_wait", None, {"epfd": t["a"]}),
            ("epoll_wait", None, {"epfd": t["b"]}),
        ],
    ),
    "namespaces": (
        """
fd = os.open("/proc/self/ns/uts", os.O_RDONLY)
deep = os.open("/proc" + "/." * 80 + "/self/ns/uts", os.O_RDONLY)
again = os.dup(fd)
begin()
call(308, fd, 0x04000000)
call(308, deep, 0x04000000)
call(308, again, 0x04000000)
call(272, 0x00000400)
end(fd=fd, deep=deep, again=again)
""",
        lambda t: [
            ("setns", 0, {"fd": t["fd"], "nstype": 0x04000000, "path": "/proc/self/ns/uts"}),
            ("setns", 0, {"fd": t["deep"], "path": ("/proc" + "/." * 80)[:127], "truncated": True}),
            ("setns", 0, {"fd": t["again"], "path": None}),
            ("unshare", 0, {"flags": 0x400}),
        ],
    ),
    "tripwires": (
        """
begin()
call(425, 0, None)
call(438, -1, 5, 0)
end()
""",
        lambda t: [
            ("io_uring_setup", None, {}),
            ("pidfd_getfd", -errno.EBADF, {"fd": 5}),
        ],
    ),
    "rename": (
        """
begin()
libc.prctl(15, b"wrk:worker_0")
end(pid=os.getpid())
""",
        lambda t: [("rename", None, {"tid": t["pid"], "name": "wrk:worker_0"})],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_call_made_by_a_traced_process_is_one_event(name, trace):
    code, expected = CASES[name]

    child = trace(code)

    wanted = expected(child.reported)
    seen = [
        (event.call, event.ret, {key: event.args.get(key) for key in args})
        for event, (_, _, args) in zip(child.marked, wanted, strict=False)
    ]
    if name == "tripwires":
        # Whether io_uring may be set up here is the kernel's own business.
        seen[0] = (seen[0][0], None, seen[0][2])
    assert [event.call for event in child.marked] == [call for call, _, _ in wanted]
    assert seen == wanted


PATHS = """
directory = os.open({directory!r}, os.O_RDONLY)
path = {directory!r} + "/s.sock"
s = socket.socket(socket.AF_UNIX)
begin()
s.bind(path)
call(90, path.encode(), 0o640)
call(268, directory, b"s.sock", 0o600)
call(452, directory, b"s.sock", 0o604, 0)
call(91, s.fileno(), 0o700)
call(87, path.encode())
call(263, directory, b"s.sock", 0)
call(87, ctypes.c_void_p(8))
call(87, b"/" + b"x" * 600)
end(fd=s.fileno(), directory=directory)
"""


def test_calls_on_the_path_of_a_socket_carry_path_and_mode(trace, tmp_path):
    child = trace(PATHS.format(directory=str(tmp_path)))

    path = f"{tmp_path}/s.sock"
    fd = child.reported["fd"]
    seen = [(event.call, event.errno, event.args) for event in child.marked]
    assert seen[:4] == [
        ("bind", None, {"fd": fd, "address": Address("AF_UNIX", path=path)}),
        ("chmod", None, {"path": path, "mode": 0o640}),
        ("fchmodat", None, {"path": "s.sock", "mode": 0o600}),
        # fchmodat2 is Linux 6.6
        ("fchmodat", seen[3][1], {"path": "s.sock", "mode": 0o604}),
    ]
    assert seen[3][1] in (None, "ENOSYS")
    assert seen[4:7] == [
        ("fchmod", None, {"fd": fd, "mode": 0o700}),
        ("unlink", None, {"path": path}),
        ("unlinkat", "ENOENT", {"path": "s.sock", "dirfd": child.reported["directory"]}),
    ]
    assert seen[7] == ("unlink", "EFAULT", {"path": None})
    assert child.marked[7].fault
    call, error, args = seen[8]
    assert (call, error) == ("unlink", "ENAMETOOLONG")
    assert args == {"path": "/" + "x" * 510, "truncated": True}


RENAMES = """
directory = os.open({directory!r}, os.O_RDONLY)
place = {directory!r}.encode() + b"/"
long = {directory!r}.encode().ljust(240, b"/")
open(place + b"a", "w").close()
begin()
call(82, place + b"a", place + b"b")
call(264, directory, b"b", -100, place + b"a")
call(316, directory, b"a", directory, b"b", 1)
call(316, directory, b"a", directory, b"b", 2)
call(82, long + b"b", long + b"c")
call(82, ctypes.c_void_p(8), place + b"a")
call(82, place + b"b", ctypes.c_void_p(8))
call(82, long + b"d" * 100, place + b"a")
end(directory=directory)
"""


def test_renamed_file_is_recorded_with_both_paths(trace, tmp_path):
    child = trace(RENAMES.format(directory=str(tmp_path)))

    directory = child.reported["directory"]
    a, b, long = f"{tmp_path}/a", f"{tmp_path}/b", str(tmp_path).ljust(240, "/")

    def renamed(path, to, dirfds=(-100, -100), flags=0, **more):
        return {"path": path, "to": to, "dirfds": list(dirfds), "flags": flags, **more}

    assert {event.call for event in child.marked} == {"renameat2"}
    assert [(event.errno, event.args) for event in child.marked] == [
        (None, renamed(a, b)),
        (None, renamed("b", a, (directory, -100))),
        (None, renamed("a", "b", (directory, directory), 1)),
        ("ENOENT", renamed("a", "b", (directory, directory), 2)),
        (None, renamed(f"{long}b", f"{long}c")),
        ("EFAULT", renamed(None, None)),
        ("EFAULT", renamed(b, None)),
        ("ENOENT", renamed((long + "d" * 100)[:255], a, truncated=True)),
    ]


RIGHTS = """
a, b = socket.socketpair()
sent = [os.open("/dev/null", os.O_RDONLY) for _ in range({count})]
rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("%di" % len(sent), *sent))
credentials = (socket.SOL_SOCKET, 2, struct.pack("3i", os.getpid(), os.getuid(), os.getgid()))
if {credentials}: b.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
begin()
a.sendmsg([b"x"], [credentials, rights] if {credentials} else [rights])
a.sendmsg([b"nothing but data"])
_, control, flags, _ = b.recvmsg(1, {room})
b.recvmsg(99)
got = []
for level, kind, data in control:
    if kind == socket.SCM_RIGHTS: got += struct.unpack("%di" % (len(data) // 4), data)
end(a=a.fileno(), b=b.fileno(), sent=sent, got=got)
"""


@pytest.mark.parametrize("count, credentials", [(1, False), (3, True), (31, False)])
def test_descriptors_in_a_message_are_recorded_on_both_sides(trace, count, credentials):
    child = trace(RIGHTS.format(count=count, credentials=credentials, room=4096))

    reported = child.reported
    assert len(reported["got"]) == count
    assert [(event.call, event.args) for event in child.marked] == [
        ("sendmsg", {"fd": reported["a"], "fds": reported["sent"], "truncated": False}),
        ("recvmsg", {"fd": reported["b"], "fds": reported["got"], "truncated": False}),
    ]
    assert [event.ret for event in child.marked] == [1, 1]


def test_descriptors_that_do_not_fit_into_the_receivers_buffer_are_recorded_as_truncated(trace):
    child = trace(RIGHTS.format(count=3, credentials=False, room=24))

    received = child.marked[1]
    assert received.args == {
        "fd": child.reported["b"],
        "fds": child.reported["got"],
        "truncated": True,
    }
    assert len(received.args["fds"]) < 3
    assert not child.marked[0].args["truncated"]


def test_more_descriptors_than_a_record_holds_are_recorded_as_truncated(trace):
    child = trace(RIGHTS.format(count=40, credentials=False, room=4096))

    for event, fds in zip(
        child.marked, (child.reported["sent"], child.reported["got"]), strict=True
    ):
        assert event.args["fds"] == fds[:32]
        assert event.args["truncated"]


EPOLL_AGAIN = """
import select
begin()
for _ in range(3):
    instance = select.epoll()
    number = instance.fileno()
    instance.poll(0)
    instance.poll(0)
    instance.close()
end(number=number)
"""


def test_first_wait_on_an_epoll_instance_is_recorded_again_when_its_number_is_reused(trace):
    child = trace(EPOLL_AGAIN)

    number = child.reported["number"]
    once = ["epoll_create1", "epoll_wait", "close"]
    assert [event.call for event in child.marked] == once * 3
    assert {e.args["epfd"] for e in child.marked if e.call == "epoll_wait"} == {number}


LISTEN_ENDS = """
a = socket.socket(); a.bind(("127.0.0.1", 0)); a.listen()
b = socket.socket(); b.bind(("127.0.0.1", 0)); b.listen()
peer = socket.create_connection(a.getsockname())
begin()
a.close()
b.shutdown(socket.SHUT_RDWR)
end()
"""


def test_end_of_listening_is_recorded_with_the_kernel_s_own_address_of_the_socket(trace):
    child = trace(LISTEN_ENDS)

    begun = [event.args["sk"] for event in child.snapshot.events if event.call == "listen"]
    ended = [event.args for event in child.snapshot.events if event.call == "tcp_state"]
    # Nothing about the socket that the connection got, which is a copy of the listening one.
    assert [(a["old"], a["new"]) for a in ended] == [("TCP_LISTEN", "TCP_CLOSE")] * 2
    assert [a["sk"] for a in ended] == begun
    assert len(set(begun)) == 2


LISTEN_FAILS = """
a = socket.socket(); b = socket.socket(); c = socket.socket()
for s in a, b:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 40099))
c.bind(("127.0.0.1", 0))
begin()
a.listen(); a.listen(7)
try: b.listen()
except OSError: pass
c.listen()
end()
"""


def test_only_the_listen_that_succeeds_gives_the_kernel_s_address_and_only_once(trace):
    child = trace(LISTEN_FAILS)

    listens = [event for event in child.marked if event.call == "listen"]
    assert [(event.errno, "sk" in event.args) for event in listens] == [
        (None, True),
        (None, False),
        ("EADDRINUSE", False),
        (None, True),
    ]
    assert listens[0].args["sk"] != listens[3].args["sk"]


def test_close_comes_before_the_birth_that_takes_its_number(trace):
    """One thread opens and closes directories, another takes the numbers that become free."""
    child = trace(
        """
walker = threading.Thread(target=lambda: libc.glob(b"/usr/*/*/*", 0, None, bytes(200)))
begin()
walker.start()
for _ in range(4999): libc.close(libc.dup(0))
walker.join()
end()
"""
    )
    owner: dict[int, int] = {}
    dups = 0
    for event in child.marked:
        if event.call == "dup":
            owner[event.ret] = event.tid
            dups += 1
        elif event.call == "close" and event.args["fd"] in owner:
            assert owner.pop(event.args["fd"]) == event.tid, event
    assert dups == 4999
