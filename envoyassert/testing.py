"""Build traces in code, for tests of expectations without an Envoy.

trace = TraceBuilder(workers=2)
fd = trace.socket(trace.main)
trace.bind(trace.main, fd, "0.0.0.0:15006")
trace.listen(trace.main, fd)
trace.epoll_add(trace.worker(0), fd)
verdict = judge(trace.build(), …)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.trace import (
    CpuCounters,
    End,
    EnvoyIdentity,
    Header,
    ListenerRecord,
    Outcome,
    Phase,
    Trace,
)

_MAIN_EPOLL = 5
_FIRST_FD = 20


class TraceBuilder:
    """A process that starts like Envoy: main, an epoll for it, and one for each worker.

    Args:
        workers: how many workers there are.
        pid: process id of the main thread; worker i has `pid + 1 + i`.
        concurrency: what the header says was asked for; the number of workers by default.
        listeners: listeners by the config.
        unobserved: channels that the header declares unobserved.
        cpus: how many CPUs record, in turn.
    """

    def __init__(
        self,
        workers: int = 2,
        *,
        pid: int = 1000,
        concurrency: int | None = None,
        listeners: tuple[ListenerRecord, ...] = (),
        unobserved: tuple[str, ...] = (),
        cpus: int = 2,
    ) -> None:
        self.main = pid
        self.workers = workers
        self.events: list[Event] = []
        self.outcome = Outcome(live=True, live_after_s=0.05, deadline_s=10)
        self.header = Header(
            scenario="built",
            run_id="0123456789abcdef",
            envoy=EnvoyIdentity("1.40.0", "9e55", "version 1.40.0"),
            launcher="process",
            concurrency=workers if concurrency is None else concurrency,
            kernel="6.18",
            listeners=listeners,
            unobserved=unobserved,
            tracer="",
        )
        self._cpus = cpus
        self._fd = _FIRST_FD
        self._phases: list[Phase] = []
        self._ts_ns = 1_000_000
        argv = ["envoy", "-c", "envoy.yaml"]
        self.call(pid, "exec", 0, filename="/usr/local/bin/envoy", argv=argv, name="envoy")
        self.call(pid, "epoll_create1", _MAIN_EPOLL, flags=[])
        for index in range(workers):
            self.call(pid, "epoll_create1", self.epoll(self.worker(index)), flags=[])
        self.call(pid, "epoll_wait", None, epfd=_MAIN_EPOLL)
        for index in range(workers):
            self.start_thread(self.worker(index), f"wrk:worker_{index}")
            self.call(self.worker(index), "epoll_wait", None, epfd=self.epoll(self.worker(index)))

    def worker(self, index: int) -> int:
        """Return the thread id of a worker."""
        return self.main + 1 + index

    def epoll(self, tid: int) -> int:
        """Return the descriptor of the epoll on which a thread waits."""
        return _MAIN_EPOLL + (tid - self.main)

    def start_thread(self, tid: int, name: str) -> None:
        """Let main make a thread and name it, as Envoy does."""
        main = self.main
        self.call(main, "fork", None, child_pid=main, child_tid=tid, thread=True)
        self.call(main, "rename", None, tid=tid, name=name)

    def call(self, tid: int, call: str, ret: int | None, /, **args: Any) -> Event:
        """Append any event; times and record numbers come by themselves."""
        self._ts_ns += 1_000
        cpu = len(self.events) % self._cpus
        seq = 1 + len(self.events) // self._cpus
        event = Event(self._ts_ns, self.main, tid, call, ret, args, cpu, seq)
        self.events.append(event)
        return event

    def pass_time(self, ns: int) -> None:
        """Let so many nanoseconds go by until the next event."""
        self._ts_ns += ns

    def reply_live(self, ns: int = 500) -> None:
        """Let `/ready` be asked now, and say LIVE for the first time so many ns later."""
        asked_ns = self._ts_ns + 1
        self._ts_ns = asked_ns + ns
        self.outcome = replace(self.outcome, live_asked_ns=asked_ns, live_ns=self._ts_ns)

    def _next_fd(self) -> int:
        self._fd += 1
        return self._fd

    def socket(
        self, tid: int, family: str = "AF_INET", kind: str = "SOCK_STREAM", protocol: int = 0
    ) -> int:
        """Make a socket and return its descriptor."""
        fd = self._next_fd()
        flags = ["SOCK_NONBLOCK"]
        self.call(tid, "socket", fd, family=family, type=kind, flags=flags, protocol=protocol)
        return fd

    def setsockopt(
        self, tid: int, fd: int, name: str, value: int = 1, level: str = "SOL_SOCKET", ret: int = 0
    ) -> None:
        """Set an option."""
        self.call(tid, "setsockopt", ret, fd=fd, level=level, name=name, length=4, value=value)

    def bind(self, tid: int, fd: int, address: str, ret: int = 0) -> None:
        """Bind to `host:port`, `[host]:port`, `/path` or `@abstract`."""
        self.call(tid, "bind", ret, fd=fd, address=parse_address(address))

    def listen(self, tid: int, fd: int, backlog: int = -1, ret: int = 0) -> None:
        """Listen."""
        self.call(tid, "listen", ret, fd=fd, backlog=backlog)

    def dup(self, tid: int, fd: int) -> int:
        """Duplicate a descriptor and return the new one."""
        copy = self._next_fd()
        self.call(tid, "dup", copy, fd=fd)
        return copy

    def close(self, tid: int, fd: int) -> None:
        """Close a descriptor."""
        self.call(tid, "close", 0, fd=fd)

    def epoll_add(self, tid: int, fd: int, events: tuple[str, ...] = ("EPOLLIN",)) -> None:
        """Register a descriptor in the epoll of the thread `tid`, by that thread."""
        epfd = self.epoll(tid)
        self.call(tid, "epoll_ctl", 0, epfd=epfd, op="EPOLL_CTL_ADD", fd=fd, events=list(events))

    def epoll_delete(self, tid: int, fd: int) -> None:
        """Take a descriptor out of the epoll of the thread `tid`."""
        epfd = self.epoll(tid)
        self.call(tid, "epoll_ctl", 0, epfd=epfd, op="EPOLL_CTL_DEL", fd=fd, events=[])

    def shared_listener(self, address: str, backlog: int = -1) -> list[int]:
        """Start a listener as Envoy ≥ 1.20 does without reuse_port: one socket and its dups."""
        first = self.socket(self.main, *_family_of(address))
        self.setsockopt(self.main, first, "SO_REUSEADDR")
        self.bind(self.main, first, address)
        fds = [first] + [self.dup(self.main, first) for _ in range(self.workers - 1)]
        self._serve(fds, backlog)
        return fds

    def reuse_port_listener(self, address: str, backlog: int = -1) -> list[int]:
        """Start a listener as Envoy ≥ 1.20 does with reuse_port: a socket per worker."""
        fds = []
        for _ in range(self.workers):
            fd = self.socket(self.main, *_family_of(address))
            self.setsockopt(self.main, fd, "SO_REUSEADDR")
            self.setsockopt(self.main, fd, "SO_REUSEPORT")
            self.bind(self.main, fd, address)
            fds.append(fd)
        self._serve(fds, backlog)
        return fds

    def _serve(self, fds: list[int], backlog: int) -> None:
        for fd in fds:
            self.listen(self.main, fd, backlog)
        for index, fd in enumerate(fds):
            self.epoll_add(self.worker(index), fd)

    def end_phase(self, name: str, kind: str = "wait_for", **facts: Any) -> None:
        """Let a phase end now; it began where the one before ended.

        Args:
            name: its name; the first one is `startup`.
            kind: the kind of its step.
            facts: further members of `Phase`.
        """
        begin_ns = self._phases[-1].end_ns + 1 if self._phases else 0
        self._ts_ns += 1_000
        facts.setdefault("outcome", self.outcome)
        self._phases.append(Phase(name, kind, begin_ns, self._ts_ns, **facts))

    def build(self, lost: tuple[int, ...] = ()) -> Trace:
        """Return the trace.

        Args:
            lost: indexes of events that the probe emitted but that were not received.
        """
        emitted = [0] * self._cpus
        for event in self.events:
            emitted[event.cpu] += 1
        kept = [event for index, event in enumerate(self.events) if index not in lost]
        dropped = [0] * self._cpus
        for index in lost:
            dropped[self.events[index].cpu] += 1
        counters = tuple(CpuCounters(cpu, emitted[cpu], dropped[cpu]) for cpu in range(self._cpus))
        end = End(counters, 0, drained=True, marked=True, outcome=self.outcome)
        return Trace(self.header, kept, end, phases=tuple(self._phases))


def parse_address(text: str) -> Address:
    """Read `127.0.0.1:80`, `[::1]:80`, `/path` or `@abstract`."""
    if text.startswith(("/", "@")):
        return Address.unix(text)
    host, _, port = text.rpartition(":")
    return Address.inet(host.strip("[]"), int(port))


def _family_of(address: str) -> tuple[str]:
    return (parse_address(address).family,)
