"""What comes after the start: updates, removal, drain, hot restart, the end."""

from __future__ import annotations

from signal import SIGABRT, SIGKILL, SIGSEGV

from tests.mutants.catalogue import words as w
from tests.mutants.mutant import Mutant

_RESTART = ("hot_restart",)
_MOVES = ("lds_address_change", "drain_listeners")
_IN_PLACE = ("lds_in_place_update",)
_ENDS = ("quit",)

LIFE = tuple(
    Mutant(*fields)
    for fields in (
        ("close_dropped", "closing a listener's socket is forgotten", "close : ok", w.OUTLIVES, _MOVES),
        ("close_second_dropped", "one of the closes is forgotten", "close nth=2 : ok", w.OUTLIVES, _MOVES),
        ("close_elsewhere", "another thread closes", "close : elsewhere", w.WRONG_THREAD, (), "who closes a descriptor that no epoll holds is no behaviour: descriptors are of the whole process"),
        ("deregistration_dropped", "a worker keeps waiting for a listener that was taken away", f"{w.DEL} nth=1 : ok", w.OUTLIVES, _MOVES),
        ("deregistered_elsewhere", "another thread ends a worker's waiting", f"{w.DEL} : elsewhere", w.WRONG_THREAD),
        ("update_dup_wrong", "an update duplicates the first socket for the second worker", "dup nth=2 : next call", w.QUEUE_LOST),
        ("update_dup_lost", "an update loses one of the duplicates", "dup nth=2 : call new close", w.HALF),
        ("update_listen_dropped", "the duplicates of an update do not listen again", "listen nth=3+ : ok", w.OPTION_LOST),
        ("update_backlog_kept", "an update listens with the old backlog", "listen : arg 1 32 call", w.OPTION_LOST, ("lds_backlog_update",)),
        ("update_add_dropped", "a worker does not register the socket of an update", f"{w.ADD} nth=3 : ok", w.UNSERVED),
        ("update_add_late", "workers give up the old socket before they have the new one", f"{w.ADD} nth=3+ : hold ; {w.DEL} : call", w.QUEUE_LOST),
        ("update_leak", "each update in place leaves a descriptor", "dup nth=1+ : call dup", w.LEAK, _IN_PLACE),
        ("hand_over_nothing", "the next epoch is not given the sockets", "sendmsg : pass_nothing call", w.HAND_OVER, _RESTART),
        ("hand_over_one_less", "the next epoch is not given the second socket", "sendmsg nth=2 : pass_nothing call", w.HAND_OVER, _RESTART),
        ("hand_over_wrong", "the next epoch is given one socket twice", "sendmsg nth=2 : pass_next call", w.HAND_OVER, _RESTART),
        ("hand_over_closed_early", "the parent stops to wait as it hands over", "sendmsg : shutdown call", w.HAND_OVER, _RESTART),
        ("crash", "Envoy dies when a worker registers", f"{w.ADD} nth=2 : raise {int(SIGSEGV)}", w.DIES),
        ("crash_at_exit", "Envoy dies when it closes its sockets", f"close by=main nth=1 : raise {int(SIGABRT)}", w.DIES, _ENDS),
        ("killed_at_exit", "Envoy is killed when it closes its sockets", f"close by=main nth=2 : raise {int(SIGKILL)}", w.DIES, _ENDS),
    )
)  # fmt: skip
