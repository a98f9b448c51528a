"""What getsockopt(2) returns of an option that setsockopt(2) was given: seldom the same bytes.

Measured on Linux 6.18 by setting each option of `envoyassert.names` on sockets of TCP, UDP, MPTCP
and AF_UNIX before and after bind and listen; `tests/unit/test_option_read_back.py` does it again.
What is not here is not compared: options that cannot be read (SO_ATTACH_FILTER and its like,
memberships, SO_RCVBUFFORCE), that change by themselves (TCP_QUICKACK, SO_PEEK_OFF, SO_INCOMING_CPU
of UDP), or that the kernel answers by what suits it (IPV6_ADDR_PREFERENCES, TCP_ULP).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping

from envoyassert.addresses import Address
from envoyassert.frozen import frozen
from envoyassert.names import LEVELS, OPTIONS
from envoyassert.option_values import OptionValue

#: A socket option by the names of its level and of itself, or their numbers.
Option = tuple[int | str, int | str]

#: Whatever is set but 0 reads as 1.
FLAGS = {
    "SOL_SOCKET": frozenset(
        {"SO_DEBUG", "SO_REUSEADDR", "SO_DONTROUTE", "SO_BROADCAST", "SO_KEEPALIVE"}
        | {"SO_OOBINLINE", "SO_NO_CHECK", "SO_REUSEPORT", "SO_PASSCRED", "SO_PASSSEC"}
        | {"SO_TIMESTAMP", "SO_TIMESTAMPNS", "SO_RXQ_OVFL", "SO_WIFI_STATUS", "SO_NOFCS"}
        | {"SO_LOCK_FILTER", "SO_SELECT_ERR_QUEUE", "SO_PREFER_BUSY_POLL", "SO_RCVMARK"}
    ),
    "IPPROTO_IP": frozenset(
        {"IP_RECVOPTS", "IP_RETOPTS", "IP_PKTINFO", "IP_RECVERR", "IP_RECVTTL", "IP_RECVTOS"}
        | {"IP_FREEBIND", "IP_PASSSEC", "IP_TRANSPARENT", "IP_RECVORIGDSTADDR", "IP_CHECKSUM"}
        | {"IP_BIND_ADDRESS_NO_PORT", "IP_RECVFRAGSIZE", "IP_MULTICAST_LOOP"}
    ),
    "IPPROTO_IPV6": frozenset(
        {"IPV6_RECVERR", "IPV6_MULTICAST_ALL", "IPV6_FLOWINFO_SEND", "IPV6_RECVPKTINFO"}
        | {"IPV6_RECVHOPLIMIT", "IPV6_RECVHOPOPTS", "IPV6_RECVRTHDR", "IPV6_RECVDSTOPTS"}
        | {"IPV6_RECVPATHMTU", "IPV6_DONTFRAG", "IPV6_RECVTCLASS", "IPV6_AUTOFLOWLABEL"}
        | {"IPV6_RECVORIGDSTADDR", "IPV6_TRANSPARENT", "IPV6_RECVFRAGSIZE", "IPV6_FREEBIND"}
    ),
    "IPPROTO_TCP": frozenset({"TCP_NODELAY", "TCP_CORK"}),
    "IPPROTO_UDP": frozenset({"UDP_CORK", "UDP_NO_CHECK6_TX", "UDP_NO_CHECK6_RX", "UDP_GRO"}),
}

#: What is set is read. Of some -1 stands for a default, which is read in its place.
SAME = {
    "SOL_SOCKET": frozenset(
        {"SO_PRIORITY", "SO_MARK", "SO_TIMESTAMPING", "SO_BUSY_POLL", "SO_MAX_PACING_RATE"}
        | {"SO_ZEROCOPY", "SO_TXREHASH"}
    ),
    "IPPROTO_IP": frozenset(
        {"IP_TTL", "IP_MTU_DISCOVER", "IP_MINTTL", "IP_RECVERR_RFC4884", "IP_MULTICAST_TTL"}
        | {"IP_MULTICAST_ALL", "IP_LOCAL_PORT_RANGE"}
    ),
    "IPPROTO_IPV6": frozenset(
        {"IPV6_UNICAST_HOPS", "IPV6_MULTICAST_HOPS", "IPV6_MULTICAST_LOOP", "IPV6_MTU_DISCOVER"}
        | {"IPV6_MINHOPCOUNT", "IPV6_RECVERR_RFC4884"}
    ),
    "IPPROTO_TCP": frozenset(
        {"TCP_SYNCNT", "TCP_USER_TIMEOUT", "TCP_THIN_LINEAR_TIMEOUTS", "TCP_NOTSENT_LOWAT"}
        | {"TCP_SAVE_SYN", "TCP_INQ", "TCP_FASTOPEN_NO_COOKIE", "TCP_TX_DELAY"}
    ),
    "IPPROTO_UDP": frozenset({"UDP_ENCAP", "UDP_SEGMENT"}),
}
_DEFAULTED = frozenset(
    {"IP_TTL", "IPV6_UNICAST_HOPS", "IPV6_MULTICAST_HOPS", "IP_MULTICAST_TTL", "SO_TXREHASH"}
)

#: MPTCP takes these and has none of them (Linux, net/mptcp/sockopt.c).
_NOT_MPTCP = frozenset(
    {"SO_DONTROUTE", "SO_BROADCAST", "SO_NO_CHECK", "SO_RXQ_OVFL", "SO_WIFI_STATUS", "SO_NOFCS"}
    | {"SO_SELECT_ERR_QUEUE", "TCP_MAXSEG", "SO_PASSCRED", "SO_PASSSEC", "IP_TOS"}
)

#: Not compared where one of these was set as well: both are one state of the socket.
_BESIDE = {
    "SO_PRIORITY": {"IP_TOS"},
    "SO_RCVBUF": {"SO_RCVBUFFORCE"},
    "SO_SNDBUF": {"SO_SNDBUFFORCE"},
    "SO_RCVLOWAT": {"SO_RCVBUF", "SO_RCVBUFFORCE"},
    "SO_BINDTODEVICE": {"SO_BINDTOIFINDEX"},
    "SO_TIMESTAMP": {"SO_TIMESTAMPNS", "SO_TIMESTAMP_NEW", "SO_TIMESTAMPNS_NEW"},
    "SO_TIMESTAMPNS": {"SO_TIMESTAMP", "SO_TIMESTAMP_NEW", "SO_TIMESTAMPNS_NEW"},
    "SO_TIMESTAMPING": {"SO_TIMESTAMPING_NEW"},
    "IP_FREEBIND": {"IPV6_FREEBIND"},
    "IPV6_FREEBIND": {"IP_FREEBIND"},
    "IP_TRANSPARENT": {"IPV6_TRANSPARENT"},
    "IPV6_TRANSPARENT": {"IP_TRANSPARENT"},
}

#: Read as bytes of this length; the others are numbers.
_LENGTHS = {
    "SO_LINGER": 8,
    "SO_BINDTODEVICE": 16,
    "SO_RCVTIMEO": 16,
    "SO_SNDTIMEO": 16,
    "TCP_CONGESTION": 16,
}
_TIMEVAL = struct.Struct("=qq")
#: A timeout is kept in ticks, of which there are at least 100 in a second.
_TICK_US = 10_000
_US_PER_S = 1_000_000

_INT = struct.Struct("=i")
_UNSIGNED = 0xFFFFFFFF
#: The least that a buffer becomes depends on the architecture; beyond this twice the value is kept.
_SMALL_BUFFER = 8192
#: Linux, include/net/tcp.h: TCP_TIMEOUT_INIT and TCP_RTO_MAX, in seconds.
_FIRST_RTO_S, _RTO_MAX_S, _MOST_RETRIES = 1, 120, 255
_ECN_BITS = 3


@frozen
class Surroundings:
    """What the answer depends on beside the value.

    Args:
        protocol: as `KernelSocket.protocol_name`.
        address: what the socket is bound to, None if it is not.
        limits: values of sysctls by their names (`net.core.rmem_max`), as far as they are known.
        beside: names of all options that were set on the socket.
    """

    protocol: str
    address: Address | None
    limits: Mapping[str, int]
    beside: frozenset[int | str] = frozenset()


def question(level: int | str, name: int | str) -> tuple[int, int, int] | None:
    """Return how to ask for an option: level, number and length in bytes, 0 for a number.

    None if its answer is not known to be what was set.
    """
    if not isinstance(level, str) or not isinstance(name, str) or not _is_known(level, name):
        return None
    levels = {text: number for number, text in LEVELS.items()}
    numbers = {text: number for number, text in OPTIONS[level].items()}
    return levels[level], numbers[name], _LENGTHS.get(name, 0)


def known_options() -> list[tuple[str, str]]:
    """Return level and name of every option whose answer is known to be what was set."""
    return [
        (level, name)
        for level, options in OPTIONS.items()
        for name in options.values()
        if _is_known(level, name)
    ]


def _is_known(level: str, name: str) -> bool:
    listed = name in FLAGS.get(level, ()) or name in SAME.get(level, ())
    return name in OPTIONS.get(level, {}).values() and (
        listed or name in _RULES or name in _OTHER_FORMS
    )


def reads_back(
    level: int | str, name: int | str, value: OptionValue, seen: OptionValue, place: Surroundings
) -> bool | None:
    """Return whether an option that was set to a value would be read as another one.

    Args:
        level: of the option.
        name: of the option.
        value: what setsockopt was given, as in the trace.
        seen: what getsockopt returned, in the same form.
        place: on what socket.

    Returns:
        None if it is not known of this option, value or socket.
    """
    if not isinstance(level, str) or not isinstance(name, str) or None in (value, seen):
        return None
    if place.protocol == "MPTCP" and name in _NOT_MPTCP:
        return None
    if _BESIDE.get(name, frozenset()) & place.beside:
        return None
    if name in _OTHER_FORMS:
        return _OTHER_FORMS[name](value, seen)
    number = _number(value)
    if number is None or not isinstance(seen, int):
        return None
    if name in _RULES:
        expected = _RULES[name](number, place)
    elif name in FLAGS.get(level, ()):
        expected = int(number != 0)
    elif name in SAME.get(level, ()):
        expected = None if number == -1 and name in _DEFAULTED else number
    else:
        return None
    return None if expected is None else (expected - seen) & _UNSIGNED == 0


def asked_for(name: str, seen: OptionValue) -> OptionValue:
    """Return a value that an option was set to if it reads so; None if that is not known.

    Args:
        name: of an option that a new socket has another value of.
        seen: what getsockopt returned.
    """
    if name in ("SO_RCVBUF", "SO_SNDBUF") and isinstance(seen, int):
        return seen // 2
    if name in ("TCP_DEFER_ACCEPT", "IPV6_V6ONLY"):
        return None  # of several values, or of where it is bound
    return seen


def stands_alone(name: str, beside: Collection[str]) -> bool:
    """Return whether no other option that is set has a part in the value of an option.

    Args:
        name: of the option.
        beside: names of all options that are set.
    """
    return not _BESIDE.get(name, set()) & set(beside)


def _number(value: OptionValue) -> int | None:
    """Return what the kernel takes for an option that is a number: the first four bytes.

    At the levels of IP it takes one byte as well, of which the value in a trace is hexadecimal.
    """
    if isinstance(value, int):
        return int(_INT.unpack(_INT.pack(value & 0x7FFFFFFF | -(value & 0x80000000)))[0])
    if isinstance(value, str) and len(value) in (2, *range(8, 2049)):
        try:
            content = bytes.fromhex(value)
        except ValueError:
            return None
        return content[0] if len(content) == 1 else int(_INT.unpack(content[:4])[0])
    return None


def _buffer(limit: str) -> Callable[[int, Surroundings], int | None]:
    def kept(value: int, place: Surroundings) -> int | None:
        most = place.limits.get(limit)
        if most is None or value < _SMALL_BUFFER:
            return None
        return 2 * min(value, most)

    return kept


def _v6only(value: int, place: Surroundings) -> int | None:
    """Bound to one IPv6 address a socket takes no IPv4 (net/ipv6/af_inet6.c, __inet6_bind())."""
    host = "" if place.address is None else place.address.host or ""
    if host in ("", "::") or host.startswith("::ffff:"):
        return int(value != 0)
    return 1


def _deferred(value: int, _: Surroundings) -> int:
    """Seconds become retries of the handshake and these seconds (secs_to_retrans())."""
    if value <= 0:
        return 0
    retries, timeout, period = 1, _FIRST_RTO_S, _FIRST_RTO_S
    while value > period and retries < _MOST_RETRIES:
        retries += 1
        timeout = min(timeout << 1, _RTO_MAX_S)
        period += timeout
    return period


def _fast_open(value: int, place: Surroundings) -> int | None:
    most = place.limits.get("net.core.somaxconn")
    return None if most is None else min(value & _UNSIGNED, most)


def _class(value: int, place: Surroundings) -> int | None:
    if value < 0:
        return None
    return value & (0xFF if place.protocol == "UDP" else 0xFF & ~_ECN_BITS)


def _within(low: int, high: int) -> Callable[[int, Surroundings], int | None]:
    return lambda value, _: value if low <= value <= high else None


_RULES: dict[str, Callable[[int, Surroundings], int | None]] = {
    "SO_RCVBUF": _buffer("net.core.rmem_max"),
    "SO_SNDBUF": _buffer("net.core.wmem_max"),
    "SO_RCVLOWAT": _within(1, 1000),
    "IP_TOS": _class,
    "IPV6_TCLASS": _class,
    "IPV6_V6ONLY": _v6only,
    # MPTCP takes what lies outside of these bounds, and leaves the option as it was.
    "TCP_KEEPIDLE": _within(1, (1 << 15) - 1),
    "TCP_KEEPINTVL": _within(1, (1 << 15) - 1),
    "TCP_KEEPCNT": _within(1, 127),
    "TCP_MAXSEG": _within(88, 1 << 15),
    "TCP_LINGER2": _within(1, 60),
    "TCP_WINDOW_CLAMP": _within(_SMALL_BUFFER, 1 << 30),
    "TCP_DEFER_ACCEPT": _deferred,
    "TCP_FASTOPEN": _fast_open,
}


def _same_text(value: OptionValue, seen: OptionValue) -> bool | None:
    return value == seen if isinstance(value, str) else None


def _same_linger(value: OptionValue, seen: OptionValue) -> bool | None:
    if not isinstance(value, dict) or not isinstance(seen, dict):
        return None
    on = value["onoff"] != 0
    # Without it the seconds stay what they were; very many become what the kernel can count.
    seconds = value["linger_s"]
    if on and isinstance(seconds, int) and not 0 <= seconds < _US_PER_S:
        return None
    return seen["onoff"] == int(on) and (not on or seen["linger_s"] == seconds)


def _same_timeout(value: OptionValue, seen: OptionValue) -> bool | None:
    pair = [_timeout_us(one) for one in (value, seen)]
    if pair[0] is None or pair[1] is None:
        return None
    return 0 <= pair[1] - pair[0] <= _TICK_US


def _timeout_us(value: OptionValue) -> int | None:
    if not isinstance(value, str) or len(value) != 2 * _TIMEVAL.size:
        return None
    seconds, microseconds = _TIMEVAL.unpack(bytes.fromhex(value))
    return int(seconds * _US_PER_S + microseconds)


_OTHER_FORMS: dict[str, Callable[[OptionValue, OptionValue], bool | None]] = {
    "SO_BINDTODEVICE": _same_text,
    "TCP_CONGESTION": _same_text,
    "SO_LINGER": _same_linger,
    "SO_RCVTIMEO": _same_timeout,
    "SO_SNDTIMEO": _same_timeout,
}
