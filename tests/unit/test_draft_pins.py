"""A draft of a recorded trace notices each single deviation from it.

Each is one edit of the trace, of its listener `ingress`: the draft passes on the trace as it was
recorded, and not on the edited one.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.draft.from_trace import draft_of_trace
from envoyassert.draft.scenario_text import draft_text
from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.graph.model import KernelSocket
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.names import IPPROTO_MPTCP
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ListenerRecord, Trace
from envoyassert.trace_file import parse_trace

TRACES = Path(__file__).parents[1] / "traces"
UDP_PLACE = "127.0.0.1:5353"


def recorded(name: str) -> Trace:
    path = TRACES / name
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return parse_trace(text.splitlines(), name)


def datagrams() -> Trace:
    """Two UDP sockets, as Envoy makes them."""
    record = ListenerRecord("ingress", "UDP", (Address.inet("127.0.0.1", 5353),))
    trace = TraceBuilder(2, listeners=(record,))
    for index in range(2):
        fd = trace.socket(trace.main, kind="SOCK_DGRAM")
        trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
        trace.setsockopt(trace.main, fd, "IP_MTU_DISCOVER", 2, "IPPROTO_IP")
        trace.bind(trace.main, fd, UDP_PLACE)
        trace.setsockopt(trace.main, fd, "SO_RXQ_OVFL")
        trace.epoll_add(trace.worker(index), fd, ("EPOLLIN", "EPOLLOUT", "EPOLLET"))
    trace.reply_live()
    trace.call(trace.main, "epoll_wait", None, epfd=5)
    return trace.build()


def built(*, shared: bool) -> Trace:
    """A start as the recorded ones, without an account of the kernel."""
    place = Address.inet("127.0.0.1", 15006)
    trace = TraceBuilder(2, listeners=(ListenerRecord("ingress", "TCP", (place,)),))
    trace.shared_listener(str(place)) if shared else trace.reuse_port_listener(str(place))
    trace.reply_live()
    trace.call(trace.main, "epoll_wait", None, epfd=5)
    return trace.build()


@cache
def traces() -> dict[str, Trace]:
    return {
        "reuse_port": recorded("reuse_port_on-1.40.0.ndjson"),
        "shared": recorded("reuse_port_off-1.40.0.ndjson"),
        "unix": recorded("regressions/started_unix.ndjson.gz"),
        "udp": datagrams(),
        "built_reuse_port": built(shared=False),
        "built_shared": built(shared=True),
    }


def judged(drafted: Trace, seen: Trace) -> Verdict:
    """Draft one trace, and judge another by that."""
    text = draft_text(draft_of_trace(drafted), "x", "envoy.yaml", "run.ndjson")
    (plan,) = expand(parse_scenario(text, Path("x.yaml")))
    plan = plan.in_rundir(seen.header.rundir or "${rundir}")
    return judge(seen, plan.expectations, workers=2)


class Edit:
    """A trace under change; what is edited are its events."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        copies = {id(e): Event(*(getattr(e, s) for s in _FIELDS)) for e in trace.events}
        self.events = list(copies.values())
        graph = fold(trace)
        (record,) = [r for r in trace.header.listeners if r.name == "ingress"]
        self.sockets: list[KernelSocket] = [
            s for s in graph.candidates if s.address in record.addresses
        ]
        #: the calls on the first socket of the listener, by name, with its birth
        self.calls: dict[str, list[Event]] = {}
        for call in self.sockets[0].calls:
            self.calls.setdefault(call.event.call, []).append(copies[id(call.event)])
        self.worker = graph.workers()[0].tid

    def first(self, call: str) -> Event:
        return self.calls[call][0]

    def insert(self, after: Event, call: str, ret: int, /, tid: int = 0, **args: Any) -> None:
        new = Event(after.ts_ns + 1, after.pid, tid or after.tid, call, ret, args, after.cpu)
        self.events.insert(self.events.index(after) + 1, new)

    def move(self, event: Event, after: Event) -> None:
        self.events.remove(event)
        event.ts_ns, event.cpu = after.ts_ns + 1, after.cpu
        self.events.insert(self.events.index(after) + 1, event)

    def done(self) -> Trace:
        """Return the trace, its records numbered again."""
        numbers: Counter[int] = Counter()
        for event in self.events:
            numbers[event.cpu] += 1
            event.seq = numbers[event.cpu]
        cpus = tuple(replace(c, emitted=numbers[c.cpu]) for c in self.trace.end.cpus)
        return replace(self.trace, events=self.events, end=replace(self.trace.end, cpus=cpus))


