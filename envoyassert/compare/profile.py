"""A run as facts that can be held against those of another run.

Nothing volatile is in a profile: no descriptor number, inode, thread id, time, run directory, and
no port that the kernel chose; workers are one role, whichever of them came first. What depends on
who connects (accepted connections) is left out too, and so are Envoy's capability probes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from envoyassert.compare.groups import SocketGroup, socket_groups
from envoyassert.compare.measure import Measure
from envoyassert.events import Event
from envoyassert.graph.descriptor_tables import succeeded
from envoyassert.graph.fold import fold
from envoyassert.graph.model import Call, KernelSocket, OptionSet, SocketGraph
from envoyassert.judge.account_checks import KERNEL_CHECK
from envoyassert.judge.certificate import CONTRADICTIONS, LOSSES, certify
from envoyassert.judge.target import serving_of, shape_of
from envoyassert.judge.values import SINGLE
from envoyassert.names import signal_text
from envoyassert.option_values import FILTERS, value_text
from envoyassert.report.call import Clock
from envoyassert.texts.facts import text
from envoyassert.trace import Outcome, Trace

#: Aspects of a group in the order in which they are shown. Options follow as `option <name>`.
SOCKETS, OPEN_SOCKETS, KIND = "sockets", "open sockets", "kind"
BIND, BIND_FAILED, LISTEN, LISTEN_FAILED = "bind", "failed bind", "listen", "failed listen"
BACKLOG, DUP, DESCRIPTORS, EVER = "backlog", "dup", "descriptors", "descriptors ever"
SHAPE, SERVED, REGISTERED, FILES, ORDER = "shape", "served by", "epoll", "files", "order"
OPTION = "option "
#: Aspects of a run.
OUTCOME, WORKERS, PROCESSES = "outcome", "workers", "processes"

#: Moments of a start-up, in the order in which they come.
FIRST_BIND, FIRST_LISTEN = "first bind", "first listen"
FIRST_SERVED, LAST_SERVED, LIVE = "first served", "last served", "live"
MILESTONES = (FIRST_BIND, FIRST_LISTEN, FIRST_SERVED, LAST_SERVED, LIVE)

#: One thread that is no worker, and so not one of as many as there are workers.
_ALONE = (["main"], ["other"])
_DUPS = ("dup", "dup2", "dup3", "fcntl")
_PHASES = {"before_bind": "before bind", "bound": "after bind", "listening": "after listen"}
# The value is a descriptor of a program.
_DESCRIPTORS = frozenset({"SO_ATTACH_BPF", "SO_ATTACH_REUSEPORT_EBPF"})
# Not part of the order in which main prepares a socket.
_UNORDERED = frozenset({"getsockname", "close", "accept", "accept4", "epoll_ctl", *_DUPS})


class Ending(NamedTuple):
    """How Envoy ended, without times.

    Args:
        signal: number of the signal that killed it, None if none did.
        exit_code: its exit status, None if it did not end by itself.
        live: whether it was LIVE; None if it could not be asked, or had ended.
    """

    signal: int | None
    exit_code: int | None
    live: bool | None

    def __str__(self) -> str:
        return outcome_text(self)


class Setting(NamedTuple):
    """What an option was set to, and when.

    Args:
        value: the value as text, without what is volatile.
        is_one: whether it is the number 1, the usual one for `on`.
        phase: when, in words.
    """

    value: str
    is_one: bool
    phase: str

    def __str__(self) -> str:
        return f"{self.value} {self.phase}"


#: What is counted of an aspect: what it is, by a word or by values.
Key = str | Ending | Setting
#: The measures of each aspect.
Facts = dict[str, dict[Key, Measure]]


@dataclass
class Listener:
    """The facts of one group."""

    group: SocketGroup
    facts: Facts


@dataclass
class Profile:
    """The facts of a run.

    Args:
        trace: the run.
        graph: its socket graph.
        listeners: by the key of their group.
        facts: those of the run as a whole.
        times: milliseconds from exec to a milestone, for those that were reached.
        workers: the number of workers that was asked for; 0 if unknown.
        whole: whether the certificate has nothing missing.
        missing: what it lacks, in words.
        assumed: what is taken for granted of it, since it was not observed.
    """

    trace: Trace
    graph: SocketGraph
    listeners: dict[tuple[str, str, int], Listener] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    workers: int = 0
    whole: bool = False
    missing: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    @property
    def lossy(self) -> bool:
        """Whether records were lost, so that a socket may seem to be at another place."""
        return bool(self.graph.gaps)

    @property
    def ended(self) -> bool:
        """Whether Envoy had ended, so that nothing is open any more."""
        return not self.trace.end.outcome.running

    def lacks(self, channel: str) -> bool:
        """Whether a channel was not observed."""
        return channel in self.trace.header.unobserved


def profile_of(
    trace: Trace, graph: SocketGraph | None = None, assume: tuple[str, ...] = ()
) -> Profile:
    """Return the facts of a run.

    Args:
        trace: the run.
        graph: its socket graph, if it is at hand.
        assume: what is taken for granted of a trace that did not observe it.
    """
    if graph is None:
        graph = fold(trace)
    certificate = certify(trace, graph, assume)
    failed = {check.name for check in certificate.missing}
    lost = bool(failed.intersection(LOSSES))
    contradicted = failed.intersection(CONTRADICTIONS) - ({KERNEL_CHECK} if lost else set())
    meter = _Meter(certificate.whole, trusted=not contradicted, gapless=not graph.gaps)
    profile = Profile(
        trace,
        graph,
        workers=trace.header.concurrency,
        whole=certificate.whole,
        missing=tuple(text(check.found) for check in certificate.missing),
        assumed=assume if trace.header.unobserved else (),
    )
    for key, group in socket_groups(trace, graph).items():
        profile.listeners[key] = Listener(group, _facts(group, trace, graph, meter))
    launched = bool(trace.header.launcher)
    profile.facts = {
        OUTCOME: {_ending(trace.end.outcome): Measure(1, 1, True)} if launched else {},
        WORKERS: {"": meter.measure(len(graph.workers()), len(graph.workers()))},
        PROCESSES: {"": meter.measure(len(graph.processes), len(graph.processes))},
    }
    profile.times = _times(profile)
    return profile


def _ending(outcome: Outcome) -> Ending:
    if outcome.signal is not None:
        return Ending(outcome.signal, None, None)
    return Ending(None, outcome.exit_code, outcome.live if outcome.exit_code is None else None)


def outcome_text(outcome: Outcome | Ending) -> str:
    """Return how Envoy ended, without times."""
    if outcome.signal is not None:
        return f"killed by {signal_text(outcome.signal)}"
    if outcome.exit_code is not None:
        return f"exited with {outcome.exit_code}"
    return {True: "live", False: "up, but not live", None: "up"}[outcome.live]


def role_of(call: Call) -> str:
    """Return `main`, `workers` or `other`."""
    return group_of_role(call.thread.role)


def group_of_role(role: str) -> str:
    """Return `workers` for the role of any worker, other roles as they are."""
    return "workers" if role.startswith("worker_") else role


@dataclass(frozen=True)
class _Meter:
    """Makes measures that know how far this trace can be trusted."""

    whole: bool
    trusted: bool
    gapless: bool

    def role(self, calls: Iterable[Call]) -> dict[Key, Measure]:
        """Count calls by the role of their thread."""
        return self.calls((role_of(c), self.knows(role_of(c)) and c.certain) for c in calls)

    def knows(self, role: str) -> bool:
        """Whether a role is sure: a worker whose rename was lost looks like any other thread."""
        return self.gapless or role != "other"

    def measure(self, seen: int, certain: int, of: int | None = None) -> Measure:
        return Measure(seen, certain if self.trusted else 0, self.whole, of)

    def calls(self, keyed: Iterable[tuple[Key, bool]], of: int | None = None) -> dict[Key, Measure]:
        """Count things by key; each comes with whether it is certain."""
        seen: Counter[Key] = Counter()
        certain: Counter[Key] = Counter()
        for key, is_certain in keyed:
            seen[key] += 1
            certain[key] += is_certain
        return {key: self.measure(number, certain[key], of) for key, number in seen.items()}

    def shares(
        self, sockets: list[KernelSocket], keyed: Iterable[tuple[KernelSocket, Key]]
    ) -> dict[Key, Measure]:
        """Count on how many of the sockets something was seen, by key.

        These say in which state a socket was, or what came after what: a loss may change that.
        """
        found = dict.fromkeys((id(socket), key) for socket, key in keyed)
        return self.calls(((key, self.gapless) for _, key in found), len(sockets))


def _facts(group: SocketGroup, trace: Trace, graph: SocketGraph, meter: _Meter) -> Facts:
    sockets = group.sockets
    calls = [call for socket in sockets for call in socket.calls]
    descriptors = [descriptor for socket in sockets for descriptor in socket.descriptors]
    live = [socket for socket in sockets if socket.is_live]
    bound = sum(any(c.certain for c in (*s.binds, *s.listens)) for s in sockets)
    certain_fds = [d for d in descriptors if d.tainted_ns is None]
    surely_live = len({id(d.socket) for d in certain_fds if d.is_open})
    facts: Facts = {
        SOCKETS: {"": meter.measure(len(sockets), bound)},
        OPEN_SOCKETS: {"": meter.measure(len(live), surely_live)},
        KIND: meter.shares(sockets, ((s, kind_text(s)) for s in sockets)),
        BIND: meter.shares(sockets, ((s, role_of(c)) for s in sockets for c in s.binds)),
        BIND_FAILED: meter.calls((_failure(call), call.certain) for call in group.failed),
        LISTEN: meter.role(call for socket in sockets for call in socket.listens),
        LISTEN_FAILED: meter.calls(
            (_failure(call), call.certain)
            for call in calls
            if call.event.call == "listen" and not succeeded(call.event)
        ),
        BACKLOG: meter.shares(sockets, _backlogs(sockets)),
        DUP: meter.role(
            call for call in calls if call.event.call in _DUPS and succeeded(call.event)
        ),
        DESCRIPTORS: {
            "": meter.measure(
                sum(d.is_open for d in descriptors), sum(d.is_open for d in certain_fds)
            )
        },
        EVER: {"": meter.measure(len(descriptors), len(certain_fds))},
        FILES: meter.calls((text, True) for text in _file_calls(group, graph)),
        ORDER: meter.shares(sockets, ((s, _order(s)) for s in sockets)),
        **_options(sockets, meter),
    }
    by_listen = "epoll" in trace.header.unobserved
    serving = serving_of(tuple(sockets), by_listen)
    standing = () if by_listen else tuple(s for s in sockets if s.is_open_to_clients)
    threads = {entry.thread: entry for entry in serving}
    shape = shape_of(serving, standing)
    if shape == "dup" and [group_of_role(one.thread.role) for one in serving] in _ALONE:
        shape = SINGLE
    sure = meter.whole and all(entry.certain for entry in serving)
    facts[SHAPE] = {shape: meter.measure(1, int(sure))} if shape else {}
    facts[SERVED] = meter.calls(
        (role, meter.knows(role) and entry.certain)
        for thread, entry in threads.items()
        for role in [group_of_role(thread.role)]
    )
    facts[REGISTERED] = meter.calls(
        (f"{'|'.join(r.events) or '0'} by {role_of(r.added)}", meter.gapless and r.certain)
        for socket in sockets
        for r in socket.live_registrations()
    )
    return facts


def kind_text(socket: KernelSocket) -> str:
    """Return what was asked of socket(2): `AF_INET SOCK_STREAM|SOCK_NONBLOCK`."""
    flags = "|SOCK_NONBLOCK" if socket.nonblock else ""
    protocol = f" protocol {socket.protocol}" if socket.protocol else ""
    return f"{socket.family} {socket.type}{flags}{protocol}"


def _failure(call: Call) -> str:
    return f"{call.event.errno or 'an unknown error'} by {role_of(call)}"


def _backlogs(sockets: list[KernelSocket]) -> Iterable[tuple[KernelSocket, str]]:
    """Yield for each socket the backlogs of its listen() calls, one after the other."""
    for socket in sockets:
        values = [call.event.args.get("backlog") for call in socket.listens]
        if values and None not in values:
            changes = [str(value) for value, _ in groupby(values)]
            yield socket, ", then ".join(changes)


def _options(sockets: list[KernelSocket], meter: _Meter) -> Facts:
    settings: dict[str, list[tuple[KernelSocket, Setting]]] = defaultdict(list)
    for socket in sockets:
        for item in socket.options:
            name = item.name if isinstance(item.name, str) else f"{item.level}/{item.name}"
            setting = Setting(_value(item), item.value == 1, _PHASES[item.phase])
            settings[OPTION + name].append((socket, setting))
    return {name: meter.shares(sockets, found) for name, found in sorted(settings.items())}


def _value(item: OptionSet) -> str:
    # Of a packet filter older traces have the bytes of a pointer.
    pointer = item.name in FILTERS and isinstance(item.value, str)
    return "…" if pointer or item.name in _DESCRIPTORS else value_text(item.value)


def _file_calls(group: SocketGroup, graph: SocketGraph) -> Iterable[str]:
    for event in graph.file_calls:
        if group.path and event.args.get("path") == group.path and succeeded(event):
            mode = event.args.get("mode")
            yield event.call + ("" if mode is None else f" {mode:04o}")


def _order(socket: KernelSocket) -> str:
    """Return in which order main prepared a socket."""
    steps = [
        _step(call.event)
        for call in socket.calls
        if call.thread.role == "main"
        and call.event.call not in _UNORDERED
        and succeeded(call.event)
    ]
    return ", ".join(step for step, _ in groupby(steps))


def _step(event: Event) -> str:
    return str(event.args["name"]) if event.call == "setsockopt" else event.call


def _times(profile: Profile) -> dict[str, float]:
    """Return when the sockets of listeners came up; Envoy's own do not count."""
    clock = Clock(profile.trace)
    sockets = [
        socket
        for listener in profile.listeners.values()
        if not listener.group.own and "admin" not in listener.group.names
        for socket in listener.group.sockets
    ]
    binds = [call.event.ts_ns for socket in sockets for call in socket.binds]
    listens = [call.event.ts_ns for socket in sockets for call in socket.listens]
    serves = [r.since_ns for socket in sockets for r in socket.live_registrations()]
    found: dict[str, float] = {}
    for name, times, pick in (
        (FIRST_BIND, binds, min),
        (FIRST_LISTEN, listens, min),
        (FIRST_SERVED, serves, min),
        (LAST_SERVED, serves, max),
    ):
        at_ms = clock.ms(pick(times)) if times else None
        if at_ms is not None:
            found[name] = at_ms
    live_s = profile.trace.end.outcome.live_after_s
    if live_s is not None:
        found[LIVE] = round(live_s * 1000, 3)
    return found
