"""Which sockets keep others from being bound, or from listening: addresses that overlap.

Source: Linux, inet_csk_get_port and udp_lib_get_port; seen on 6.18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from envoyassert.predict.sockets import ONLY_V6, SocketSet


def one_conflicts(one: SocketSet) -> Callable[[SocketSet], bool]:
    """Return whether a socket keeps the one of `one` from being bound, as a function of it."""

    def conflicts(other: SocketSet) -> bool:
        if not one.address.is_ip:
            return one.address.abstract is not None and one.address == other.address
        # Of datagram sockets it is enough that each has SO_REUSEADDR (udp_lib_lport_inuse).
        shared = _is_udp(one) and _has(one, "SO_REUSEADDR") and _has(other, "SO_REUSEADDR")
        return overlap(one, other) and not shared and not (shares_port(one) and shares_port(other))

    return conflicts


def is_never_bound(one: SocketSet) -> bool:
    """Return whether the kernel refuses an address whatever else is bound (EINVAL).

    It maps one of IPv4, and the socket takes IPv6 alone (Linux, inet6_bind; seen on 6.18).
    """
    return one.address.unmapped != one.address and ONLY_V6 in one.options


def conflicts_within(sets: Sequence[SocketSet]) -> Iterator[SocketSet]:
    """Yield the sockets of a listener that cannot be bound beside those of an address before.

    Those of TCP that overlap are bound, and do not listen.

    Args:
        sets: its sockets, per address.
    """
    for number, one in enumerate(sets):
        before = [other for other in sets[:number] if other.protocol == "UDP"]
        if any(map(one_conflicts(one), before)):
            yield one


def overlap(one: SocketSet, other: SocketSet) -> bool:
    """Return whether two sockets of IP have the same port, and clients that could mean either.

    Args:
        one: a socket.
        other: another one.
    """
    mine, theirs = one.address, other.address
    if not (mine.is_ip and theirs.is_ip) or _is_udp(one) != _is_udp(other):
        return False
    if not mine.port or mine.port != theirs.port or mine.netns != theirs.netns:
        return False
    families = _families(one) & _families(other)
    same = mine == theirs and mine.zone == theirs.zone
    return same or (bool(families) and (mine.is_wildcard or theirs.is_wildcard))


def shares_port(one: SocketSet) -> bool:
    """Return whether sockets have SO_REUSEPORT when they are bound and begin to listen."""
    return _has(one, "SO_REUSEPORT")


def _has(one: SocketSet, name: str) -> bool:
    mine = [o for o in one.options if o.name == name and o.phase != "listening"]
    # Whatever the order in the config, those before bind come first.
    values = [o.value for o in sorted(mine, key=lambda option: option.phase != "before_bind")]
    return bool(values and values[-1])


def _is_udp(one: SocketSet) -> bool:
    return one.protocol == "UDP"  # TCP and MPTCP have the same ports


def _families(one: SocketSet) -> set[str]:
    """Return the families of the clients of a socket: of `::` both, unless it is V6ONLY.

    Of an IPv4-mapped address they are clients of IPv4.
    """
    if one.address.unmapped != one.address:
        return {"AF_INET"}
    both = any(option.name == "IPV6_V6ONLY" and option.value == 0 for option in one.options)
    return {one.address.family, "AF_INET"} if both else {one.address.family}
