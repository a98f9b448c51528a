"""From where in the code a run made its listening sockets: functions, or classes of call sites."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoyassert.graph.model import KernelSocket
from envoyassert.report.table import columns
from envoyassert.symbols import Symbols, call_site

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
            if socket.number not in place["sockets"]:
                place["sockets"].append(socket.number)
    return list(places.values())


def call_site_lines(places: list[dict[str, Any]]) -> list[str]:
    """Return a line for each place of `describe_call_sites`."""
    rows = []
    for place in places:
        # The call itself stands in the first column.
        functions = [name for name in place["functions"] if name != place["call"]]
        shown = " < ".join(functions[:_SHOWN]) + (" < …" if len(functions) > _SHOWN else "")
        numbers = ", ".join(f"#{number}" for number in place["sockets"])
        rows.append([f"{place['call']}()", f"call site {place['call_site']}", numbers, shown])
    return columns(rows, "  ")
