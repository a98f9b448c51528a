"""Listeners that Envoy gives up at its start: the kernel refuses a listen, or an option after it.

Source: Envoy's ListenSocketFactoryImpl::doFinalPreWorkerInit and its system calls as recorded on
1.36.4 and 1.40.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from envoyassert.draft.expected import SocketSet
from envoyassert.scenario.listeners import proto_field


def given_up(sets: Sequence[SocketSet], listener: object) -> Iterator[SocketSet]:
    """Yield the sockets of a listener, closed if Envoy gives it up while its addresses listen.

    They do one after the other, each with all its sockets; those behind the one that fails never
    do. Envoy is LIVE then, without the listener.

    Args:
        sets: the sockets of the listener, per address.
        listener: its config.
    """
    refused = (
        (index, end)
        for index, one in enumerate(sets)
        if (end := _refused(one, sets[:index], listener)) is not None
    )
    index, end = next(refused, (0, None))
    if end is None:
        yield from sets
        return
    nothing: tuple[str, ...] = ()
    for one in (*sets[:index], end, *map(not_listening, sets[index + 1 :])):
        yield replace(one, role="none", via="", mask=nothing, descriptors=0, backlog=None)


def not_listening(one: SocketSet) -> SocketSet:
    """Return stream sockets that are made and bound, and on which nothing listens."""
    early = tuple(option for option in one.options if option.phase != "listening")
    return replace(one, options=early, listens=0)


def _refused(found: SocketSet, before: Sequence[SocketSet], listener: object) -> SocketSet | None:
    """Return the sockets of an address at which Envoy gives its listener up, None where it listens.

    The kernel refuses an option that is set after listen, or a listen() where another socket of the
    same address listens and both do not share it by SO_REUSEPORT.
    """
    kept = list(found.options)
    if found.protocol == "UNIX":
        late = [o for o in kept if o.phase == "listening"]
        bad = [o for o in late if o.level != "SOL_SOCKET" or o.name == "SO_REUSEPORT"]
        if not bad and proto_field(listener, "tcp_fast_open_queue_length") is None:
            return None
        kept = kept[: kept.index(bad[0])] if bad else kept
        return replace(found, options=tuple(kept), listens=1)
    twins = [
        one for one in before if (one.address, one.protocol) == (found.address, found.protocol)
    ]
    twins = twins if found.address.port else []
    alone = found.sockets == 1 and not twins
    if found.listens is None or alone or all(map(_shares_port, (*twins, found))):
        return None
    kept = [option for option in kept if option.phase != "listening"]
    exact = found.sockets == 1 or len(kept) == len(found.options)
    return replace(found, options=tuple(kept), listens=0 if twins else 1, exact=exact)


def _shares_port(one: SocketSet) -> bool:
    """Whether its sockets have SO_REUSEPORT when they begin to listen."""
    values = [o.value for o in one.options if o.name == "SO_REUSEPORT" and o.phase != "listening"]
    return bool(values and values[-1])
