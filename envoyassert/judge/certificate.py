"""The certificate: is the trace whole, and does the kernel agree with it?

Two records of one run are held against each other call by call, thread by thread. The second tracer
is read after the probe's records, so each side may have, at the end of a thread, what the other
cannot have yet: a call of the second that returned after the probe's records were read, and on
either side one call that was in flight. Everything else must be the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from envoyassert.accounts import SecondWitness
from envoyassert.calls import AT_ENTRY, KERNEL_FACTS
from envoyassert.calls.hidden import OTHER_TABLE
from envoyassert.events import Event
from envoyassert.fact import Fact, Quote, first_of
from envoyassert.graph.gaps import why_tripwire
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.account_checks import (
    ENVOY_CHECK,
    KERNEL_CHECK,
    check_accounts,
    uncompared,
    with_uncompared,
)
from envoyassert.judge.left_open import excerpt_check
from envoyassert.judge.values import both
from envoyassert.judge.verdict import Certificate, Check
from envoyassert.scenario.selector import Selector
from envoyassert.trace import FORMAT, HISTORY, STARTUP, Phase, Trace

_NO_RESULT = KERNEL_FACTS | AT_ENTRY

#: What each member of a scenario's `assume` stands in for.
ASSUMABLE = {
    "complete": ("completeness", "close", "address_families"),
    "calls_succeeded": ("results",),
    "comm_is_role": ("threads",),
}

#: Why not all is there, by what recorded it.
_UNREAD = {"strace": Fact("strace_ended"), "bpftrace": Fact("log_unended")}

#: Checks whose failure means that events are missing, so that only absence is in doubt.
LOSSES = ("marked", "received", "not skipped", "paired")

#: Checks whose failure means that the graph is not what the kernel had.
SECOND_CHECK = "strace agrees"
STEPS_CHECK = "every step"
CONTRADICTIONS = ("no hidden path", "consistent", STEPS_CHECK, KERNEL_CHECK, SECOND_CHECK)

#: Channels without which everything else can still be judged; each has words of its own.
BEARABLE = frozenset({"epoll", "socket_states", "stacks", "durations", HISTORY})

#: Checks whose failure leaves no PASS, but takes away no FAIL.
FORMAT_CHECK = "whole file"
CONTESTED = (ENVOY_CHECK, FORMAT_CHECK)

#: Name of the check whose failure leaves nothing that can be said at all.
CHANNELS_CHECK = "every channel"


def certify(
    trace: Trace,
    graph: SocketGraph,
    assume: tuple[str, ...] = (),
    unbacked: Sequence[Selector] = (),
) -> Certificate:
    """Certify a trace.

    Args:
        trace: the trace.
        graph: what it folds into.
        assume: what the scenario takes for granted.
        unbacked: the listeners that it states to be listed without a socket.
    """
    live = bool(trace.end.cpus)
    second = () if trace.second is None else (_second(trace, trace.second),)
    # With steps the accounts are those of the phases.
    accounts = check_accounts(trace, graph, owed=not trace.phases, unbacked=unbacked)
    comparisons = [] if accounts.comparison is None else [accounts.comparison]
    open_ = uncompared(comparisons)
    return Certificate(
        (
            _marked(trace, live),
            _received(trace, graph, live),
            _skipped(trace, live),
            _channels(trace, assume),
            _tripwires(graph, live),
            _consistent(graph),
            _paired(trace, graph, live),
            *_steps(trace),
            with_uncompared(accounts.kernel, open_, comparisons),
            accounts.envoy,
            *second,
            *_format(trace),
            *excerpt_check(trace),
        ),
        {socket.number: why for socket, why in open_.items()},
    )


def _marked(trace: Trace, live: bool) -> Check:
    if not live:
        return Check("marked", None, Fact("not_live"))
    if trace.end.marked:
        return Check("marked", True, Fact("marked"))
    by_bpftrace = trace.header.tracer == "bpftrace"
    return Check("marked", False, Fact("no_exec" if by_bpftrace else "not_marked"))


def _received(trace: Trace, graph: SocketGraph, live: bool) -> Check:
    name = "received"
    if not live and not {"completeness", HISTORY} & set(trace.header.unobserved):
        return Check(name, False, Fact("claims_to_be_whole"))
    if not live:
        return Check(name, None, Fact("not_counted"))
    by_strace = trace.header.tracer == "strace"
    dropped = sum(counters.dropped for counters in trace.end.cpus)
    emitted = sum(counters.emitted for counters in trace.end.cpus)
    missing = sum(gap.count for gap in graph.gaps)
    if missing or dropped:
        unmarked = sum(counters.unmarked for counters in trace.end.cpus)
        capped = sum(counters.capped for counters in trace.end.cpus)
        ring_full = dropped - unmarked - capped
        causes = {"ring_full": ring_full, "unmarked": unmarked, "capped": capped}
        return Check(name, False, Fact("events_lost", number=missing, of=emitted, **causes))
    if not trace.end.drained:
        return Check(name, False, _UNREAD.get(trace.header.tracer, Fact("not_drained")))
    return Check(name, True, Fact("stopped_at_each" if by_strace else "received", number=emitted))


def _skipped(trace: Trace, live: bool) -> Check:
    name = "not skipped"
    if not live:
        return Check(name, None, Fact("not_counted"))
    lost = trace.end.misses
    if trace.header.tracer == "strace":
        found = Fact("not_understood_lines", number=lost) if lost else Fact("every_line_read")
        return Check(name, not lost, found)
    return Check(name, not lost, Fact("skipped", number=lost) if lost else Fact("none_skipped"))


def _channels(trace: Trace, assume: tuple[str, ...]) -> Check:
    name = CHANNELS_CHECK
    covered = {channel for word in assume for channel in ASSUMABLE[word]}
    unobserved = trace.header.unobserved
    lacking = tuple(c for c in unobserved if c not in covered and c not in BEARABLE)
    if lacking:
        words = tuple(word for word, stands in ASSUMABLE.items() if set(stands) & set(lacking))
        return Check(name, False, Fact("unobserved", channels=lacking, assume=words))
    if covered & set(unobserved):
        return Check(name, True, Fact("assumed", words=assume))
    return Check(name, True, Fact("observed", without=tuple(unobserved)))


def _tripwires(graph: SocketGraph, live: bool) -> Check:
    name = "no hidden path"
    if not live and not graph.tripwires:
        return Check(name, None, Fact("not_watched"))
    if not graph.tripwires:
        several = any(socket.netns for socket in graph.sockets)
        return Check(name, True, Fact("no_tripwire", several_networks=several))
    hidden: dict[str, set[str | int]] = {}
    for event in graph.tripwires:
        hidden.setdefault(why_tripwire(event), set()).add(_tripwire_name(event))
    # Where nothing hides, the namespace that a call changed to is not known.
    hides = [
        Fact("hides", how=how or "namespace", calls=tuple(sorted(calls, key=str)))
        for how, calls in sorted(hidden.items(), key=lambda item: (not item[0], item[0]))
    ]
    return Check(name, False, both(hides))


def _tripwire_name(event: Event) -> str | int:
    """Return a call by its name, or by its number in another table."""
    return OTHER_TABLE.of(event)["number"] if event.call == OTHER_TABLE.name else event.call


def _consistent(graph: SocketGraph) -> Check:
    if not graph.inconsistencies:
        return Check("consistent", True, Fact("adds_up"))
    return Check("consistent", False, first_of(graph.inconsistencies))


def _paired(trace: Trace, graph: SocketGraph, live: bool) -> Check:
    """Check that every call has its return, or is a wait, and every thread its beginning."""
    name = "paired"
    if not live:
        return Check(name, None, Fact("not_live"))
    apart = [event for event in trace.events if event.call in _NO_RESULT]
    unreturned = [e for e in trace.events if e.ret is None and e.call not in _NO_RESULT]
    if unreturned:
        found = [Fact("no_result", call=event.call, tid=event.tid) for event in unreturned]
        return Check(name, False, first_of(found))
    born = {event.args["child_tid"] for event in apart if event.call == "fork"}
    born |= {event.tid for event in apart if event.call == "exec"}
    unborn = sorted(graph.threads.keys() - born)
    if unborn:
        return Check(name, False, first_of([Fact("beginning_unseen", tid=tid) for tid in unborn]))
    waiting = {event.tid for event in apart if event.call in AT_ENTRY}
    pending = [tid for tid in waiting if graph.threads[tid].exited_ns is None]
    found_ = Fact("paired", calls=len(trace.events) - len(apart), waiting=len(pending))
    return Check(name, True, found_)


def _steps(trace: Trace) -> tuple[Check, ...]:
    """Check that the phases are those of the scenario's steps; nothing where there are neither."""
    phases, steps = trace.phases, trace.header.steps
    if not phases and not steps:
        return ()
    wrong = _wrong_in_phases(phases, steps)
    return (
        Check(STEPS_CHECK, wrong is None, wrong or Fact("phases_in_order", number=len(phases))),
    )


