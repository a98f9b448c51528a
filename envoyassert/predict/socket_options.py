"""Options that a config names itself, and listeners that Envoy gives up at its start.

Options are `socket_options` of a listener or of the admin endpoint. A listener is given up where
the kernel refuses a listen, or an option after it. Source: Envoy's
ListenSocketFactoryImpl::doFinalPreWorkerInit and its system calls as recorded on 1.36.4 and 1.40.0.
"""

from __future__ import annotations

import base64
import binascii
import errno
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from envoyassert.names import level_name, option_name
from envoyassert.option_values import FILTERS, OptionValue, option_value_of
from envoyassert.predict.conflicts import overlap, shares_port
from envoyassert.predict.refusals import text_of
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


#: Addresses to which an option of one version of IP does not apply.
_OTHER_THAN = {
    "SOCKET_IP_VERSION_IPV4": ("AF_INET6",),
    "SOCKET_IP_VERSION_IPV6": ("AF_INET",),
}


def socket_options_of(options: object, protocol: str, family: str) -> Iterator[SocketOption]:
    """Yield the entries of a config's `socket_options` that are for some sockets.

    Args:
        options: the entries.
        protocol: of the sockets.
        family: of their address: `AF_INET6` also where they take IPv4.
    """
    for option in items_of(options):
        if family in _OTHER_THAN.get(proto_field(option, "ip_version"), ()):
            continue
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


#: From the least to the most that Linux takes for an option of TCP (tcp.h, net/ipv4/tcp.c).
_RANGES = {
    "TCP_KEEPIDLE": (1, 32767),
    "TCP_KEEPINTVL": (1, 32767),
    "TCP_KEEPCNT": (1, 127),
    "TCP_FASTOPEN": (0, 2**31 - 1),
}
#: Protocols whose sockets have no options of a level.
_WITHOUT = {"IPPROTO_TCP": {"UDP"}, "IPPROTO_UDP": {"TCP", "MPTCP"}}


def is_unnamed(option: SocketOption) -> bool:
    """Return whether an option has no known name, so that no one knows whether Linux takes it."""
    return isinstance(option.name, int) or isinstance(option.level, int)


def kernel_takes(option: SocketOption, one: SocketSet) -> bool:
    """Return whether Linux takes an option of some sockets, as far as that is known.

    Args:
        option: what is set.
        one: the sockets.
    """
    if isinstance(option.name, int) or isinstance(option.level, int):
        return True
    if one.protocol == "UNIX":
        return option.level == "SOL_SOCKET" and option.name != "SO_REUSEPORT"
    if option.level == "IPPROTO_IPV6" and one.address.family == "AF_INET":
        return False
    if one.protocol in _WITHOUT.get(option.level, ()):
        return False
    low, high = _RANGES.get(option.name, (None, None))
    if low is None or high is None or not isinstance(option.value, int):
        return True
    return low <= option.value <= high


def given_up(
    sets: Sequence[SocketSet], listener: object, listening: Sequence[SocketSet] = ()
) -> Iterator[SocketSet]:
    """Yield the sockets of a listener, closed if Envoy gives it up while its addresses listen.

    They do one after the other, each with all its sockets; those behind the one that fails never
    do. Envoy is LIVE then, without the listener.

    Args:
        sets: the sockets of the listener, per address.
        listener: its config.
        listening: sockets that listen already.
    """
    found = next(_ends(sets, listener, listening), None)
    if found is None:
        yield from sets
        return
    index, end, _ = found
    nothing: tuple[str, ...] = ()
    for one in (*sets[:index], end, *map(not_listening, sets[index + 1 :])):
        yield replace(one, role="none", via="", mask=nothing, descriptors=0, backlog=None)


def giving_up_words(
    sets: Sequence[SocketSet], listener: object, listening: Sequence[SocketSet] = ()
) -> str:
    """Return what Envoy says where it gives a listener up, "" where it does not.

    Arguments as `given_up` takes them.
    """
    return next((words for _, _, words in _ends(sets, listener, listening)), "")


def _ends(
    sets: Sequence[SocketSet], listener: object, listening: Sequence[SocketSet]
) -> Iterator[tuple[int, SocketSet, str]]:
    """Yield at which address a listener is given up, with its sockets and what Envoy says."""
    for index, one in enumerate(sets):
        found = _refused(one, [*listening, *sets[:index]], listener)
        if found is not None:
            yield index, *found


def not_listening(one: SocketSet) -> SocketSet:
    """Return stream sockets that are made and bound, and on which nothing listens."""
    early = tuple(option for option in one.options if option.phase != "listening")
    return replace(one, options=early, listens=0)


def _refused(
    found: SocketSet, before: Sequence[SocketSet], listener: object
) -> tuple[SocketSet, str] | None:
    """Return the sockets of an address at which Envoy gives its listener up, and what it says.

    None where it listens.

    The kernel refuses a listen() where another socket that clients could mean listens and both do
    not share the port by SO_REUSEPORT, or an option that is set after listen.
    """
    if found.listens is None:
        return None
    kept = [option for option in found.options if option.phase != "listening"]
    rivals = [one for one in before if one.listens and one.descriptors and overlap(found, one)]
    group = found.sockets > 1
    if (rivals or group) and not all(map(shares_port, (*rivals, found))):
        exact = not group or len(kept) == len(found.options)
        end = replace(found, options=tuple(kept), listens=0 if rivals else 1, exact=exact)
        return end, f"cannot listen() errno={errno.EADDRINUSE}"
    late = [option for option in found.options if option.phase == "listening"]
    bad = next((n for n, one in enumerate(late) if not kernel_takes(one, found)), None)
    # Fast open is set through another way, which refuses a socket that is none of IP.
    unfit = proto_field(listener, "tcp_fast_open_queue_length") is not None
    if bad is None and not (unfit and found.protocol == "UNIX"):
        return None
    set_on_first = late[:bad]
    exact = not (group and set_on_first)
    kept += set_on_first if not group else []
    end = replace(found, options=tuple(kept), listens=1, exact=exact)
    return end, f"cannot set post-listen socket option on socket: {text_of(found.address)}"
