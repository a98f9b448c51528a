"""Other processes in Envoy's place, files that are gone, and what hides from the probe."""

from __future__ import annotations

from tests.mutants.catalogue import words as w
from tests.mutants.mutant import Mutant

_PATH = ("unix_path",)
_CLIENTS = ("connection_limit", "exact_balance")
_AWAY = "who has the socket beside Envoy may do with it what no probe sees"

HIDDEN = tuple(
    Mutant(*fields)
    for fields in (
        ("bind_by_child", "a child process binds in Envoy's place", "bind : in_child", w.WRONG_THREAD),
        ("bind_by_vfork", "a child that shares the memory binds", "bind : vforked", w.WRONG_THREAD),
        ("listen_by_child", "a child process listens in Envoy's place", "listen : in_child", w.WRONG_THREAD),
        ("listen_by_vfork", "a child that shares the memory listens", "listen nth=1 : vforked", w.WRONG_THREAD),
        ("served_by_child", "a child process waits for a listener's socket too", f"{w.ADD} nth=1 : call serve", w.HERD),
        ("served_by_child_alone", "a child process waits in a worker's place", f"{w.ADD} nth=1 : serve ok", w.HALF),
        ("taken_by_child", "a child process accepts connections", "listen nth=1 : call take", w.CUT_OFF, _CLIENTS, "", True),
        ("unix_file_moved", "the socket's file is renamed after bind", "bind nth=1 : call move", w.REFUSED, _PATH, "", True),
        ("unix_file_covered", "another file is renamed over the socket's", "bind nth=1 : call cover", w.REFUSED, _PATH, "", True),
        ("unix_file_removed_by_child", "a child process removes the socket's file", "bind nth=1 : call child_remove", w.REFUSED, _PATH, "", True),
        ("udp_connected", "the sockets of a datagram listener have a peer", "bind : call peer", w.UNSERVED, ("udp",), "", True),
    )
) + tuple(
    Mutant(name, what, rules, w.UNSEEN, ("reuse_port_on",), alone=True, left_open=why)
    for name, what, rules, why in (
        ("sent_away", "a listening socket is sent to a process that is not traced", "listen nth=1 : call send", _AWAY),
        ("sent_away_in_bulk", "the same, by sendmmsg", "listen nth=1 : call send_many", _AWAY),
        ("listen_by_32_bit", "a socket listens by the number of a 32-bit call", "listen nth=1 : by_32_bit", "calls by other numbers are not decoded"),
        ("listen_answered_by_filter", "a seccomp filter says that a socket listens", "listen nth=1 : claim call", "such a filter may say so of any call"),
    )
)  # fmt: skip