def _wrong_in_phases(phases: Sequence[Phase], steps: Sequence[str]) -> Fact | None:
    for before, phase in pairwise(phases):
        if phase.begin_ns != before.end_ns + 1:
            return Fact("begins_elsewhere", phase=phase.name, before=before.name)
    for phase in phases:
        if phase.end_ns < phase.begin_ns:
            return Fact("ends_before_it_begins", phase=phase.name)
    if not steps:
        return None
    wanted = (STARTUP, *steps)
    for number, name in enumerate(wanted):
        if number == len(phases):
            over = bool(phases) and bool(phases[-1].missed or phases[-1].problem)
            return None if over else Fact("ends_before_step", step=name)
        if phases[number].name != name:
            return Fact("phase_out_of_place", phase=phases[number].name, wanted=name)
    return (
        None if len(phases) == len(wanted) else Fact("no_such_step", phase=phases[len(wanted)].name)
    )


def _format(trace: Trace) -> tuple[Check, ...]:
    """Check that a file would have shown what was left out of it; nothing if it would."""
    if trace.header.format == FORMAT:
        return ()
    return (Check(FORMAT_CHECK, False, Fact("format", format=trace.header.format)),)


def _second(trace: Trace, second: SecondWitness) -> Check:
    """Check that another tracer recorded the same calls."""
    found = [Fact("not_understood", said=Quote(problem)) for problem in second.problems]
    differing, compared = reconcile(trace, second)
    found += differing
    if found:
        return Check(SECOND_CHECK, False, first_of(found))
    return Check(SECOND_CHECK, True, Fact("calls_compared", number=compared))


