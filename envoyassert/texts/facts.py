"""The facts of findings in words: every code that there is, with its text.

A text is a template, in which a name in braces is the words of that detail, or a function of the
fact. The list of codes is closed: a test holds it against those that judging uses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoyassert.judge.interval import plural
from envoyassert.judge.values import Fact
from envoyassert.names import signal_text
from envoyassert.scenario.invariant import INVARIANTS
from envoyassert.texts import fact_words as w
from envoyassert.texts.certificate import CHECKS, put_there
from envoyassert.texts.values import listed, options_words, stack_words, text, threads_words
from envoyassert.trace import UNKNOWN_STATUS
from envoyassert.words.listener import WORDS

#: Of a template each detail is put in by its words.
FACTS: dict[str, str | Callable[[Fact], str]] = {
    "fault": "{said}",
    "several": lambda f: "; ".join(map(text, f["reasons"])),
    "none": "none",
    "not_judged": "not judged",
    "not_known": "not known",
    "not_counted": "not counted",
    # why something is INCONCLUSIVE
    "not_shown": "the trace does not show it",
    "workers_unknown": "the number of workers that was asked for is not known",
    "epoll_unobserved": lambda f: (
        "epoll was not observed"
        + (f"; `{f['instead']}` falls back on listen()" if "instead" in f.details else "")
    ),
    "history_unobserved": "Envoy ran already when it was looked at: what it did before is not "
    "known",
    "file_not_looked_at": "whether its file is still there was not looked at",
    "state_unsettled": "it is not known who serves what: {said}",
    "durations_unobserved": "the tracer slows Envoy down, so how long something takes is not "
    "Envoy's own",
    "socket_states_unobserved": "states of TCP sockets were not observed",
    "results_unobserved": "results of calls were not observed",
    "exec_unobserved": "the exec of Envoy was not observed",
    "uncompared": "{why}",
    "not_asked": "{said}",
    "envoy_account": "{said}",
    "kernel_account": "{said}",
    "too_much_work": lambda f: (
        "not judged: the expectations and the events together are too much "
        f"work (more than {f['most']:,} looks at an event); take fewer expectations"
    ),
    "excerpt": "an excerpt of a trace shows one failure and proves nothing else",
    "excerpt_in_words": "this excerpt is from an earlier envoyassert, which noted what it shows "
    "in words only: shrink the whole trace again (`envoyassert replay TRACE --scenario FILE "
    "--shrink EXCERPT`)",
    "version_unknown": "the version of this Envoy is not known",
    "nothing_applies": "no expectation is about Envoy {version}: every `when` excludes it",
    "variable_unknown": "${name} stands for nothing: what gives it the name was not judged",
    "variable_is_other": lambda f: (
        f"${f['name']} stands for {text(f['names'])}, not for "
        + ("sockets" if f["wanted"] == "socket" else "one port")
    ),
    "received_from_outside": lambda f: (
        f"{w.socket_of(f)} was received from a process that is not traced"
    ),
    "sent_outside": lambda f: (
        f"the socket of {f['address']} was sent to a process that is not traced"
    ),
    "socket_from_outside": "a socket was received from outside the trace",
    # which listener is meant
    "protocol_unknown": "{listener}: a socket's protocol is not known",
    "ambiguous": lambda f: (
        f"{f['listener']} is ambiguous: "
        + ", ".join(f"{protocol} {address}" for protocol, address in f["places"])
        + "; add address, protocol or netns"
    ),
    "no_such_listener": lambda f: (
        f"the config has no listener {f['name']!r}; it has: " + (", ".join(f["known"]) or "none")
    ),
    "several_listeners": lambda f: f"the config has {f['number']} listeners {f['name']!r}",
    "no_such_address": "{listener}: the listener has no such address, but {addresses}",
    "several_addresses": lambda f: (
        f"listener {f['name']!r} has several addresses: "
        f"{listed(f['addresses'])}; take: each_address or total"
    ),
    "port_zero_open": lambda f: (
        f"several listeners ask for {f['address']}, and nothing shows of which of them "
        f"{'is' if len(f['places']) == 1 else 'are'} {listed(f['places'])}"
    ),
    "handed_on": "the sockets at {address} were of listener {listener!r}, and are another's now",
    "perhaps_named": lambda f: (
        f"{listed(f['sockets'])} may be of a listener that the scenario names, or of another"
    ),
    "port_zero_after_loss": "listeners on port 0 are identified by order, and events are lost",
    "one_listener": "one listener",
    "no_single_listener": "no single listener",
    # whether a phase was reached, and what it was judged for
    "an_envoy": "an Envoy {name}",
    "envoy_not_started": lambda f: (
        f"at the end of {f['phase'] or 'the run'} no Envoy of that name had been started"
    ),
    "the_phase": "the phase {name}",
    "not_reached": "not reached",
    "no_such_phase": "the run has no such phase",
    "start_alone": "the trace is of the start alone (`attach --follow` goes on after it)",
    "run_ended_before_phase": "the run ended before it ({phase}: {said})",
    "run_ended_before": "the run ended before {step}",
    "carried_out": "carried out",
    "not_carried_out": "not carried out",
    "step_problem": "{said}",
    "step_waits_for": "{said}",
    "did_not_come": "it did not come to that",
    "a_judgement": "a judgement",
    "a_variable": "a variable",
    "judged_for": "judged for Envoy {versions}",
    "some_expectation": "some expectation that applies",
    # known defects
    "known_defect": lambda f: text(f["defect"]) + (f": {text(f['what'])}" if f["what"] else ""),
    "fails_on": "to fail on Envoy {versions} ({defect})",
    "unexpected_pass": "an unexpected pass: all of it holds on {version}",
    "defect_gone": "if Envoy fixed it, end `versions` below {version}; if it was something else, "
    "remove `known_defect`",
    # sockets and threads of a listener
    "shape": w.shape,
    "one_worker": "one worker: one socket and one descriptor of each address, whatever "
    "enable_reuse_port says; for more of them raise `concurrency` (0 means one worker, too)",
    "served_via": "served via {via}",
    "no_socket_bound": "no socket was bound",
    "no_socket_listens": "no socket listens",
    "no_thread_waits": "a socket listens, but no thread waits for it: clients connect and hang",
    "none_of": "no {noun} at all",
    "workers_exist": w.workers_exist,
    "workers_of_one_name": "worker threads of the same name exist",
    "workers_of_several_processes": "the worker threads belong to several processes",
    "without": lambda f: f"not {threads_words(f['threads'])}",
    "configured_never_bound": "the config has listener {listener} there, but no bind() to it was "
    "seen: is bind_to_port false, was it rejected, or is it still warming?",
    "none_of_this_kind": "no socket was bound to any address of this kind",
    "an_origin": "an origin of the sockets that are served",
    "other_origins": "some sockets came by {origins}",
    "registered": "registered with {part} {values}",
    "registered_with": lambda f: "registered with " + " and ".join(map(listed, f["masks"])),
    "not_served": "no thread serves it",
    "counts_at_an_instant": "counts of {noun}s at an instant",
    "instant_never_came": "the instant never came",
    "count_changes_meanwhile": "the count changes between a question and its answer",
    # options and backlog
    "value_cut": "not all of the value was recorded",
    "only_options": lambda f: f"set on each socket: {options_words(f['options'])}",
    "backlog": "every socket listens with backlog {number}",
    "backlog_seen": lambda f: (
        f"backlog {listed(f['numbers']) or 'unknown'} of " + plural(f["sockets"], "socket")
    ),
    "backlog_unknown": "the trace does not show the backlog of listen()",
    "backlog_effective": "the kernel lets {number} connections wait",
    "backlog_held": lambda f: (
        f"{listed(f['numbers']) or 'nothing'} of " + plural(f["sockets"], "socket")
    ),
    "kernel_not_asked_backlog": "the kernel was not asked how many connections may wait",
    "somaxconn_unknown": "the limit net.core.somaxconn could not be read, or there are several",
    "kernel_did_not_show": "the kernel did not show a socket of it at the end",
    # the file of a Unix socket
    "socket_file": "{part}: {wanted}",
    "no_path_bound": "no path was bound",
    "removed_before_bind": lambda f: f"the path {w.no(f['wanted'])}removed before bind",
    "bound_without_removal": "bind without a removal before it",
    "removed_then_bound": "removed, then bound",
    "mode": lambda f: f"mode {f['mode']:04o}",
    "umask_decided": "no chmod: the umask decided",
    "no_chmod": "no chmod",
    "file_after_exit": lambda f: (
        f"the file {'exists' if f['exists'] else 'is gone'} after the exit"
    ),
    "file_changed": "{change} after bind",
    "not_removed": "not removed",
    "not_exited": "Envoy had not exited",
    "maybe_this_file": "{call} of a file with the same name, maybe this one",
    "path_unread": "a path could not be read, and may be this one",
    # whom clients reach
    "reached_by_address": lambda f: f"{w.no(f['wanted'])}reached by its address",
    "own_sockets_alone": "its own sockets alone, at this instant",
    "network_not_looked_at": "who else is in this network was not looked at",
    "order_decides": lambda f: (
        f"whether clients of {f['place']} reach it or {w.names_and(f)} "
        "depends on their order and on SO_REUSEPORT, which are not known"
    ),
    "clients_reach": lambda f: (
        f"clients of {listed(f['places'])} reach {w.names_and(f)}, at this instant"
    ),
    "none_reached": "none of its sockets is reached at {place}",
    "its_file": "its file was {change}",
    "foreign_socket": lambda f: f"a foreign socket at {put_there(f, 'place')}",
    "socket_of_this_envoy": "another socket of this Envoy at {place}",
    "socket_of_another_envoy": "another Envoy's socket at {place}",
    "no_other_socket": "no other listening, bound or raw socket",
    "other_sockets": w.other_sockets,
    "sockets_of_clients": w.of_clients,
    "not_named": w.not_named,
    # what Envoy says of itself
    "listed_without_socket": lambda f: (
        f"{w.no(f['wanted'])}listed by Envoy without a kernel socket"
    ),
    "envoy_not_asked": "Envoy was not asked",
    "namespaces_not_said": "this Envoy does not say in which network namespace its listeners are",
    "not_listed": "Envoy does not list it",
    "listed": lambda f: (
        f"Envoy lists {listed(f['places'])}, where "
        + ("it has a socket" if f["socket"] else "no socket is")
    ),
    "closed_after_asked": "its last socket was closed after Envoy was asked",
    "listeners_are": lambda f: f"the listeners are {w.ANSWERS[f['result']]}",
    "message_contains": lambda f: f"the reason contains {text(f['text'])!r}",
    "answered": lambda f: w.ANSWERS[f["result"]] + (f": {text(f['said'])}" if f["said"] else ""),
    "no_answer": "no answer",
    "refusal_not_logged": "Envoy's log does not say why; set its log level to warning or lower",
    "no_update": "Envoy was given no listeners in {phase}, or did not answer",
    # the process
    "an_outcome": "an outcome of the process",
    "outcome_unknown_in_import": "this trace was imported and does not show what happened to the "
    "process",
    "end_not_recorded": "that it ended was seen, and how was not recorded",
    "exits": "exits with {status}",
    "stays_up": lambda f: "stays up" if f["wanted"] else "does not stay up",
    "becomes_live": lambda f: "becomes live" if f["wanted"] else "does not become live",
    "live_within": lambda f: f"live within {f['seconds']:g} s",
    "killed": lambda f: f"killed by {signal_text(f['signal'])}",
    "exited": lambda f: "ended" if f["status"] == UNKNOWN_STATUS else f"exited with {f['status']}",
    "live_after": lambda f: f"live after {f['seconds']:.3f} s, and up",
    "up_not_asked": "up; not known whether it is live: {said}",
    "up_not_live": lambda f: f"up, but not live after {f['seconds']:g} s",
    # connections
    "waiters_of_connection": lambda f: (
        ("several threads wait" if f["number"] else "no thread was seen to wait")
        + " on the epoll in which a connection was registered"
    ),
    "differ_by": "numbers that differ by at most {number}",
    "even_spread": lambda f: f"an even spread (false alarms: {f['false_alarm']:g})",
    "spread": w.spread,
    "too_few_connections": "it takes {needed} connections to judge it",
    "none_accepted": "no connection was accepted",
    "clients_that_connect": "clients that connect",
    "no_attempts": "no client tried to connect in the phase {phase}",
    "attempts": w.attempts,
    # what follows from the config
    "follows_from_config": "what follows from the config",
    "facts_asked": w.facts_asked,
    "envoy_says": "Envoy says: {words}",
    "config_not_in_trace": "the config that Envoy got is not in the trace",
    "not_predicted": "nothing is predicted of this config: {said}",
    "nothing_excepted": lambda f: (
        f"`except` names {listed(f['names'])}, which is no listener and no aspect; the config has "
        + (listed(f["known"]) or "no listener")
    ),
    "version_not_modelled": "the model knows Envoy {known}, this is {version}",
    "nothing_asked": "no fact about a socket is left that could be asked",
    # variables
    "variable_of_servers": "{name}: the threads that serve it",
    "variable_stands_for": w.variable,
    "variable_to_be": w.variable_to_be,
    # order and time
    "moment_start": "the start",
    "moment_live": "the first LIVE reply",
    "moment_end": "the end",
    "moment_state": w.state,
    "live_unknown_in_import": "an imported trace does not show when Envoy was LIVE",
    "live_unknown": "this trace does not show when Envoy was LIVE",
    "several_instants": "{moment} is {number} instants; say which: first or last",
    "order": lambda f: listed(f["moments"], " before "),
    "calls_in_order": "calls in order",
    "came_before": "{first} came before {second}",
    "no_moment": lambda f: "no " + " and no ".join(map(text, f["missing"])),
    "at_once": "at the same time",
    "in_order": lambda f: "in this order" + ("" if f["sure"] else ", as far as is known"),
    "recorded_at_once": "calls that two CPUs recorded at the same nanosecond have no order that "
    "is known",
    "reply_inexact": "the instant of a reply is known only from its question to its receipt",
    "maybe_out_of_order": "a call that was lost, or could not be read, may be out of order",
    "in_relation": w.in_relation,
    "from_to": "from {first} to {second} {lasts}",
    "for_each": "for each {each}: {wanted}",
    "of_group": w.of_group,
    "lasts": w.lasts,
    "lasted": lambda f: f"lasted {w.span(f)}" if f.details else "not known how long",
    "took": w.span,
    "figure": "{name} {lasts}",
    "never_listens": "a socket that never listens",
    "never_served": "a socket that no thread serves",
    "never_live": "Envoy never said that it is LIVE",
    "always": w.always,
    "never_was": "it never was",
    "no_such_stretch": "no such stretch of time",
    "stretch_reversed": "the stretch of time ends before it begins",
    "without_a_break": "without a break",
    "broken": w.broken,
    # stacks
    "stack_unrecorded": "the stack of a {call}() was not recorded",
    "stack_of_earlier_call": "the stack of a blocking socket() may be that of an earlier one",
    "stack_without_files": "the files of the stack of a {call}() are not known",
    "stack_cut": "the innermost {depth} frames are recorded, and it may be further out",
    "build_id_not_listed": "no call site is given for build id {build_id}",
    "whose_call_site": "whose call site this is is not known",
    "call_sites_unknown": "the call sites to compare with are not known",
    "symbols_missing": "{said}",
    "frame_without_name": "some frame of the stack of a {call}() has no name",
    "caller_unknown": "which function called {call}() itself is not known",
    "no_call_to_compare": lambda f: f"{stack_words(f['stack'])}: there was no such call",
    # invariants
    "invariant": lambda f: INVARIANTS[f["name"]].holds,
    "invariant_broke": lambda f: (
        f"it broke when {INVARIANTS[f['name']].caught} ({INVARIANTS[f['name']].source})"
    ),
    "looked_at": w.looked_at,
    "nothing_to_judge": "there was nothing to judge: {of}",
    "no_break": "no break, {of}",
    "breaks": lambda f: listed(f["breaks"], "; ") + w.more(f["more"]),
    "listeners_unknown": "the configured listeners are not known",
    "workers_listen": "before Envoy 1.20 workers listen",
    "ended_nothing_served": "Envoy ended, so nothing is served any more",
    "ended_before_live": "Envoy ended before it was LIVE",
    "no_live_reply": "no LIVE reply was seen",
    "in_epoll_never_listened": "{socket} is in an epoll and never listened",
    "of_no_listener": "{socket} belongs to no configured listener",
    "unserved_for": "{what} was not served for {lasted}",
    "no_time_to_be_served": "{what} had no time to be served",
    "sockets_from_elsewhere": "sockets of {what} came from another process",
    "neither_one_nor_all": lambda f: (
        f"{text(f['what'])} has {plural(f['number'], 'socket')}, not one or {f['workers']}"
    ),
    "without_reuse_port": "{what} has {number} sockets, {without} without SO_REUSEPORT",
    "one_with_reuse_port": "{what} has one socket for all workers, with SO_REUSEPORT",
    "set_after_bind": "{option} was set after bind on {socket}",
    "called_by": "{call} on {on} by {by}",
    "accept_failed": lambda f: (
        f"accept on {text(f['on'])} failed with {f['errno']} " + plural(f["times"], "time")
    ),
    "live_but_served_by": lambda f: (
        f"{text(f['what'])} is served by {w.served(f)} though Envoy is LIVE"
    ),
    "served_late": lambda f: (
        f"{text(f['what'])} was served by {w.served(f)} more than a second after LIVE"
    ),
    "too_many_descriptors": lambda f: (
        f"{text(f['socket'])} has more than " + plural(f["limit"], "descriptor")
    ),
    **CHECKS,
}


def add_those_of_words() -> None:
    """Add the texts of the facts that single words have, which loads all words of a listener."""
    for word in WORDS.values():
        for code, words in word.texts.items():
            FACTS.setdefault(code, words)


@text.register
def _(value: Fact) -> str:
    if value.code not in FACTS:
        add_those_of_words()
    words = FACTS[value.code]
    if not isinstance(words, str):
        return words(value)
    details: dict[str, Any] = {name: text(part) for name, part in value.details.items()}
    return words.format_map(details)


__all__ = ["FACTS", "add_those_of_words", "text"]
