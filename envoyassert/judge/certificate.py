"""The certificate: is the trace whole, and does the kernel agree with it?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from envoyassert.accounts import SecondWitness
from envoyassert.calls import AT_ENTRY, KERNEL_FACTS
from envoyassert.events import Event
from envoyassert.graph.gaps import why_tripwire
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.account_checks import (
    ENVOY_CHECK,
    KERNEL_CHECK,
    check_accounts,
    more,
    uncompared,
    with_uncompared,
)
from envoyassert.judge.excerpt import excerpt_check
from envoyassert.judge.interval import plural
from envoyassert.judge.reconcile import reconcile
from envoyassert.judge.verdict import Certificate, Check
from envoyassert.scenario.selector import Selector
from envoyassert.trace import FORMAT, HISTORY, STARTUP, Phase, Trace

#: What each member of a scenario's `assume` stands in for.
ASSUMABLE = {
    "complete": ("completeness", "close", "address_families"),
    "calls_succeeded": ("results",),
    "comm_is_role": ("threads",),
}
_UNOBSERVED = {
    "completeness": "losses would not have been noticed",
    "results": "whether calls succeeded was not observed",
    "threads": "threads were identified by name only",
    "epoll": "epoll was not observed, so serving is judged by listen()",
    "close": "closing was not observed",
    "address_families": "not every address family was observed",
}

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
        return Check("marked", None, "not a live trace")
    if trace.end.marked:
        return Check("marked", True, "traced from its exec")
    return Check("marked", False, "no process was seen to carry the run id at its exec")


def _received(trace: Trace, graph: SocketGraph, live: bool) -> Check:
    if not live and not {"completeness", HISTORY} & set(trace.header.unobserved):
        return Check("received", False, "a trace that claims to be whole, without counters")
    if not live:
        return Check("received", None, "not counted")
    by_strace = trace.header.tracer == "strace"
    dropped = sum(counters.dropped for counters in trace.end.cpus)
    emitted = sum(counters.emitted for counters in trace.end.cpus)
    missing = sum(gap.count for gap in graph.gaps)
    if missing or dropped:
        unmarked = sum(counters.unmarked for counters in trace.end.cpus)
        capped = sum(counters.capped for counters in trace.end.cpus)
        causes = f"{dropped - unmarked - capped} found the ring full"
        if unmarked:
            causes += f", {unmarked} for a process that could not be marked"
        if capped:
            causes += f", {capped} past the limit of records, after which nothing was recorded"
        detail = f"{missing} of {plural(emitted, 'event')} lost ({causes})"
        return Check("received", False, detail)
    if not trace.end.drained:
        source = "strace ended before Envoy" if by_strace else "the ring was not read to its end"
        return Check("received", False, source)
    if by_strace:
        detail = f"strace stopped Envoy at each call, {plural(emitted, 'event')}"
        return Check("received", True, detail)
    return Check("received", True, f"all of {plural(emitted, 'event')} received")


def _skipped(trace: Trace, live: bool) -> Check:
    if not live:
        return Check("not skipped", None, "not counted")
    if trace.header.tracer == "strace":
        lost = trace.end.misses
        detail = f"{plural(lost, 'line')} of strace not understood" if lost else "every line read"
        return Check("not skipped", not lost, detail)
    if trace.end.misses:
        detail = f"the kernel skipped the probe {plural(trace.end.misses, 'time')}"
        return Check("not skipped", False, detail)
    return Check("not skipped", True, "the kernel skipped no probe")


def _channels(trace: Trace, assume: tuple[str, ...]) -> Check:
    name = CHANNELS_CHECK
    covered = {channel for word in assume for channel in ASSUMABLE[word]}
    unobserved = trace.header.unobserved
    open_channels = [c for c in unobserved if c not in covered and c not in BEARABLE]
    if open_channels:
        words = [word for word, stands in ASSUMABLE.items() if set(stands) & set(open_channels)]
        # A file may name a channel that is not known here.
        detail = "; ".join(_UNOBSERVED.get(c, f"{c} was not observed") for c in open_channels)
        advice = f" (a scenario may assume: [{', '.join(words)}])" if words else ""
        return Check(name, False, f"{detail}{advice}")
    if covered & set(unobserved):
        return Check(name, True, f"taken for granted: {', '.join(assume)}")
    if unobserved:
        return Check(name, True, f"every channel that counts; without {', '.join(unobserved)}")
    return Check(name, True, "every channel observed")


def _tripwires(graph: SocketGraph, live: bool) -> Check:
    if not live and not graph.tripwires:
        return Check("no hidden path", None, "not watched")
    if not graph.tripwires:
        several = any(socket.netns for socket in graph.sockets)
        networks = "each network namespace known" if several else "one network namespace"
        return Check("no hidden path", True, f"no io_uring, no pidfd_getfd, {networks}")
    hidden: dict[str, set[str]] = {}
    for event in graph.tripwires:
        hidden.setdefault(why_tripwire(event), set()).add(_tripwire_name(event))
    moved = hidden.pop("", None)
    reasons = [f"{', '.join(sorted(names))} {why}" for why, names in sorted(hidden.items())]
    if moved:
        reasons.append(
            f"{', '.join(sorted(moved))} changed the network namespace, and which one it is now "
            "is not known"
        )
    return Check("no hidden path", False, "; ".join(reasons))


def _tripwire_name(event: Event) -> str:
    return f"call {event.args['number']}" if event.call == "other_table" else event.call


def _consistent(graph: SocketGraph) -> Check:
    if not graph.inconsistencies:
        return Check("consistent", True, "descriptors add up")
    more = len(graph.inconsistencies) - 1
    return Check(
        "consistent", False, graph.inconsistencies[0] + (f" (and {more} more)" if more else "")
    )


def _paired(trace: Trace, graph: SocketGraph, live: bool) -> Check:
    """Check that every call has its return, or is a wait, and every thread its beginning."""
    name = "paired"
    if not live:
        return Check(name, None, "not a live trace")
    calls = [event for event in trace.events if event.call not in KERNEL_FACTS]
    waits = [event for event in calls if event.call in AT_ENTRY]
    unreturned = [e for e in calls if e.ret is None and e.call not in AT_ENTRY]
    if unreturned:
        first = unreturned[0]
        return Check(
            name, False, f"{first.call} of thread {first.tid} has no result{more(unreturned)}"
        )
    born = {event.args["child_tid"] for event in trace.events if event.call == "fork"}
    born |= {event.tid for event in trace.events if event.call == "exec"}
    unborn = sorted(graph.threads.keys() - born)
    if unborn:
        return Check(name, False, f"the beginning of thread {unborn[0]} was not seen{more(unborn)}")
    pending = {event.tid for event in waits if graph.threads[event.tid].exited_ns is None}
    return Check(
        name,
        True,
        f"{plural(len(calls) - len(waits), 'call')} with a result, "
        f"{plural(len(pending), 'thread')} waiting in an epoll at the end",
    )


def _steps(trace: Trace) -> tuple[Check, ...]:
    """Check that the phases are those of the scenario's steps; nothing where there are neither."""
    phases, steps = trace.phases, trace.header.steps
    if not phases and not steps:
        return ()
    said = _amiss_in_phases(phases, steps)
    return (Check(STEPS_CHECK, not said, said or f"{plural(len(phases), 'phase')} in order"),)