_FIELDS = ("ts_ns", "pid", "tid", "call", "ret", "args", "cpu", "seq", "fault", "stack")


def args(call: str, **values: Any) -> Callable[[Edit], None]:
    """Change arguments of the first such call."""

    def change(edit: Edit) -> None:
        event = edit.first(call)
        event.args = {**event.args, **values}

    return change


def backlog(edit: Edit) -> None:
    """What the last listen() says counts."""
    event = edit.calls["listen"][-1]
    event.args = {**event.args, "backlog": 128}


def mask(*bits: str) -> Callable[[Edit], None]:
    return args("epoll_ctl", events=list(bits))


def by_worker(call: str) -> Callable[[Edit], None]:
    def change(edit: Edit) -> None:
        edit.first(call).tid = edit.worker

    return change


def again(call: str) -> Callable[[Edit], None]:
    def change(edit: Edit) -> None:
        event = edit.first(call)
        edit.insert(event, call, 0, **event.args)

    return change


def left_out(call: str) -> Callable[[Edit], None]:
    def change(edit: Edit) -> None:
        edit.events.remove(edit.first(call))

    return change


def late(call: str, after: str) -> Callable[[Edit], None]:
    def change(edit: Edit) -> None:
        edit.move(edit.first(call), edit.first(after))

    return change


def duplicate(edit: Edit) -> None:
    """A descriptor more, in no epoll."""
    event = edit.first("bind")
    edit.insert(event, "dup", 900, fd=event.args["fd"])


def elsewhere(family: str, kind: str, protocol: int, *, listens: bool, place: Any) -> Any:
    """A socket more, at another address or at none."""

    def change(edit: Edit) -> None:
        last = edit.first("bind")
        flags = ["SOCK_NONBLOCK"]
        edit.insert(last, "socket", 901, family=family, type=kind, flags=flags, protocol=protocol)
        last = edit.events[edit.events.index(last) + 1]
        if place is not None:
            edit.insert(last, "bind", 0, fd=901, address=place)
            last = edit.events[edit.events.index(last) + 1]
        if listens:
            edit.insert(last, "listen", 0, fd=901, backlog=1)

    return change


def chmod(mode: int) -> Callable[[Edit], None]:
    def change(edit: Edit) -> None:
        bind = edit.first("bind")
        edit.insert(bind, "chmod", 0, path=bind.args["address"].path, mode=mode)
        ours = [e for e in edit.events if e.call == "chmod" and e.args["mode"] != mode]
        for event in ours:
            edit.events.remove(event)

    return change


def not_chmod(edit: Edit) -> None:
    for event in [e for e in edit.events if e.call == "chmod"]:
        edit.events.remove(event)


def not_unlink(edit: Edit) -> None:
    path = edit.first("bind").args["address"].path
    for event in [e for e in edit.events if e.args.get("path") == path and e.call == "unlink"]:
        edit.events.remove(event)


