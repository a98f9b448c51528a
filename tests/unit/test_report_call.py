import pytest

from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.report.call import Clock, fd_label, render_call
from envoyassert.trace import CHANNELS, End, Header, Trace

V4, V6 = Address.inet("127.0.0.1", 80), Address.inet("::", 80)
OPTION = {"fd": 5, "level": "SOL_SOCKET", "name": "SO_REUSEPORT", "length": 4, "value": 1}
SOCKET = {"family": "AF_INET", "type": "SOCK_STREAM", "flags": ["SOCK_NONBLOCK"], "protocol": 0}
EPOLL = {"epfd": 4, "op": "EPOLL_CTL_ADD", "fd": 5, "events": ["EPOLLIN", "EPOLLET"]}


def event(call, ret, **args) -> Event:
    return Event(1, 2, 3, call, ret, args)


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (event("socket", 5, **SOCKET), "socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0) = 5"),
        (event("bind", 0, fd=5, address=V6), "bind(5, [::]:80) = 0"),
        (event("bind", -98, fd=5, address=V4), "bind(5, 127.0.0.1:80) = -1 EADDRINUSE"),
        (event("bind", None, fd=5, address=None), "bind(5, ?) = ?"),
        (event("bind", 0, fd=5, address=Address.unix("@a\0b")), "bind(5, @a\\0b) = 0"),
        (event("bind", 0, fd=5, address=Address.unix("@a" + "\0" * 90)), "bind(5, @a\\0…) = 0"),
        (event("bind", 0, fd=5, address=Address.unix("@a0\0")), "bind(5, @a0\\0) = 0"),
        (event("listen", 0, fd=5, backlog=-1), "listen(5, -1) = 0"),
        (event("listen", None, fd=5, backlog=None), "listen(5, ?) = ?"),
        (event("dup", 6, fd=5), "dup(5) = 6"),
        (event("fcntl", 6, fd=5, cmd="F_DUPFD", arg=3), "fcntl(5, F_DUPFD, 3) = 6"),
        (event("setsockopt", 0, **OPTION), "setsockopt(5, SOL_SOCKET, SO_REUSEPORT, 1) = 0"),
        (event("epoll_ctl", 0, **EPOLL), "epoll_ctl(4, EPOLL_CTL_ADD, 5, EPOLLIN|EPOLLET) = 0"),
        (event("epoll_wait", None, epfd=4), "epoll_wait(4)"),
        (
            event("recvmsg", 1, fd=3, fds=[7, 8], truncated=True),
            "recvmsg(3, SCM_RIGHTS [7, 8, …]) = 1",
        ),
        (event("unlink", 0, path="/a b"), 'unlink("/a b") = 0'),
        (event("fchmod", 0, fd=3, mode=0o600), "fchmod(3, 0600) = 0"),
        (event("close", -9, fd=3), "close(3) = -1 EBADF"),
        (event("exec", None, filename="/e", argv=["e", "-c", "x"], name="e"), "exec(/e -c x)"),
        (event("fork", None, child_pid=1, child_tid=9, thread=True), "fork(thread 9)"),
        (event("shutdown", 0, fd=3, how=1), "shutdown(3, 1) = 0"),
    ],
)
def test_call_is_rendered_as_strace_does(seen, text):
    assert render_call(seen) == text


def test_descriptor_of_a_socket_call_is_the_one_it_made():
    assert fd_label(event("socket", 5, **SOCKET)) == "5"
    assert fd_label(event("socket", -24, **SOCKET)) == "-"
    assert fd_label(event("dup", 6, fd=5)) == "5"
    assert fd_label(event("unlink", 0, path="/x")) == "-"


def test_clock_counts_from_the_first_exec():
    events = [event("fork", None), Event(2_000_000, 2, 2, "exec", None, {}), event("exec", None)]
    events[2].ts_ns = 3_500_000
    clock = Clock(Trace(Header(), events, End()))
    assert [clock.text(e.ts_ns) for e in events] == ["-2.000ms", "+0.000ms", "+1.500ms"]


def test_clock_of_an_imported_log_numbers_its_events():
    clock = Clock(Trace(Header(unobserved=CHANNELS), [event("bind", None)], End()))
    assert (clock.text(7), clock.ms(7)) == ("event 7", None)