def _amiss_in_phases(phases: Sequence[Phase], steps: Sequence[str]) -> str:
    for before, phase in pairwise(phases):
        if phase.begin_ns != before.end_ns + 1:
            return f"the phase {phase.name} does not begin where {before.name} ended"
    for phase in phases:
        if phase.end_ns < phase.begin_ns:
            return f"the phase {phase.name} ends before it begins"
    if not steps:
        return ""
    wanted = (STARTUP, *steps)
    for number, name in enumerate(wanted):
        if number == len(phases):
            over = bool(phases) and bool(phases[-1].missed or phases[-1].problem)
            return "" if over else f"the trace ends before the step {name}, and does not say why"
        if phases[number].name != name:
            return f"the phase {phases[number].name} stands where {name} should"
    return "" if len(phases) == len(wanted) else f"no step is called {phases[len(wanted)].name}"


def _format(trace: Trace) -> tuple[Check, ...]:
    """Check that a file would have shown what was left out of it; nothing if it would."""
    if trace.header.format == FORMAT:
        return ()
    detail = (
        f"the file is of the format {trace.header.format}, which does not show whether lines were "
        "left out or changed (record the run again)"
    )
    return (Check(FORMAT_CHECK, False, detail),)


def _second(trace: Trace, second: SecondWitness) -> Check:
    """Check that another tracer recorded the same calls."""
    found = [f"not understood: {problem}" for problem in second.problems]
    differing, compared = reconcile(trace, second)
    found += differing
    if found:
        return Check(SECOND_CHECK, False, found[0] + more(found))
    return Check(SECOND_CHECK, True, f"{plural(compared, 'call')} compared one by one")
