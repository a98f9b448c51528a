"""What kernel and Envoy said of a run's sockets, as data and for people."""

from __future__ import annotations

from typing import Any

from envoyassert.accounts import Witness
from envoyassert.calls.shown_values import address_text
from envoyassert.report.table import columns, wrapped
from envoyassert.trace import Trace


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


def accounts_lines(accounts: list[dict[str, Any]]) -> list[str]:
    """Return the lines for people; no more than the sockets and the listeners."""
    lines: list[str] = []
    for account in accounts:
        said = [text for text in (account["error"], account["envoy_error"]) if text]
        rows = [
            [
                socket["protocol"],
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
            lines += columns([["Netid", "Waiting", "Local address", "Whose"], *rows], "  ")
        if listed:
            lines += wrapped(f"Envoy's own listeners: {'; '.join(listed)}", "  ", "    ")
        for text in said:
            lines += wrapped(f"not known: {text}", "  ", "    ")
    return lines