ELSEWHERE = Address.inet("127.0.0.1", 7)
#: By kind of trace: each single deviation.
OF_ALL: dict[str, Callable[[Edit], None]] = {
    "registered with EPOLLONESHOT": mask("EPOLLIN", "EPOLLONESHOT"),
    "registered with EPOLLEXCLUSIVE": mask("EPOLLIN", "EPOLLEXCLUSIVE"),
    "registered for input and output": mask("EPOLLIN", "EPOLLOUT"),
    "bound by a worker": by_worker("bind"),
    "a descriptor leaks": duplicate,
    "an option more": lambda edit: edit.insert(
        edit.first("bind"),
        "setsockopt",
        0,
        fd=edit.first("bind").args["fd"],
        level="SOL_SOCKET",
        name="SO_DEBUG",
        length=4,
        value=1,
    ),
    "a bound socket that does not listen": elsewhere(
        "AF_INET", "SOCK_STREAM", 0, listens=False, place=ELSEWHERE
    ),
    "a listener more": elsewhere("AF_INET", "SOCK_STREAM", 0, listens=True, place=ELSEWHERE),
    "a raw socket": elsewhere("AF_INET", "SOCK_RAW", 1, listens=False, place=None),
    "a packet socket": elsewhere("AF_PACKET", "SOCK_RAW", 3, listens=False, place=None),
    "a vsock listener": elsewhere(
        "AF_VSOCK", "SOCK_STREAM", 0, listens=True, place=Address("AF_VSOCK")
    ),
}
OF_STREAMS: dict[str, Callable[[Edit], None]] = {
    "registered edge-triggered": mask("EPOLLIN", "EPOLLET"),
    "listen called twice": again("listen"),
    "listen called by a worker": by_worker("listen"),
    "listen left out": left_out("listen"),
    "another backlog": backlog,
}
OF_OPTIONS: dict[str, Callable[[Edit], None]] = {
    "an option late": late("setsockopt", "bind"),
    "an option to 0": args("setsockopt", value=0),
    "an option swapped for another": args("setsockopt", name="SO_KEEPALIVE"),
    "an option twice": again("setsockopt"),
    "an option left out": left_out("setsockopt"),
}
OF_TCP: dict[str, Callable[[Edit], None]] = {
    "MPTCP": args("socket", protocol=IPPROTO_MPTCP),
    "SCTP": args("socket", protocol=132),
    "a sequence of packets": args("socket", type="SOCK_SEQPACKET"),
}
OF_UNIX: dict[str, Callable[[Edit], None]] = {
    "a sequence of packets": args("socket", type="SOCK_SEQPACKET"),
    "another mode": chmod(0o777),
    "no mode": not_chmod,
    "not removed before bind": not_unlink,
}
OF_UDP: dict[str, Callable[[Edit], None]] = {
    "level-triggered": mask("EPOLLIN", "EPOLLOUT"),
    "UDP-Lite": args("socket", protocol=136),
}
EDITS = {
    "reuse_port": {**OF_ALL, **OF_STREAMS, **OF_OPTIONS, **OF_TCP},
    "shared": {**OF_ALL, **OF_STREAMS, **OF_OPTIONS, **OF_TCP},
    "unix": {**OF_ALL, **OF_STREAMS, **OF_UNIX},
    "udp": {**OF_ALL, **OF_OPTIONS, **OF_UDP},
    "built_reuse_port": {**OF_ALL, **OF_STREAMS, **OF_OPTIONS, **OF_TCP},
    "built_shared": {**OF_ALL, **OF_STREAMS, **OF_OPTIONS, **OF_TCP},
}


@pytest.mark.parametrize("kind", EDITS)
def test_draft_passes_on_its_trace(kind: str) -> None:
    trace = traces()[kind]
    assert judged(trace, Edit(trace).done()).status is Status.PASS


@pytest.mark.parametrize(
    ("kind", "edit"), [(kind, name) for kind, edits in EDITS.items() for name in edits]
)
def test_draft_fails_on_each_single_deviation(kind: str, edit: str) -> None:
    trace = traces()[kind]
    changed = Edit(trace)
    EDITS[kind][edit](changed)
    status = judged(trace, changed.done()).status
    # The kernel's account contradicts some edits, and what it contradicts is not trusted.
    by_kernel = Status.INCONCLUSIVE if trace.witness else Status.FAIL
    assert status in (Status.FAIL, by_kernel)


def test_draft_of_a_run_in_which_nothing_was_bound_leaves_no_room_for_a_socket() -> None:
    def run(*, binds: bool) -> Trace:
        trace = TraceBuilder(1)
        if binds:
            trace.bind(trace.main, trace.socket(trace.main), "127.0.0.1:80")
        trace.call(trace.main, "epoll_wait", None, epfd=5)
        return trace.build()

    nothing = run(binds=False)
    assert judged(nothing, nothing).status is Status.PASS
    assert judged(nothing, run(binds=True)).status is Status.FAIL


def test_draft_of_a_path_in_a_run_directory_is_of_any_run_directory():
    seen = traces()["unix"]
    assert seen.header.rundir
    text = draft_text(draft_of_trace(seen), "x", "envoy.yaml", "run.ndjson")
    assert seen.header.rundir not in text
    assert 'path: "${rundir}/' in text
