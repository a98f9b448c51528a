"""Traces built in code, each with one fact that some word of the language is about.

Most are a start of Envoy with two workers and one listener, `ingress` on 127.0.0.1:15006, changed
in one way; their names say in which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from envoyassert.accounts import (
    EnvoyAccount,
    EnvoyListener,
    Network,
    NetworkSocket,
    Witness,
    WitnessSocket,
)
from envoyassert.addresses import Address
from envoyassert.names import CLONE_NEWNET
from envoyassert.symbols import IN_LIBRARY, ObjectFile, Symbols
from envoyassert.testing import TraceBuilder
from envoyassert.trace import (
    STARTUP,
    ConnectionAttempt,
    ListenerRecord,
    Outcome,
    Trace,
    UpdateResult,
)

PLACE, OTHER = "127.0.0.1:15006", "127.0.0.1:15007"
ADMIN = "127.0.0.1:9901"
FAR, BLUE = "127.0.0.1:8080", "/run/netns/blue"
SECOND_NS = 1_000_000_000
MS_NS = 1_000_000
#: The run directory is not known here, so the path is as a scenario writes it.
PATH = "${rundir}/ingress.sock"
PARENT = 900
#: The limit of a backlog, which listen() with -1 asks for.
SOMAXCONN = 4096
_LISTENERS = (
    ListenerRecord("admin", "TCP", (Address.inet("127.0.0.1", 9901),), "admin"),
    ListenerRecord("ingress", "TCP", (Address.inet("127.0.0.1", 15006),)),
)
_TWO = (
    ListenerRecord(
        "ingress", "TCP", (Address.inet("127.0.0.1", 15006), Address.inet("127.0.0.1", 15007))
    ),
)
Part = Callable[[TraceBuilder], object]


def begun(listeners: tuple[ListenerRecord, ...] = _LISTENERS) -> TraceBuilder:
    """Return a start with two workers and no listener yet."""
    return TraceBuilder(2, listeners=listeners)


def finished(trace: TraceBuilder) -> Trace:
    """Return the trace, LIVE at its end unless it was before, with one more event behind that."""
    if trace.outcome.live_ns is None and trace.outcome.running:
        trace.reply_live()
    trace.call(trace.main, "epoll_wait", None, epfd=5)
    return trace.build()


def run(*parts: Part, listeners: tuple[ListenerRecord, ...] = _LISTENERS) -> Trace:
    """Return a start to which each part added something, in this order."""
    trace = begun(listeners)
    for part in parts:
        part(trace)
    return finished(trace)


def live(trace: TraceBuilder) -> None:
    """Envoy says LIVE."""
    trace.reply_live()


def wait(ns: int) -> Part:
    """Time goes by."""

    def part(trace: TraceBuilder) -> None:
        trace.pass_time(ns)

    return part


def shared(place: str = PLACE, backlog: int = -1) -> Part:
    """One socket for all workers."""

    def part(trace: TraceBuilder) -> None:
        trace.shared_listener(place, backlog)

    return part


def reuse(place: str = PLACE) -> Part:
    """A socket per worker."""

    def part(trace: TraceBuilder) -> None:
        trace.reuse_port_listener(place)

    return part


def bind(place: str = PLACE, ret: int = 0, by: int = -1) -> Part:
    """A socket is made and bound, or is not; by main, or by a worker of this number."""

    def part(trace: TraceBuilder) -> None:
        tid = trace.main if by < 0 else trace.worker(by)
        trace.bind(tid, trace.socket(tid), place, ret)

    return part


def enter(netns: str) -> Part:
    """Main goes into another network namespace."""

    def part(trace: TraceBuilder) -> None:
        how = {"fd": 90, "nstype": CLONE_NEWNET, "path": netns, "age_ns": 500}
        trace.call(trace.main, "setns", 0, **how)

    return part


def connect(ret: int) -> Part:
    """Main connects somewhere."""

    def part(trace: TraceBuilder) -> None:
        fd = trace.socket(trace.main)
        trace.call(trace.main, "connect", ret, fd=fd, address=Address.inet("127.0.0.1", 1))

    return part


def last(call: str, by: int = -1) -> Part:
    """The socket that was made last listens, is duplicated, is closed or is put into an epoll."""

    def part(trace: TraceBuilder) -> None:
        fd = next(e.ret for e in reversed(trace.events) if e.call in ("socket", "dup"))
        assert fd is not None
        tid = trace.main if by < 0 else trace.worker(by)
        calls: dict[str, Callable[[int, int], object]] = {
            "listen": trace.listen,
            "dup": trace.dup,
            "close": trace.close,
            "add": trace.epoll_add,
            "delete": trace.epoll_delete,
        }
        calls[call](tid, fd)

    return part


def first_socket(trace: TraceBuilder) -> int:
    """Return the first descriptor of a listener."""
    fd: int = next(e.args["fd"] for e in trace.events if e.call == "bind")
    return fd


def option(name: str, value: object = 1) -> Part:
    """The socket that was made last has an option set."""

    def part(trace: TraceBuilder) -> None:
        fd = next(e.ret for e in reversed(trace.events) if e.call == "socket")
        assert fd is not None
        args = {"fd": fd, "level": "SOL_SOCKET", "name": name, "length": 8, "value": value}
        trace.call(trace.main, "setsockopt", 0, **args)

    return part


def with_option(name: str, value: object) -> Trace:
    """A shared socket with an option set before bind."""

    def part(trace: TraceBuilder) -> None:
        fd = trace.socket(trace.main)
        option(name, value)(trace)
        trace.bind(trace.main, fd, PLACE)
        trace._serve([fd, trace.dup(trace.main, fd)], -1)

    return run(part)


def left(index: int) -> Part:
    """A worker takes its descriptor of the listener out of its epoll."""

    def part(trace: TraceBuilder) -> None:
        adds = [e for e in trace.events if e.call == "epoll_ctl" and e.tid == trace.worker(index)]
        trace.epoll_delete(trace.worker(index), adds[-1].args["fd"])

    return part


def back(index: int) -> Part:
    """A worker puts it in again."""

    def part(trace: TraceBuilder) -> None:
        adds = [e for e in trace.events if e.call == "epoll_ctl" and e.tid == trace.worker(index)]
        trace.epoll_add(trace.worker(index), adds[-1].args["fd"])

    return part


def registered(mask: tuple[str, ...]) -> Trace:
    """Two sockets, in the epolls with this mask."""

    def part(trace: TraceBuilder) -> None:
        for index in range(2):
            fd = trace.socket(trace.main)
            trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
            trace.bind(trace.main, fd, PLACE)
            trace.listen(trace.main, fd)
            trace.epoll_add(trace.worker(index), fd, mask)

    return run(part)


def handed_over(trace: TraceBuilder, number: int = 2) -> None:
    """So many of two sockets come from a parent process that made them."""
    began = trace.call(trace.main, "exec", 0, filename="/bin/envoy", argv=["envoy"], name="envoy")
    began.pid = began.tid = PARENT
    fds = []
    for index in range(2):
        before = len(trace.events)
        fd = trace.socket(trace.main)
        trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
        trace.bind(trace.main, fd, PLACE)
        if index < number:
            trace.call(trace.main, "sendmsg", 9, fd=9, fds=[fd], truncated=False)
            for event in trace.events[before:]:
                event.pid = event.tid = PARENT
            fd = 50 + index
            trace.call(trace.main, "recvmsg", 9, fd=9, fds=[fd], truncated=False)
        fds.append(fd)
    trace._serve(fds, -1)


def unix(*, unlinked: bool = True, mode: int = 0o660, removed: bool = False) -> Trace:
    """A Unix socket, up to the exit."""

    def part(trace: TraceBuilder) -> None:
        if unlinked:
            trace.call(trace.main, "unlink", -2, path=PATH)
        fd = trace.socket(trace.main, "AF_UNIX")
        trace.call(trace.main, "bind", 0, fd=fd, address=Address.unix(PATH))
        trace.call(trace.main, "chmod", 0, path=PATH, mode=mode)
        trace._serve([fd, trace.dup(trace.main, fd)], -1)
        if removed:
            trace.call(trace.main, "unlink", 0, path=PATH)
        trace.reply_live()
        for tid in (trace.worker(0), trace.worker(1)):
            trace.call(tid, "exit", None, status=None, last=False)
        trace.call(trace.main, "exit", None, status=0, last=True)

    trace = begun()
    part(trace)
    return trace.build()


def abstract(number: int = 1) -> Part:
    """Sockets with an abstract name."""

    def part(trace: TraceBuilder) -> None:
        for _ in range(number):
            bind("@ingress")(trace)

    return part


def udp(place: str) -> Part:
    """A bound socket for datagrams."""

    def part(trace: TraceBuilder) -> None:
        fd = trace.socket(trace.main, kind="SOCK_DGRAM", protocol=17)
        trace.bind(trace.main, fd, place)

    return part


def ended(code: int) -> Trace:
    """Envoy ends before it is LIVE."""
    trace = begun()
    trace.outcome = Outcome(live=False, exit_code=code, deadline_s=10)
    trace.call(trace.main, "exit", None, status=code, last=True)
    return trace.build()


def late(after_s: float) -> Trace:
    """Envoy is LIVE so many seconds after its launch."""
    trace = begun()
    shared()(trace)
    trace.reply_live()
    trace.outcome = replace(trace.outcome, live_after_s=after_s)
    return trace.build()


def slow(bind_to_listen_ns: int = 0, to_served_ns: int = 0, to_live_ns: int = 0) -> Trace:
    """A start with one socket that takes its time here and there."""

    def part(trace: TraceBuilder) -> None:
        fd = trace.socket(trace.main)
        trace.bind(trace.main, fd, PLACE)
        trace.pass_time(bind_to_listen_ns)
        trace.listen(trace.main, fd)
        trace.pass_time(to_served_ns)
        trace.epoll_add(trace.worker(0), fd)
        trace.epoll_add(trace.worker(1), trace.dup(trace.main, fd))
        trace.pass_time(to_live_ns)

    return run(part)


def one_after_another(pause_ns: int = 0, *, swapped: bool = False, slow_ns: int = 0) -> Trace:
    """Two sockets, the second after a pause; perhaps it listens first, or is slow to."""

    def part(trace: TraceBuilder) -> None:
        for second in (False, True):
            fd = trace.socket(trace.main)
            trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
            if swapped and second:
                trace.listen(trace.main, fd)
            trace.bind(trace.main, fd, PLACE)
            if second:
                trace.pass_time(slow_ns)
            trace.listen(trace.main, fd)
            trace.pass_time(0 if second else pause_ns)

    return run(part)


def two_addresses(second: Part) -> Trace:
    """A listener with two addresses."""
    return run(shared(), second, listeners=_TWO)


def accept(by: int, handled_by: int) -> Part:
    """A worker accepts a connection, and one waits for it."""

    def part(trace: TraceBuilder) -> None:
        made = [e for e in trace.events if e.call == "epoll_ctl" and e.tid == trace.worker(by)]
        connection = trace._next_fd()
        listening = made[0].args["fd"]
        trace.call(trace.worker(by), "accept4", connection, fd=listening, address=None, flags=[])
        trace.epoll_add(trace.worker(handled_by), connection)

    return part


def accept_fails(ret: int) -> Part:
    """Worker 0 accepts nothing."""

    def part(trace: TraceBuilder) -> None:
        fd = first_socket(trace)
        trace.call(trace.worker(0), "accept4", ret, fd=fd, address=None, flags=[])

    return part


def accepted(*numbers: int, by: int = -1, handled_by: int = -1, ret: int = -11) -> Trace:
    """Worker i accepts and handles so many connections, or one worker does for both."""
    parts = [
        accept(by if by >= 0 else worker, handled_by if handled_by >= 0 else worker)
        for worker, number in enumerate(numbers)
        for _ in range(number)
    ]
    return run(shared(), *parts, accept_fails(ret))


def attempted(**last_one: Any) -> Trace:
    """Twenty clients of a step, the last of which ends otherwise."""
    place = Address.inet("127.0.0.1", 15006)
    attempt = ConnectionAttempt("TCP", place, ok=True, first_byte=True, end="held")
    attempts = (*[attempt] * 19, replace(attempt, **last_one))
    trace = begun()
    shared()(trace)
    trace.reply_live()
    trace.end_phase(STARTUP, STARTUP)
    trace.end_phase("connect", "connect", attempts=attempts)
    trace.end_phase("drain", "drain")
    return trace.build()


def shown_by_kernel(backlog: int) -> Trace:
    """A socket of which the kernel says how many connections may wait."""
    trace = begun()
    bind()(trace)
    trace.listen(trace.main, trace._fd, -1 if backlog == SOMAXCONN else backlog)
    fd, place = trace._fd, Address.inet("127.0.0.1", 15006)
    whole = trace.build()
    held = WitnessSocket(trace.main, fd, 7, 7, place, False, True)
    network = Network((NetworkSocket("TCP", place, 7, 7, 0, backlog),), SOMAXCONN)
    whole.witness = Witness(whole.events[-1].ts_ns + 1, (held,), network=network)
    return whole


def beside(foreign: bool) -> Trace:
    """Who else accepts connections at the listener's address: nothing, or a foreign process."""
    trace = run(shared())
    sockets = (NetworkSocket("TCP", Address.inet("127.0.0.1", 15006), 99),) if foreign else ()
    # Before the first event, so that nothing of the process itself is compared.
    trace.witness = Witness(1, network=Network(sockets, SOMAXCONN))
    return trace


