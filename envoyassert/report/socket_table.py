"""The table of sockets that a story and a state have: a row as `ss` has it, what is known below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from envoyassert.report.table import WIDTH, columns, wrapped

#: What `ss` calls them; it is `unix` where the type was not observed.
_NETIDS = {
    ("UNIX", ""): "unix",
    ("UNIX", "SOCK_STREAM"): "u_str",
    ("UNIX dgram", "SOCK_DGRAM"): "u_dgr",
    ("UNIX seqpacket", "SOCK_SEQPACKET"): "u_seq",
}
_INDENT, _BELOW = "  ", "      "


def netid(protocol: str, type_: str = "") -> str:
    """Return the name that `ss` has for a kind of socket: `tcp`, `udp`, `u_str`, `u_dgr`.

    Args:
        protocol: as a trace names it: `TCP`, `UNIX dgram`.
        type_: `SOCK_STREAM`; "" if it is not known.
    """
    lower = protocol.lower() if protocol in ("TCP", "UDP", "MPTCP") else protocol
    return _NETIDS.get((protocol, type_), lower)


@dataclass(frozen=True)
class SocketRow:
    """One socket.

    Args:
        cells: what stands in the columns.
        holders: its descriptors, and who waits on them.
        facts: what else is known, each in a few words.
    """

    cells: tuple[str, ...]
    holders: str
    facts: tuple[str, ...]


def socket_table(
    titles: Sequence[str], sockets: Iterable[SocketRow], width: int = WIDTH
) -> list[str]:
    """Return the lines of a table: a row for each socket, and below it what is known of it.

    Args:
        titles: of the columns.
        sockets: the rows.
        width: greatest length of a line in characters.
    """
    sockets = list(sockets)
    if not sockets:
        return [f"{_INDENT}none"]
    lines: list[str] = []
    head, *rows = _rows([titles, *(socket.cells for socket in sockets)], width)
    lines += head
    for row, socket in zip(rows, sockets, strict=True):
        lines += row
        lines += wrapped(socket.holders, _BELOW, f"{_BELOW}  ", width=width)
        if socket.facts:
            lines += wrapped("; ".join(socket.facts), _BELOW, f"{_BELOW}  ", width=width)
    return lines


def _rows(rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Return the lines of each row: aligned, and of one line, where there is room for that."""
    endless = sum(map(len, chain.from_iterable(rows)))
    aligned = columns(rows, _INDENT, endless)
    if max(map(len, aligned)) <= width:
        return [[line] for line in aligned]
    return [wrapped("  ".join(row), _INDENT, _BELOW, width=width) for row in rows]