#: The kernel's own pointer, which no system call shows, and a time, which no two tracers measure
#: equally.
_NOT_COMPARED = frozenset({"sk", "age_ns"})


def reconcile(trace: Trace, second: SecondWitness) -> tuple[list[Fact], int]:
    """Compare the probe's record with another tracer's.

    Arguments that the second does not show as values are not compared.

    Args:
        trace: the probe's.
        second: the other's.

    Returns:
        What differs, with the call and both sides, and how many calls there were.
    """
    ours, theirs = _by_thread(trace.events), _by_thread(second.events)
    found: list[Fact] = []
    compared = 0
    for tid in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(tid, []), theirs.get(tid, [])
        compared += min(len(mine), len(other))
        difference = _thread(tid, mine, other, second)
        if difference is not None:
            found.append(difference)
    found += _waits(trace.events, second)
    found += _tasks(trace.events, second)
    return found, compared


def _by_thread(events: Iterable[Event]) -> dict[int, list[Event]]:
    found: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event.call not in KERNEL_FACTS and event.call not in AT_ENTRY:
            found[event.tid].append(event)
    return found


def _thread(tid: int, mine: list[Event], other: list[Event], second: SecondWitness) -> Fact | None:
    """Return the first difference between the calls of one thread, None if there is none."""
    for index, (event, shown) in enumerate(zip(mine, other, strict=False), 1):
        if not _same(event, shown):
            sides = {"probe": event, "other": shown, "by": second.by}
            return Fact("call_differs", number=index, tid=tid, **sides)
    common = min(len(mine), len(other))
    if len(mine) > common + 1:
        return Fact("call_unknown", call=mine[common], tid=tid, to=second.by)
    late = [event for event in other[common:] if event.ts_ns > second.until_ns]
    missing = len(other) - common - len(late)
    # A close is recorded with the time of its beginning.
    if missing > 1 or (missing == 1 and other[common].call != "close"):
        return Fact("call_unknown", call=other[common], tid=tid, by=second.by)
    return None


def _same(event: Event, shown: Event) -> bool:
    if (event.call, event.ret) != (shown.call, shown.ret):
        return False
    for name, value in shown.args.items():
        if (
            value is None
            or name in _NOT_COMPARED
            or (event.call == "epoll_ctl" and _is_irrelevant(event, name))
        ):
            continue
        mine = event.args.get(name)
        if mine != value and not (mine is None and event.fault):
            return False
    return True


def _is_irrelevant(event: Event, name: str) -> bool:
    # EPOLL_CTL_DEL ignores the mask: what lies there is anything (epoll_ctl(2)).
    return name == "events" and event.args["op"] == "EPOLL_CTL_DEL"


def _waits(events: list[Event], second: SecondWitness) -> list[Fact]:
    """Compare who waits on which epoll; a wait is recorded at its beginning."""
    mine = {(e.tid, e.args["epfd"]) for e in events if e.call in AT_ENTRY}
    other = {
        (e.tid, e.args["epfd"])
        for e in second.events
        if e.call in AT_ENTRY and e.ts_ns <= second.until_ns
    }
    late = {
        (e.tid, e.args["epfd"])
        for e in second.events
        if e.call in AT_ENTRY and e.ts_ns > second.until_ns
    }
    return [
        *(
            Fact("wait_unknown", tid=tid, epfd=epfd, to=second.by)
            for tid, epfd in sorted(mine - other - late)
        ),
        *(
            Fact("wait_unknown", tid=tid, epfd=epfd, by=second.by)
            for tid, epfd in sorted(other - mine)
        ),
    ]


def _tasks(events: list[Event], second: SecondWitness) -> list[Fact]:
    """Compare executables and threads."""
    found = []
    for call, name in (("exec", "filename"), ("fork", "child_tid")):
        mine = {e.args[name] for e in events if e.call == call}
        other = {e.args[name] for e in second.events if e.call == call}
        early = {
            e.args[name] for e in second.events if e.call == call and e.ts_ns <= second.until_ns
        }
        unknown = {"call": call}
        found += [Fact("task_unknown", what=one, to=second.by, **unknown) for one in mine - other]
        found += [Fact("task_unknown", what=one, by=second.by, **unknown) for one in early - mine]
    return sorted(found, key=lambda fact: (fact["call"], str(fact["what"])))
