"""The facts of certificates in words, by their codes, see `texts.facts`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from envoyassert.durations import duration_in_words
from envoyassert.events import Event
from envoyassert.fact import Fact
from envoyassert.judge.interval import plural
from envoyassert.option_values import value_text
from envoyassert.texts.values import listed, text

_UNOBSERVED = {
    "completeness": "losses would not have been noticed",
    "results": "whether calls succeeded was not observed",
    "threads": "threads were identified by name only",
    "epoll": "epoll was not observed, so serving is judged by listen()",
    "close": "closing was not observed",
    "address_families": "not every address family was observed",
}
#: What calls do that hide others: behind their names.
HIDES = {
    "unseen": "can act on sockets where no probe looks",
    "filter": "set a filter that can claim that a call succeeded which the kernel never made",
    "files": "moved descriptors to a table of their own, or shared them between processes",
    "32-bit": "by 32-bit numbers are not decoded",
    "x32": "by x32 numbers are not decoded",
    "namespace": "changed the network namespace, and which one it is now is not known",
}
_LISTENS = {True: "listens", False: "does not listen"}


def _lost(fact: Fact) -> str:
    causes = f"{fact['ring_full']} found the ring full"
    if fact["unmarked"]:
        causes += f", {fact['unmarked']} for a process that could not be marked"
    if fact["capped"]:
        causes += f", {fact['capped']} past the limit of records, after which nothing was recorded"
    return f"{fact['number']} of {plural(fact['of'], 'event')} lost ({causes})"


def _unobserved(fact: Fact) -> str:
    # A file may name a channel that is not known here.
    found = "; ".join(_UNOBSERVED.get(c, f"{c} was not observed") for c in fact["channels"])
    assume = ", ".join(fact["assume"])
    return found + (f" (a scenario may assume: [{assume}])" if assume else "")


def _observed(fact: Fact) -> str:
    without = ", ".join(fact["without"])
    return f"every channel that counts; without {without}" if without else "every channel observed"


def _no_tripwire(fact: Fact) -> str:
    several = fact["several_networks"]
    networks = "each network namespace known" if several else "one network namespace"
    return f"no io_uring, no pidfd_getfd, {networks}"


def _hides(fact: Fact) -> str:
    calls = (f"call {call}" if isinstance(call, int) else call for call in fact["calls"])
    return f"{', '.join(calls)} {HIDES[fact['how']]}"


def _kernel_compared(fact: Fact) -> str:
    compared = ", ".join(plural(number, what) for what, number in fact["numbers"].items())
    words = f"{compared} compared"
    if "sockets" not in fact.details:
        return words
    words += f", {plural(fact['sockets'], 'socket')} in its network"
    others = fact["others"]
    if others:
        rest = f" and {len(others) - _SHOWN} more" if others[_SHOWN:] else ""
        words += f", of others than Envoy at that instant: {listed(others[:_SHOWN])}{rest}"
    return words


#: Of the sockets of others.
_SHOWN = 3


def _envoy_compared(fact: Fact) -> str:
    parts = [plural(number, what) for what, number in fact["numbers"].items()]
    words = f"{', '.join(parts)} compared" if parts else "nothing to compare"
    if fact["stated"]:
        words += f"; {plural(fact['stated'], 'listed place')} without a socket, as stated"
    return words


def _open_already(fact: Fact) -> str:
    age = duration_in_words(fact["age_ns"])
    return (
        f"{fact['call']} of thread {fact['tid']} returned {fact['fd']}, which was open already, by "
        f"{fact['opened']} of thread {fact['opened_tid']} {age} before"
    )


def put_there(fact: Fact, name: str = "address") -> str:
    """Return where a foreign socket is, marked if a step of the scenario put it there."""
    mark = " (put there by the scenario)" if fact["by_scenario"] else ""
    return f"{fact[name]}{mark}"


def _side(fact: Fact, name: str) -> str:
    return text(fact[name]) if name in fact.details else "the probe"


def _call_differs(fact: Fact) -> str:
    probe, other = call_words(fact["probe"]), call_words(fact["other"])
    return f"call {fact['number']} of thread {fact['tid']} is {probe} by the probe, {other} by " + (
        text(fact["by"])
    )


def _call_unknown(fact: Fact) -> str:
    by, to = _side(fact, "by"), _side(fact, "to")
    return f"{call_words(fact['call'])} of thread {fact['tid']} by {by} is unknown to {to}"


def call_words(event: Event) -> str:
    """Return a call with its arguments and its result, as two records of it are compared."""
    shown = ", ".join(f"{name}={_value(value)}" for name, value in event.args.items())
    return f"{event.call}({shown}) = {event.ret if event.errno is None else event.errno}"


def _value(value: object) -> str:
    return "|".join(map(str, value)) if isinstance(value, list) else str(value)


def _option_differs(fact: Fact) -> str:
    kernel, trace = value_text(fact["kernel"]), value_text(fact["trace"])
    return f"descriptor {fact['fd']} has {fact['name']} {kernel}, the trace says {trace}"


CHECKS: Mapping[str, str | Callable[[Fact], str]] = {
    "first_of": "{first} (and {more} more)",
    "not_live": "not a live trace",
    "marked": "traced from its exec",
    "not_marked": "no process was seen to carry the run id at its exec",
    "no_exec": "no process was seen from its exec on",
    # received, not skipped
    "claims_to_be_whole": "a trace that claims to be whole, without counters",
    "events_lost": _lost,
    "strace_ended": "strace ended before Envoy",
    "log_unended": "the log has no end, or does not count the events of each CPU",
    "not_drained": "the ring was not read to its end",
    "stopped_at_each": lambda f: (
        f"strace stopped Envoy at each call, {plural(f['number'], 'event')}"
    ),
    "received": lambda f: f"all of {plural(f['number'], 'event')} received",
    "not_understood_lines": lambda f: f"{plural(f['number'], 'line')} of strace not understood",
    "every_line_read": "every line read",
    "skipped": lambda f: f"the kernel skipped the probe {plural(f['number'], 'time')}",
    "none_skipped": "the kernel skipped no probe",
    # channels and hidden paths
    "unobserved": _unobserved,
    "assumed": "taken for granted: {words}",
    "observed": _observed,
    "not_watched": "not watched",
    "no_tripwire": _no_tripwire,
    "hides": _hides,
    # the graph against itself
    "adds_up": "descriptors add up",
    "closed_by_kernel": "the kernel closed the listening socket of {address}, but no close of its "
    "last descriptor was seen",
    "open_already": _open_already,
    "two_processes": "thread {tid} belongs to two processes",
    "birth_unseen": "{call} on descriptor {fd}, whose birth was not seen",
    "bind_unread": "the address of a bind could not be read",
    "bound_already": "bind on descriptor {fd}, which was bound already",
    "option_unread": "the value of {name} could not be read",
    "mask_unread": "the mask of an epoll_ctl could not be read",
    "no_known_epoll": "{call} on descriptor {fd}, which is no known epoll",
    "received_before_sent": "descriptors were received before they were sent: which ones is not "
    "known",
    "several_on_their_way": "several descriptors are on their way at once: which one arrived is "
    "not known",
    "more_passed_than_recorded": "{call} passed more descriptors than its record holds",
    "another_kernel_socket": "descriptor {fd} is another kernel socket than its history says",
    "times_out_of_order": "the events are not in the order of their times",
    "too_few_missing": "CPU {cpu} dropped {dropped} records, but only {missing} are missing",
    "older_than_run": "the first event is {ns} ns older than the run",
    "newer_than_run": "the last event is {ns} ns newer than the run's end",
    "record_again": "record {seq} of CPU {cpu} came more than once",
    "too_many_records": "CPU {cpu} emitted {emitted} records, but number {seq} was received",
    # pairs, phases, the file
    "no_result": "{call} of thread {tid} has no result",
    "beginning_unseen": "the beginning of thread {tid} was not seen",
    "paired": lambda f: (
        f"{plural(f['calls'], 'call')} with a result, "
        f"{plural(f['waiting'], 'thread')} waiting in an epoll at the end"
    ),
    "phases_in_order": lambda f: f"{plural(f['number'], 'phase')} in order",
    "begins_elsewhere": "the phase {phase} does not begin where {before} ended",
    "ends_before_it_begins": "the phase {phase} ends before it begins",
    "ends_before_step": "the trace ends before the step {step}, and does not say why",
    "phase_out_of_place": "the phase {phase} stands where {wanted} should",
    "no_such_step": "no step is called {phase}",
    "format": "the file is of the format {format}, which does not show whether lines were left out "
    "or changed (record the run again)",
    "excerpt_of": lambda f: (
        f"{f['kept']} of {plural(f['events'], 'event')} are kept, to show a failure"
    ),
    # accounts
    "no_account": "not asked",
    "no_kernel_account": "no account of the kernel, though Envoy was running",
    "could_not_be_asked": "could not be asked: {said}",
    "process_had_ended": "the process had ended",
    "account_error": "{said}",
    "network_not_asked": "{said}",
    "filter_may_answer": "a seccomp filter may have answered calls in the kernel's place",
    "at_end_of_phase": "at the end of {phase}: {found}",
    "kernel_compared": _kernel_compared,
    "socket_of_others": lambda f: f"{f['protocol']} {put_there(f)}",
    "compared_but": lambda f: f"{text(f['found'])}; not compared: {'; '.join(map(text, f['but']))}",
    "sockets_not_compared": lambda f: f"{text(f['why'])} ({plural(f['sockets'], 'socket')})",
    "options_not_returned": lambda f: (
        f"{plural(f['number'], 'option value')} that the kernel does not return "
        f"({', '.join(f['names'])})"
    ),
    "not_asked_for": lambda f: f"{plural(f['number'], f['of'])} that were not asked for",
    "call_in_flight": "a call on {socket} was in flight when the kernel was asked, or did not do "
    "what it says",
    "differs_in_flight": "{differs}, by a call in flight or by none",
    "given_out_again": "descriptor {fd} was given out again while the kernel was asked",
    "process_not_asked": "process {pid} was not asked",
    "family_not_asked": "sockets of {family} are not asked for",
    "no_socket_at": "the kernel shows no socket at descriptor {fd}, the trace has {socket} there",
    "unknown_listening": "descriptor {fd} listens on {address}, unknown to the trace",
    "address_differs": "descriptor {fd} is bound to {kernel}, the trace says {trace}",
    "listening_differs": lambda f: (
        f"descriptor {f['fd']} {_LISTENS[f['listens']]}, against the trace: it "
        f"{_LISTENS[not f['listens']]}"
    ),
    "option_differs": _option_differs,
    "several_for_kernel": "descriptors of {socket} are several sockets for the kernel (inodes "
    "{inodes}), the trace has one",
    "one_for_kernel": "the kernel has one socket (inode {inode}) where the trace has two",
    "not_in_epoll": "the kernel has descriptor {fd} not in epoll {epfd}, the trace has",
    "in_epoll": "the kernel has descriptor {fd} in epoll {epfd}, the trace has not",
    "mask_differs": lambda f: (
        f"the kernel has descriptor {f['fd']} in epoll {f['epfd']} with the mask "
        f"{f['kernel']:#x}, the trace says {' '.join(f['trace'])}"
    ),
    "not_in_sock_diag": "{socket} listens by the trace, sock_diag does not list it",
    "sock_diag_address": "sock_diag has inode {inode} at {sock_diag}, getsockname() at "
    "{getsockname}",
    "cookie_differs": "{socket} has the cookie {sock_diag} by sock_diag, {getsockopt} by "
    "getsockopt()",
    "backlog_differs": "the kernel has the backlog {kernel} for {socket}, the trace {trace} "
    "(listen() with {requested}, somaxconn {somaxconn})",
    "initializing_again": "Envoy says that its state is {state}, /ready said LIVE before",
    "said_without_socket": "Envoy says that its listener {listener} is at {address}, the trace has "
    "no socket there",
    "socket_not_said": "the trace has a socket that listens on {address}, Envoy says nothing of a "
    "listener there",
    "workers_differ": "Envoy says that it has {envoy} workers, the trace has {trace}",
    "envoy_compared": _envoy_compared,
    # another tracer
    "calls_compared": lambda f: f"{plural(f['number'], 'call')} compared one by one",
    "not_understood": "not understood: {said}",
    "call_differs": _call_differs,
    "call_unknown": _call_unknown,
    "wait_unknown": lambda f: (
        f"thread {f['tid']} waits on epoll {f['epfd']} by {_side(f, 'by')}, {_side(f, 'to')} does "
        "not know of it"
    ),
    "task_unknown": lambda f: (
        f"{f['call']} of {f['what']} by {_side(f, 'by')} is unknown to {_side(f, 'to')}"
    ),
}