def listed(*parts: Part) -> Trace:
    """Envoy lists a listener that by the config is not bound to its port."""
    trace = run(*parts, listeners=(ListenerRecord("ingress", "TCP", ()),))
    listener = EnvoyListener("ingress", (Address.inet("127.0.0.1", 15006),))
    # Before the first event, as above.
    trace.witness = Witness(1, envoy=EnvoyAccount(1, 1, (listener,)))
    return trace


def answered(result: str, message: str = "") -> Trace:
    """Envoy is given its listeners by a control plane, and says what it makes of them."""
    trace = begun()
    shared()(trace)
    trace.reply_live()
    trace.end_phase(STARTUP, STARTUP, update=UpdateResult(result, "1", message))
    return trace.build()


_ENVOY, _LIBC = "9e5580933739775e8bce696a57a2e1bc99368f23", "c" * 40
_NAMES = {
    f"{_LIBC}+0x10": "bind",
    f"{_ENVOY}+0x20": "Envoy::Server::ListenSocketFactoryImpl::createListenSocket()",
    f"{_ENVOY}+0x21": "Envoy::Server::AdminImpl::startHttpListener()",
    f"{_ENVOY}+0x22": "Envoy::Server::ListenerManagerImpl::addOrUpdateListener()",
}
#: The call, a function and what called that.
FACTORY = (f"{_LIBC}+0x10", f"{_ENVOY}+0x20", f"{_ENVOY}+0x22")
ELSEWHERE = (f"{_LIBC}+0x10", f"{_ENVOY}+0x21", f"{_ENVOY}+0x22")


