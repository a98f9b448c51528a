"""Parts of a run's story, each as data and for people.

What kernel and Envoy said of its sockets; from where in the code its listening sockets were made,
by functions or classes of call sites; its steps, when each was done and what came of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from envoyassert.accounts import Witness
from envoyassert.calls.row import address_text
from envoyassert.graph.model import KernelSocket
from envoyassert.judge.interval import plural
from envoyassert.report.call import Clock
from envoyassert.report.socket_table import netid
from envoyassert.report.table import WIDTH, columns, wrapped
from envoyassert.symbols import Symbols, call_site
from envoyassert.texts.findings import outcome_in_words
from envoyassert.trace import Phase, Trace
from envoyassert.words.attempts import fates


def accounts_of(trace: Trace) -> list[dict[str, object]]:
    """Return each account that was taken of a run, as plain JSON types."""
    taken = [(f"at the end of {phase.name}", phase.witness) for phase in trace.phases]
    taken.append(("at the end", trace.witness))
    return [_account(when, witness) for when, witness in taken if witness is not None]


def _account(when: str, witness: Witness) -> dict[str, object]:
    own = {entry.inode for entry in witness.sockets}
    network, envoy = witness.network, witness.envoy
    return {
        "when": when,
        "error": witness.error or ("" if network is None else network.error),
        "somaxconn": None if network is None else network.somaxconn,
        "network": [
            {
                "protocol": socket.protocol,
                "address": address_text(socket.address),
                "inode": socket.inode,
                "queue": socket.queue,
                "backlog": socket.backlog,
                "own": socket.inode in own,
            }
            for socket in (() if network is None else network.sockets)
        ],
        "envoy_error": "" if envoy is None else envoy.error,
        "listeners": [
            {"name": listener.name, "addresses": [address_text(a) for a in listener.addresses]}
            for listener in (() if envoy is None else envoy.listeners)
        ],
        "gauges": {} if envoy is None else dict(envoy.stats),
    }


def accounts_lines(accounts: list[dict[str, Any]], width: int = WIDTH) -> list[str]:
    """Return the lines for people; no more than the sockets and the listeners."""
    lines: list[str] = []
    for account in accounts:
        said = [text for text in (account["error"], account["envoy_error"]) if text]
        rows = [
            [
                netid(socket["protocol"]),
                "-" if socket["backlog"] is None else f"{socket['queue']} of {socket['backlog']}",
                socket["address"],
                "Envoy's" if socket["own"] else "another process",
            ]
            for socket in account["network"]
        ]
        listed = [
            f"{listener['name']} at {', '.join(listener['addresses']) or 'no address'}"
            for listener in account["listeners"]
        ]
        if not (said or rows or listed):
            continue
        lines += ["", f"Sockets for clients in Envoy's network namespace, {account['when']}"]
        if rows:
            lines += columns([["Netid", "Waiting", "Local address", "Whose"], *rows], "  ", width)
        if listed:
            lines += wrapped(
                f"Envoy's own listeners: {'; '.join(listed)}", "  ", "    ", width=width
            )
        for text in said:
            lines += wrapped(f"not known: {text}", "  ", "    ", width=width)
    return lines


_CALLS = ("socket", "bind", "listen")
#: How many functions a line shows.
_SHOWN = 4


def describe_call_sites(sockets: Iterable[KernelSocket], symbols: Symbols) -> list[dict[str, Any]]:
    """Return from where sockets were made, bound and listened on, one entry for each place.

    Args:
        sockets: the listening sockets.
        symbols: the names of the functions.
    """
    places: dict[tuple[str, str, str], dict[str, Any]] = {}
    for socket in sockets:
        for call in socket.calls:
            event = call.event
            site = call_site(event) if event.call in _CALLS else None
            if site is None:
                continue
            build_id, name = site
            place = places.setdefault(
                (event.call, build_id, name),
                {
                    "call": event.call,
                    "build_id": build_id,
                    "call_site": name,
                    "functions": list(symbols.functions_of(event.stack)),
                    "sockets": [],
                },
            )
            if place["sockets"][-1:] != [socket.number]:
                place["sockets"].append(socket.number)
    return list(places.values())


def call_site_lines(places: list[dict[str, Any]], width: int = WIDTH) -> list[str]:
    """Return a line for each place of `describe_call_sites`."""
    rows = []
    for place in places:
        # The call itself stands in the first column.
        functions = [name for name in place["functions"] if name != place["call"]]
        shown = " < ".join(functions[:_SHOWN]) + (" < …" if len(functions) > _SHOWN else "")
        numbers = ", ".join(f"#{number}" for number in place["sockets"])
        rows.append([f"{place['call']}()", f"call site {place['call_site']}", numbers, shown])
    return columns(rows, "  ", width)


def describe_steps(trace: Trace, clock: Clock) -> list[dict[str, Any]]:
    """Return the phases of a run as plain JSON types; none if its scenario has no steps."""
    return [
        {
            "name": phase.name,
            "kind": phase.kind,
            "begins_ms": clock.ms(phase.begin_ns),
            "ends_ms": clock.ms(phase.end_ns),
            "ends": clock.text(phase.end_ns),
            "missed": phase.missed,
            "problem": phase.problem,
            "attempts": {fate: number for fate, number in fates(phase.attempts).items() if number},
            "update": None
            if phase.update is None
            else {"result": phase.update.result, "message": phase.update.message},
            "process": outcome_in_words(phase.outcome),
            "came_of_it": "; ".join(_came_of(phase)),
        }
        for phase in trace.phases
    ]


def _came_of(phase: Phase) -> Iterator[str]:
    if phase.problem:
        yield f"not carried out: {phase.problem}"
    if phase.missed:
        yield f"it did not come to this: {phase.missed}"
    if phase.attempts:
        described = [f"{n} {fate}" for fate, n in fates(phase.attempts).items() if n]
        yield f"{plural(len(phase.attempts), 'attempt')} to connect ({', '.join(described)})"
    if phase.update is not None:
        yield phase.update.result + (f": {phase.update.message}" if phase.update.message else "")
    if not phase.outcome.running:
        yield f"Envoy {outcome_in_words(phase.outcome)}"


def step_lines(steps: list[dict[str, Any]], width: int = WIDTH) -> list[str]:
    """Return the lines that show the phases of a run, the times being those of their ends."""
    rows = [
        [
            step["ends"],
            step["name"],
            "" if step["kind"] == step["name"] else step["kind"],
            step["came_of_it"] or "over",
        ]
        for step in steps
    ]
    if not rows:
        return []
    return ["", "Phases, and when each was over", *columns(rows, "  ", width)]
