"""Recorded traces of a real Envoy, what is right and wrong of them, and what can happen to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from pydantic import TypeAdapter

from envoyassert.events import Event
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.judge import judge
from envoyassert.judge.values import Fact
from envoyassert.judge.verdict import Verdict
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.selector import Selector
from envoyassert.texts.facts import text
from envoyassert.trace import Trace
from envoyassert.trace_file import read_trace
from envoyassert.words.registry import Expectation

ROOT = Path(__file__).parents[2]
RECORDED = ("reuse_port_on", "reuse_port_off", "istio_sidecar")

Items = list[tuple[int, Conditional]]

#: Facts about tasks: they say who a thread is, so nothing commutes with them.
_TASKS = frozenset({"exec", "fork", "exit", "signal", "rename", "tcp_state"})
#: Calls after which a number belongs to something else, or whose descriptors are many.
_BIRTHS_AND_DEATHS = frozenset(
    {"socket", "socketpair", "dup", "dup2", "dup3", "fcntl", "close", "close_range", "accept"}
    | {"accept4", "epoll_create1", "sendmsg", "recvmsg", "setns", "unshare"}
)


def recorded(name: str) -> Trace:
    """Return a recorded trace by the name of its scenario."""
    return read_trace(ROOT / "tests" / "traces" / f"{name}-1.40.0.ndjson")


def expectations(name: str, trace: Trace, port: int | None = None) -> Items:
    """Return a scenario's expectations for two workers, its listener's port changed if asked."""
    plans = expand(load_scenario(ROOT / "scenarios" / f"{name}.yaml"))
    (plan,) = (plan for plan in plans if plan.concurrency == 2)
    items: Items = list(plan.in_rundir(trace.header.rundir).expectations)
    if port is None:
        return items
    moved: Items = []
    for index, item in items:
        selector = getattr(item, "listener", None)
        if selector is not None and selector.port is not None:
            item = item.model_copy(update={"listener": Selector(port=port)})
        moved.append((index, item))
    return moved


def right_and_wrong(name: str, trace: Trace) -> tuple[Items, Items]:
    """Return expectations that hold of a recorded trace, and such of which many atoms do not."""
    # What the other reuse_port scenario says of this trace's listener is wrong in many atoms.
    other = "reuse_port_off" if name == "reuse_port_on" else "reuse_port_on"
    port = 10000 if name == "reuse_port_on" else 15006
    return expectations(name, trace), expectations(other, trace, port)


def proven(trace: Trace) -> tuple[int, Items]:
    """Return the index of a bind, and an expectation that its own arguments fulfil."""
    proof = next(i for i, e in enumerate(trace.events) if e.call == "bind" and e.ok)
    address = str(trace.events[proof].args["address"])
    item = {"calls": {"call": "bind", "args": {"address": address}}}
    return proof, [(0, TypeAdapter(Expectation).validate_python(item))]


def judged(
    trace: Trace, items: Sequence[tuple[int, Conditional]], graph: SocketGraph | None = None
) -> Verdict:
    """Judge a trace of two workers; a fault of ours is no answer."""
    verdict = judge(trace, items, workers=2, graph=graph)
    faults = [
        finding.reason
        for finding in verdict.findings
        if isinstance(finding.reason, Fact) and finding.reason.code == "fault"
    ]
    if faults:
        raise AssertionError(text(faults[0]))
    return verdict


def without(trace: Trace, lost: set[int]) -> Trace:
    """Return the trace as it is when the ring was full for some events: the counters know."""
    dropped = Counter(trace.events[index].cpu for index in lost)
    counters = tuple(replace(c, dropped=dropped[c.cpu]) for c in trace.end.cpus)
    kept = [event for index, event in enumerate(trace.events) if index not in lost]
    return Trace(trace.header, kept, replace(trace.end, cpus=counters), trace.witness)


def some(trace: Trace, chance: Random) -> set[int]:
    """Return indexes of up to 20 events: neighbours, or from anywhere."""
    count = chance.randint(1, 20)
    if chance.random() < 0.5:
        return set(chance.sample(range(len(trace.events)), count))
    start = chance.randrange(len(trace.events) - count)
    return set(range(start, start + count))


def with_repeated(trace: Trace, chance: Random) -> Trace:
    """Return the trace with one record that came twice."""
    events = list(trace.events)
    index = chance.randrange(len(events))
    events.insert(chance.randint(index, len(events)), events[index])
    return Trace(trace.header, events, trace.end, trace.witness)


def swapped(trace: Trace, index: int) -> Trace:
    """Return the trace as if an event and the next one had happened the other way round.

    Each takes the other's time, and its place among the records where they share a CPU.
    """
    events = list(trace.events)
    first, second = events[index], events[index + 1]
    places = (first.seq, second.seq) if first.cpu != second.cpu else (second.seq, first.seq)
    events[index] = _moved(second, first.ts_ns, places[1])
    events[index + 1] = _moved(first, second.ts_ns, places[0])
    return Trace(trace.header, events, trace.end, trace.witness)


def _moved(event: Event, ts_ns: int, seq: int) -> Event:
    return Event(
        ts_ns, event.pid, event.tid, event.call, event.ret, event.args, event.cpu, seq,
        event.fault, event.stack,
    )  # fmt: skip


def swappable(trace: Trace) -> list[int]:
    """Return where neighbours of two threads could as well have come the other way round.

    They must have no descriptor in common, and neither may make, close or name anything.
    """
    return [
        index
        for index, (one, two) in enumerate(zip(trace.events, trace.events[1:], strict=False))
        if one.tid != two.tid
        and not {one.call, two.call} & (_TASKS | _BIRTHS_AND_DEATHS)
        and not _descriptors(one) & _descriptors(two)
    ]


def _descriptors(event: Event) -> set[int]:
    return {event.args[key] for key in ("fd", "epfd") if key in event.args}
