"""Options that a config names itself, and listeners that Envoy gives up at its start.

Options are `socket_options` of a listener or of the admin endpoint. A listener is given up where
the kernel refuses a listen, or an option after it. Source: Envoy's
ListenSocketFactoryImpl::doFinalPreWorkerInit and its system calls as recorded on 1.36.4 and 1.40.0.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from envoyassert.names import level_name, option_name
from envoyassert.option_values import FILTERS, OptionValue, option_value_of
from envoyassert.predict.sockets import SocketOption, SocketSet
from envoyassert.scenario.listeners import items_of, proto_field, proto_int

_STATES = {
    0: "before_bind",
    "STATE_PREBIND": "before_bind",
    1: "bound",
    "STATE_BOUND": "bound",
    2: "listening",
    "STATE_LISTENING": "listening",
}


def socket_options_of(options: object, protocol: str) -> Iterator[SocketOption]:
    """Yield the entries of a config's `socket_options` that are for sockets of a protocol."""
    for option in items_of(options):
        kind = proto_field(option, "type")
        wanted = "datagram" if protocol == "UDP" else "stream"
        if isinstance(kind, dict) and kind and wanted not in kind:
            continue
        try:
            level = level_name(proto_int(proto_field(option, "level") or 0))
            name = option_name(level, proto_int(proto_field(option, "name") or 0))
            value = _value(name, option)
        except (ValueError, binascii.Error):
            continue  # Envoy says itself what it does not take
        state = proto_field(option, "state")
        known = isinstance(state, (str, int))
        yield SocketOption(level, name, value, _STATES.get(state if known else 0, "before_bind"))


def _value(name: int | str, option: Any) -> OptionValue:
    number = proto_field(option, "int_value")
    if number is not None:
        return (proto_int(number) + 2**31) % 2**32 - 2**31  # Envoy hands 4 bytes of it on
    content = base64.b64decode(str(proto_field(option, "buf_value") or ""))
    # What a filter's bytes point at is nothing in Envoy.
    return None if name in FILTERS else option_value_of(name, content)


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
    mine = [o for o in one.options if o.name == "SO_REUSEPORT" and o.phase != "listening"]
    # Whatever the order in the config, those before bind come first.
    values = [o.value for o in sorted(mine, key=lambda option: option.phase != "before_bind")]
    return bool(values and values[-1])
