"""Waiting for clients, accepting them, answering them."""

from __future__ import annotations

from errno import ECONNABORTED, EMFILE, ENOSPC

from tests.mutants.catalogue import words as w
from tests.mutants.mutant import Mutant

#: Clients wait for an answer until a deadline: few scenarios, or it takes minutes.
_CLIENTS = ("connection_limit", "exact_balance", "lds_add_remove")

SERVING = tuple(
    Mutant(*fields)
    for fields in (
        ("never_registered", "a worker never waits for its socket", f"{w.ADD} nth=1 : ok", w.HALF),
        ("none_registered", "no worker waits for its sockets", f"{w.ADD} : ok", w.UNSERVED),
        ("registration_fails", "a registration is refused", f"{w.ADD} nth=2 : fail {ENOSPC}", w.HALF),
        ("registered_twice", "two workers wait for one descriptor", f"{w.ADD} nth=2 : call also", w.HERD),
        ("registered_wrong_worker", "a socket is registered by the other worker", f"{w.ADD} nth=2 : other call", w.HERD),
        ("registered_other_socket", "a worker waits for another socket than its own", f"{w.ADD} nth=2 : next call", w.HERD),
        ("registered_stray_epoll", "an epoll on which no thread waits has the socket instead", f"{w.ADD} nth=1 : watch {w.IN} ok", w.UNSERVED),
        ("registered_by_main", "main waits for a listener's socket too", "listen nth=1 : call main", w.HERD),
        ("registered_elsewhere", "a helper thread registers for the workers", f"{w.ADD} : elsewhere", w.WRONG_THREAD),
        ("registered_late", "the workers register four seconds late", f"{w.ADD} : work 4000 call", w.UNSERVED, ("reuse_port_on",), "", True),
        ("registered_for_write", "a worker waits for the wrong event", f"{w.ADD} nth=1 : events {w.OUT} call", w.UNSERVED),
        ("registered_no_events", "a worker waits for nothing", f"{w.ADD} nth=1 : events 0 call", w.UNSERVED),
        ("registered_edge", "listening sockets are watched edge-triggered", f"{w.ADD} : events {w.IN | w.ET} call", w.UNSERVED),
        ("registered_exclusive", "workers wait with EPOLLEXCLUSIVE", f"{w.ADD} : events {w.IN | w.EXCLUSIVE} call", w.HERD),
        ("registered_once", "a listening socket is watched for one event", f"{w.ADD} : events {w.IN | 1 << 30} call", w.UNSERVED),
        ("unregistered", "a worker stops to wait at once", f"{w.ADD} nth=2 : call forget", w.HALF),
        ("udp_level", "datagrams are awaited level-triggered", f"{w.ADD} : events {w.IN | w.OUT} call", w.OPTION_WRONG),
        ("udp_half", "datagram sockets are watched for writing alone", f"{w.ADD} : events {w.OUT | w.ET} call", w.UNSERVED),
        ("accept_fails", "from the third on accept fails for lack of descriptors", f"accept4 nth=3+ : fail {EMFILE}", w.CUT_OFF, _CLIENTS, "", True),
        ("accept_aborts", "from the third on accept says that the client has gone", f"accept4 nth=3+ : fail {ECONNABORTED}", w.CUT_OFF, _CLIENTS, "", True),
        ("accept_cut", "a connection is shut as soon as it is accepted", "accept4 nth=3 : call new shutdown", w.CUT_OFF, _CLIENTS, "", True),
        ("accept_lost", "a connection is accepted and forgotten", "accept4 nth=3 : call fail 11", w.CUT_OFF, _CLIENTS, "", True),
        ("accept_elsewhere", "another thread accepts", "accept4 : elsewhere", w.WRONG_THREAD),
        ("connection_closed", "a connection is closed as soon as it is accepted", "accept4 nth=3 : call new close", w.CUT_OFF, _CLIENTS, "", True),
        ("connection_unwatched", "a worker does not wait for what its client says", f"{w.ADD} on=connection nth=2 : ok", w.CUT_OFF, _CLIENTS, "", True),
        ("connection_wrong_worker", "another worker waits for what a client says", f"{w.ADD} on=connection : other call", w.CUT_OFF, _CLIENTS, "", True),
        ("connection_leaked", "a connection keeps a second descriptor", "accept4 : call new dup", w.LEAK),
        ("connection_not_closed", "connections are never closed", "close on=connection : ok", w.LEAK),
    )
)  # fmt: skip
