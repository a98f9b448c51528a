"""Making, binding and listening."""

from __future__ import annotations

from errno import EACCES, EADDRINUSE, EMFILE

from tests.mutants.catalogue import words as w
from tests.mutants.mutant import Mutant

_FAR = ("listener_netns",)

SOCKETS = tuple(
    Mutant(*fields)
    for fields in (
        # socket
        ("socket_fails", "no socket can be made", f"socket nth=1 : fail {EMFILE}", w.DIES),
        ("socket_second_fails", "the second worker gets no socket", f"socket nth=2 : fail {EMFILE}", w.DIES),
        ("socket_missing", "the second worker gets a duplicate of the first one's socket", "socket nth=2 : same ; bind nth=2 : ok", w.NOT_SHARED),
        ("socket_mptcp", "the listener speaks MPTCP", "socket arg0=2 arg1=2049 : arg 2 262 call", w.OPTION_WRONG),
        ("socket_blocking", "listening sockets are blocking", "socket : without 1 0x800 call", w.CUT_OFF, ("held_connections",), "", True),
        ("socket_doubled", "a socket is made and never used", "socket nth=1 : call call", w.LEAK, (), "a socket that is never bound is seen by no client, and Envoy itself makes such to probe the kernel"),
        ("socket_elsewhere", "another thread makes the sockets", "socket : elsewhere", w.WRONG_THREAD, (), "who makes a socket that main binds and listens on is no behaviour: descriptors are of the whole process"),
        # bind
        ("bind_dropped", "the first bind is never made", "bind nth=1 : ok", w.WRONG_PLACE),
        ("bind_second_dropped", "the second socket is not bound", "bind nth=2 : ok", w.HALF),
        ("bind_all_dropped", "no listener is bound", "bind : ok", w.WRONG_PLACE),
        ("bind_fails", "bind is refused", f"bind nth=1 : fail {EADDRINUSE}", w.REFUSED),
        ("bind_denied", "bind is forbidden", f"bind nth=1 : fail {EACCES}", w.REFUSED),
        ("bind_second_fails", "the port is taken for the second worker", f"bind nth=2 : fail {EADDRINUSE}", w.HALF),
        ("bind_elsewhere", "another thread binds", "bind : elsewhere", w.WRONG_THREAD),
        ("bind_by_workers", "workers bind and listen, as before Envoy 1.20", f"bind : hold ; listen : hold ; {w.ADD} : release call", w.WRONG_THREAD),
        ("bind_twice", "another socket of Envoy's is bound to the address", "bind nth=1 : call twin", w.SHARED),
        ("bind_and_listen_twice", "another socket of Envoy's listens on the address", "bind nth=1 : call twin listen 128", w.UNSERVED),
        ("foreign", "another process listens on the address", "listen nth=1 : call foreign", w.SHARED),
        ("bind_other_port", "the second socket is bound to another port", "bind nth=2 : port 10099 call", w.WRONG_PLACE),
        ("bind_any_port", "the kernel picks the second socket's port", "bind nth=2 : port 0 call", w.WRONG_PLACE),
        ("bind_wrong_port", "every socket is bound to a wrong port", "bind : port 10099 call", w.WRONG_PLACE),
        ("bind_loopback", "loopback is bound instead of the wildcard", "bind : host 127.0.0.1 call", w.WRONG_PLACE),
        ("bind_loopback_one", "the second socket is on loopback alone", "bind nth=2 : host 127.0.0.1 call", w.HALF),
        ("bind_every_address", "an address is bound as wildcard", "bind : host 0.0.0.0 call", w.EXPOSED),
        ("bind_swapped_addresses", "the first address is bound twice, the additional one not at all", "bind port=15007 : port 15006 host 127.0.0.1 call", w.WRONG_PLACE),
        ("bind_padded", "an abstract name is bound with a NUL more", "bind arg2=22 : pad 1 call", w.WRONG_PLACE, ("unix_abstract",)),
        ("netns_not_entered", "main does not go into the listener's network namespace", "setns nth=1 : ok", w.WRONG_PLACE, _FAR, "", True),
        ("netns_not_left", "main does not come back from the listener's network namespace", "setns nth=2 : ok", w.WRONG_PLACE, _FAR, "", True),
        ("netns_left_early", "main goes back before it has made the second socket", "setns nth=3 : ok", w.WRONG_PLACE, _FAR, "", True),
        ("unix_not_unlinked", "the old socket file is not removed", "unlink : ok", w.REFUSED),
        ("unix_file_vanishes", "the socket's file is removed after bind", "bind nth=1 : call remove", w.REFUSED),
        ("unix_mode_dropped", "the socket file keeps the default mode", "chmod : ok", w.EXPOSED),
        ("unix_mode_wrong", "everybody may connect", "chmod : arg 1 0777 call", w.EXPOSED),
        # listen
        ("listen_dropped", "one socket never listens", "listen nth=1 : ok", w.UNSERVED),
        ("listen_second_dropped", "the second socket never listens", "listen nth=2 : ok", w.HALF),
        ("listen_third_dropped", "the third socket never listens", "listen nth=3 : ok", w.HALF),
        ("listen_all_dropped", "no socket listens", "listen : ok", w.REFUSED),
        ("listen_fails", "listen is refused", f"listen nth=2 : fail {EADDRINUSE}", w.REFUSED),
        ("listen_doubled", "listen is called twice", "listen nth=1 : call call", w.WRONG_THREAD),
        ("listen_elsewhere", "another thread listens", "listen : elsewhere", w.WRONG_THREAD),
        ("listen_after_registering", "a socket listens only after a worker registered it", f"listen : hold ; {w.ADD} : call release", w.UNSERVED),
        ("listen_backlog_one", "the queue holds one connection", "listen : arg 1 1 call", w.REFUSED),
        ("listen_backlog_second", "the second queue is short", "listen nth=2 : arg 1 1 call", w.REFUSED),
        ("listen_backlog_fixed", "the backlog is 128, as before Envoy 1.16", "listen : arg 1 128 call", w.REFUSED),
        ("listen_at_bind", "a socket listens as soon as it is bound", "bind : call listen 128", w.TOO_EARLY),
        ("listen_before_bind", "listen comes before bind", "bind : listen 128 call", w.WRONG_PLACE),
        ("listen_again", "a worker listens again when it registers", f"{w.ADD} nth=2 : call listen 64", w.WRONG_THREAD),
        ("listen_shut", "a listening socket is shut down at once", "listen nth=1 : call shutdown", w.REFUSED),
        ("listen_elsewhere_too", "an unexpected socket listens on some port", "listen nth=1 : call fresh listen 16", w.EXPOSED),
        # dup and close
        ("dup_twice", "a duplicate more than there are workers", "dup nth=1 : call dup", w.LEAK),
        ("dup_lost", "the duplicate is closed at once", "dup nth=1 : call new close", w.HALF),
        ("dup_fails", "the duplicate is refused", f"dup nth=1 : fail {EMFILE}", w.HALF),
        ("dup_elsewhere", "another thread duplicates", "dup : elsewhere", w.WRONG_THREAD),
        ("descriptor_leaked", "a listening socket has a descriptor that is never used", "listen nth=1 : call dup", w.OUTLIVES),
        ("closed_early", "a socket is closed when it listens", "listen nth=1 : call close", w.REFUSED),
        ("closed_when_served", "a worker closes its socket after registering it", f"{w.ADD} nth=2 : call close", w.HALF),
        ("child_forked", "a child process holds the sockets", "listen nth=1 : call fork", w.OUTLIVES),
        ("child_executed", "a program that was started inherits the sockets", "listen nth=1 : call execute", w.OUTLIVES),
    )
)  # fmt: skip