def at(stack: tuple[str, ...], part: Part) -> Part:
    """The last call of a part is made from these functions."""

    def stacked(trace: TraceBuilder) -> None:
        part(trace)
        trace.events[-1].stack = stack

    return stacked


def named(*parts: Part) -> Trace:
    """A run of an Envoy whose functions have names."""
    trace = run(*parts)
    files = {_ENVOY: ObjectFile("/envoy"), _LIBC: ObjectFile("/libc.so.6")}
    callees = {f"{_ENVOY}+0x20": IN_LIBRARY, f"{_ENVOY}+0x21": IN_LIBRARY}
    trace.symbols = Symbols(_NAMES, callees, files)
    return trace


TRACES: dict[str, Callable[[], Trace]] = {
    "nothing": run,
    "shared": lambda: run(shared()),
    "reuse": lambda: run(reuse()),
    "alone": lambda: beside(foreign=False),
    "beside_a_foreign_socket": lambda: beside(foreign=True),
    "listed": listed,
    "listed_and_served": lambda: listed(shared()),
    "shared_late": lambda: run(live, wait(2 * SECOND_NS), shared()),
    "shared_slowly": lambda: run(wait(10 * SECOND_NS), shared()),
    "shared_after_another": lambda: run(shared(OTHER), wait(10 * SECOND_NS), shared()),
    "another_before_and_shared_late": lambda: run(shared(OTHER), live, shared()),
    "bound_by_worker": lambda: run(bind(by=0), last("listen")),
    "port_taken": lambda: run(bind(ret=-98)),
    "port_taken_twice": lambda: run(bind(ret=-98), bind(ret=-98)),
    "port_forbidden": lambda: run(bind(ret=-13)),
    "port_taken_for_worker": lambda: run(bind(ret=-98, by=0)),
    "one_worker_left": lambda: run(shared(), left(1)),
    "one_socket_left": lambda: run(reuse(), left(1)),
    "both_left": lambda: run(shared(), live, left(0), left(1)),
    "gap_before_live": lambda: run(shared(), left(0), left(1), back(0), back(1), live),
    "gap_after_live": lambda: run(shared(), live, left(0), left(1), back(0), back(1)),
    "short_gap": lambda: run(shared(), left(0), left(1), wait(20 * MS_NS), back(0), back(1)),
    "long_gap": lambda: run(shared(), left(0), left(1), wait(SECOND_NS), back(0), back(1)),
    "listens_once": lambda: run(bind(), last("listen"), last("add", 0)),
    "worker_listens": lambda: run(shared(), last("listen", 0)),
    "listens_again": lambda: run(reuse(), last("listen")),
    "one_listens": lambda: run(bind(), last("listen"), last("add", 0), bind(), last("dup")),
    "handed_over": lambda: run(handed_over),
    "level": lambda: registered(("EPOLLIN",)),
    "edge": lambda: registered(("EPOLLIN", "EPOLLOUT", "EPOLLET")),
    "unix": unix,
    "unix_kept": lambda: unix(unlinked=False, mode=0o600),
    "unix_removed": lambda: unix(removed=True),
    "four_binds": lambda: run(bind(), bind(), bind(), bind()),
    "three_binds": lambda: run(bind(), bind(), bind()),
    "three_dups": lambda: run(shared(), last("dup"), last("dup")),
    "four_dups": lambda: run(shared(), last("dup"), last("dup"), last("dup")),
    "dup_closed": lambda: run(shared(), last("close")),
    "closed_after_live": lambda: run(reuse(), live, last("close")),
    "made_after_live": lambda: run(bind(), live, bind()),
    "dup_closed_after_live": lambda: run(shared(), live, last("close")),
    "dup_after_live": lambda: run(bind(), live, last("dup")),
    "option_late": lambda: run(bind(), option("SO_REUSEPORT")),
    "option_off": lambda: with_option("SO_REUSEPORT", 0),
    "option_on": lambda: with_option("SO_REUSEPORT", 1),
    "option_elsewhere": lambda: run(bind(), bind(OTHER), option("SO_KEEPALIVE")),
    "lingers": lambda: with_option("SO_LINGER", {"onoff": 1, "linger_s": 5}),
    "lingers_not": lambda: with_option("SO_LINGER", {"onoff": 0, "linger_s": 5}),
    "lingers_shortly": lambda: with_option("SO_LINGER", {"onoff": 1, "linger_s": 1}),
    "filtered": lambda: with_option(
        "SO_ATTACH_REUSEPORT_CBPF",
        {"instructions": 14, "sha256": "0123456789abcdef" * 4},
    ),
    "filtered_shortly": lambda: with_option(
        "SO_ATTACH_REUSEPORT_CBPF",
        {"instructions": 7, "sha256": "0123456789abcdef" * 4},
    ),
    "filtered_otherwise": lambda: with_option(
        "SO_ATTACH_REUSEPORT_CBPF",
        {"instructions": 14, "sha256": "fedcba9876543210" * 4},
    ),
    "backlog_128": lambda: run(shared(backlog=128)),
    "option_listening": lambda: run(bind(), last("listen"), option("SO_KEEPALIVE")),
    "option_between": lambda: run(bind(), option("SO_KEEPALIVE"), last("listen")),
    "ended_1": lambda: ended(1),
    "ended_0": lambda: ended(0),
    "live_after_1s": lambda: late(1),
    "live_after_9s": lambda: late(9),
    "connected": lambda: run(connect(0)),
    "refused": lambda: run(connect(-111)),
    "refused_then_connected": lambda: run(connect(-111), live, connect(0)),
    "connected_then_refused": lambda: run(connect(0), live, connect(-111)),
    "worker_binds_then_main": lambda: run(bind(by=0), live, bind()),
    "main_binds_then_worker": lambda: run(bind(), live, bind(by=0)),
    "taken_then_bound": lambda: run(bind(ret=-98), live, bind()),
    "bound_then_taken": lambda: run(bind(), live, bind(ret=-98)),
    "option_then_elsewhere": lambda: run(
        bind(), option("SO_KEEPALIVE"), live, bind(OTHER), option("SO_KEEPALIVE")
    ),
    "elsewhere_then_option": lambda: run(
        bind(OTHER), option("SO_KEEPALIVE"), live, bind(), option("SO_KEEPALIVE")
    ),
    "reuse_port_then_another": lambda: run(
        bind(), option("SO_REUSEPORT"), live, option("SO_KEEPALIVE")
    ),
    "another_then_reuse_port": lambda: run(
        bind(), option("SO_KEEPALIVE"), live, option("SO_REUSEPORT")
    ),
    "listens_before_and_after": lambda: run(bind(), last("listen"), live, last("listen")),
    "listens_after": lambda: run(bind(), live, last("listen")),
    "worker_late": lambda: run(bind(), last("listen"), last("add", 0), live, last("add", 1)),
    "slow_listen": lambda: slow(bind_to_listen_ns=3 * SECOND_NS),
    "slower_listen": lambda: slow(bind_to_listen_ns=10 * SECOND_NS),
    "listen_after_110ms": lambda: slow(bind_to_listen_ns=110 * MS_NS),
    "slowly_served": lambda: slow(to_served_ns=3 * SECOND_NS),
    "slowly_live": lambda: slow(to_live_ns=3 * SECOND_NS),
    "never_listens": lambda: run(bind()),
    "closed": lambda: run(bind(), last("close")),
    "one_after_another": lambda: one_after_another(10 * SECOND_NS),
    "one_listens_first": lambda: one_after_another(swapped=True),
    "one_is_slow": lambda: one_after_another(slow_ns=10 * SECOND_NS),
    "another_bind_late": lambda: run(bind(), last("listen"), bind(OTHER)),
    "out_of_descriptors": lambda: run(
        shared(),
        lambda t: t.call(t.worker(0), "accept4", -24, fd=first_socket(t), address=None, flags=[]),
    ),
    "with_admin": lambda: run(
        shared(), bind(ADMIN), last("listen"), lambda t: t.epoll_add(t.main, t._fd)
    ),
    "with_another_port": lambda: run(shared(), shared(OTHER)),
    "twenty_connections": lambda: accepted(10, 10),
    "nineteen_connections": lambda: accepted(10, 9),
    "one_worker_accepts_all": lambda: accepted(10, 10, by=0),
    "one_worker_handles_all": lambda: accepted(10, 10, handled_by=0),
    "accept_out_of_descriptors": lambda: accepted(10, 10, ret=-24),
    "evenly_accepted": lambda: accepted(24, 20),
    "rather_unevenly_accepted": lambda: accepted(34, 10),
    "unevenly_accepted": lambda: accepted(40, 4),
    "all_answered": attempted,
    "one_refused": lambda: attempted(ok=False, errno="ECONNREFUSED", first_byte=False, end=""),
    "one_silent": lambda: attempted(first_byte=False, errno="ETIMEDOUT"),
    "one_closed": lambda: attempted(first_byte=False, end="eof"),
    "one_reset": lambda: attempted(first_byte=False, end="reset"),
    "bound_in_the_factory": lambda: named(at(FACTORY, bind())),
    "bound_elsewhere": lambda: named(at(ELSEWHERE, bind())),
    "factory_then_elsewhere": lambda: named(at(FACTORY, bind()), live, at(ELSEWHERE, bind(OTHER))),
    "elsewhere_then_factory": lambda: named(at(ELSEWHERE, bind()), live, at(FACTORY, bind(OTHER))),
    "both_in_the_factory": lambda: named(at(FACTORY, bind()), at(FACTORY, bind(OTHER))),
    "one_in_the_factory": lambda: named(at(FACTORY, bind()), at(ELSEWHERE, bind(OTHER))),
    "refused_in_the_factory": lambda: named(at(FACTORY, bind(ret=-98)), at(FACTORY, bind(OTHER))),
    "refused_elsewhere": lambda: named(at(ELSEWHERE, bind(ret=-98)), at(FACTORY, bind(OTHER))),
    "worker_listens_in_the_factory": lambda: named(
        bind(), at(FACTORY, last("listen")), bind(OTHER), at(FACTORY, last("listen", 0))
    ),
    "worker_listens_elsewhere": lambda: named(
        bind(), at(FACTORY, last("listen")), bind(OTHER), at(ELSEWHERE, last("listen", 0))
    ),
    "longest_queue": lambda: shown_by_kernel(SOMAXCONN),
    "short_queue": lambda: shown_by_kernel(128),
    "accepted_update": lambda: answered("ack"),
    "refused_update": lambda: answered("nack", "has duplicate address"),
    "refused_for_another_reason": lambda: answered("nack", "no such filter"),
    "two_addresses": lambda: two_addresses(shared(OTHER)),
    "two_addresses_unlike": lambda: two_addresses(reuse(OTHER)),
    "ipv6_and_ipv4": lambda: run(shared("[::1]:15006"), reuse()),
    "ipv6_twice_and_ipv4": lambda: run(reuse("[::1]:15006"), shared()),
    "two_networks": lambda: run(bind(FAR), bind(FAR), enter(BLUE), bind(FAR)),
    "two_networks_twice": lambda: run(bind(FAR), enter(BLUE), bind(FAR), bind(FAR)),
    "udp_and_tcp": lambda: run(udp("127.0.0.1:53"), bind("127.0.0.1:53"), bind("127.0.0.1:53")),
    "udp_twice_and_tcp": lambda: run(
        udp("127.0.0.1:53"), udp("127.0.0.1:53"), bind("127.0.0.1:53")
    ),
    "abstract": lambda: run(abstract()),
    "abstract_twice": lambda: run(abstract(2)),
    "unix_bound_twice": lambda: run(
        *[
            lambda t: t.call(
                t.main, "bind", 0, fd=t.socket(t.main, "AF_UNIX"), address=Address.unix(PATH)
            )
        ]
        * 2,
    ),
}
