"""What getsockopt returns of what setsockopt was given: the table against the running kernel."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest

from envoyassert.addresses import Address
from envoyassert.option_read_back import Surroundings, known_options, question, reads_back
from envoyassert.option_values import OptionValue, option_value_of

#: Kinds of sockets: protocol, and what it is bound to.
SOCKETS = {
    ("TCP", "127.0.0.1"): (socket.AF_INET, socket.SOCK_STREAM, 0),
    ("TCP", "::1"): (socket.AF_INET6, socket.SOCK_STREAM, 0),
    ("TCP", "::"): (socket.AF_INET6, socket.SOCK_STREAM, 0),
    ("UDP", "127.0.0.1"): (socket.AF_INET, socket.SOCK_DGRAM, 0),
    ("UDP", "::1"): (socket.AF_INET6, socket.SOCK_DGRAM, 0),
    ("MPTCP", "127.0.0.1"): (socket.AF_INET, socket.SOCK_STREAM, 262),
    ("UNIX", ""): (socket.AF_UNIX, socket.SOCK_STREAM, 0),
}
NUMBERS = (-1, 0, 1, 2, 5, 60, 64, 100, 255, 1000, 20_000, 70_000, 10_000_000)
CONTENTS: dict[str, tuple[bytes, ...]] = {
    "SO_LINGER": (struct.pack("=2i", 0, 0), struct.pack("=2i", 1, 0), struct.pack("=2i", 7, 30)),
    "SO_BINDTODEVICE": (b"", b"lo\0"),
    "TCP_CONGESTION": (b"cubic", b"reno\0"),
    "SO_RCVTIMEO": tuple(struct.pack("=2q", *t) for t in ((0, 0), (0, 1), (3, 500_001))),
    "SO_SNDTIMEO": tuple(struct.pack("=2q", *t) for t in ((0, 0), (0, 1), (3, 500_001))),
}
#: What the kernel says to values and kinds of sockets that it does not take.
REFUSED = {
    *(errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.ERANGE, errno.ENODEV),
    *(errno.EADDRNOTAVAIL, errno.ENOTCONN, errno.EPERM, errno.EACCES, errno.ENOENT),
}
DENIED = {errno.EPERM, errno.EACCES}
NAMES = [f"{level}/{name}" for level, name in known_options()]


def limits() -> dict[str, int]:
    names = ("rmem_max", "wmem_max", "somaxconn")
    return {
        f"net.core.{name}": int(Path(f"/proc/sys/net/core/{name}").read_text()) for name in names
    }


def ready(made: socket.socket, host: str) -> None:
    """Bind a socket, and let it listen if it is one of connections."""
    made.bind((host, 0) if host else "")
    if made.type == socket.SOCK_STREAM:
        made.listen()


def refusal(call: Callable[..., object], *arguments: object) -> int:
    """Return the error of a call, 0 if it succeeded."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno or 0
    return 0


def asked(made: socket.socket, option: str) -> OptionValue:
    """Return what a socket shows, None if it shows nothing of this option."""
    level, name = option.split("/")
    how = question(level, name)
    assert how is not None
    number, code, length = how
    with suppress(OSError):
        if length:
            return option_value_of(name, made.getsockopt(number, code, length))
        return made.getsockopt(number, code)
    return None


def contents(name: str) -> tuple[bytes, ...]:
    return CONTENTS.get(name) or tuple(struct.pack("=i", number) for number in NUMBERS)


@pytest.mark.parametrize("option", NAMES)
def test_kernel_says_of_an_option_what_the_table_says(option: str) -> None:
    """Before the socket is bound, and when it listens; on every kind of socket that takes it."""
    level, name = option.split("/")
    how = question(level, name)
    assert how is not None
    known, beside = limits(), frozenset({name})
    refused, compared = set(), 0
    for (protocol, host), content in product(SOCKETS, contents(name)):
        with socket.socket(*SOCKETS[protocol, host]) as made:
            refused.add(error := refusal(made.setsockopt, how[0], how[1], content))
            if error:
                continue
            value = option_value_of(name, content)
            seen = asked(made, option)
            place = Surroundings(protocol, None, known, beside)
            assert reads_back(level, name, value, seen, place) is not False, (place, value, seen)
            refused.add(error := refusal(ready, made, host))
            if error:
                continue
            seen = asked(made, option)
            place = Surroundings(protocol, Address.inet(host, 1) if host else None, known, beside)
            answer = reads_back(level, name, value, seen, place)
            assert answer is not False, (place, value, seen)
            compared += answer is True
    assert refused <= REFUSED | {0}
    assert compared or refused & DENIED, "no kind of socket shows what was set"


@pytest.mark.parametrize(
    "level, name, value, seen",
    [
        ("SOL_SOCKET", "SO_KEEPALIVE", 1, 0),
        ("SOL_SOCKET", "SO_KEEPALIVE", 0, 1),
        ("SOL_SOCKET", "SO_RCVBUF", 100_000, 100_000),
        ("SOL_SOCKET", "SO_RCVBUF", 10_000_000, 20_000_000),
        ("SOL_SOCKET", "SO_LINGER", {"onoff": 1, "linger_s": 5}, {"onoff": 1, "linger_s": 6}),
        ("SOL_SOCKET", "SO_BINDTODEVICE", "lo", ""),
        ("IPPROTO_TCP", "TCP_FASTOPEN", 70_000, 70_000),
        ("IPPROTO_TCP", "TCP_FASTOPEN", 128, 127),
        ("IPPROTO_TCP", "TCP_DEFER_ACCEPT", 2, 2),
        ("IPPROTO_TCP", "TCP_CONGESTION", "cubic", "reno"),
        ("IPPROTO_IP", "IP_TOS", "10", 0),
        ("IPPROTO_IPV6", "IPV6_V6ONLY", 0, 1),
    ],
)
def test_another_value_is_distinguished_from_what_was_set(
    level: str, name: str, value: OptionValue, seen: OptionValue
) -> None:
    known = {"net.core.rmem_max": 212_992, "net.core.somaxconn": 4096}
    place = Surroundings("TCP", Address.inet("::", 80), known, frozenset({name}))
    assert reads_back(level, name, value, seen, place) is False


UNTOLD: list[tuple[str | int, str | int, OptionValue, str, frozenset[str | int]]] = [
    ("SOL_SOCKET", "SO_ATTACH_FILTER", {"instructions": 1, "sha256": None}, "TCP", frozenset()),
    ("SOL_SOCKET", "SO_RCVBUFFORCE", 5000, "TCP", frozenset()),
    ("SOL_SOCKET", "SO_BROADCAST", 1, "MPTCP", frozenset()),
    ("SOL_SOCKET", "SO_RCVBUF", 100_000, "TCP", frozenset({"SO_RCVBUFFORCE"})),
    ("SOL_SOCKET", "SO_SNDBUF", 100_000, "TCP", frozenset()),
    ("SOL_SOCKET", "SO_KEEPALIVE", None, "TCP", frozenset()),
    ("IPPROTO_IP", "IP_TTL", -1, "TCP", frozenset()),
    ("IPPROTO_IP", "IP_FREEBIND", 0, "TCP", frozenset({"IPV6_FREEBIND"})),
    ("IPPROTO_TCP", "TCP_QUICKACK", 0, "TCP", frozenset()),
    ("IPPROTO_TCP", 99, 1, "TCP", frozenset()),
    (99, 1, 1, "TCP", frozenset()),
]


@pytest.mark.parametrize("level, name, value, protocol, beside", UNTOLD)
def test_what_the_kernel_does_not_show_is_not_compared(
    level: str | int,
    name: str | int,
    value: OptionValue,
    protocol: str,
    beside: frozenset[str | int],
) -> None:
    place = Surroundings(protocol, None, {"net.core.rmem_max": 212_992}, beside)
    for seen in (0, 1, 2, 64):
        assert reads_back(level, name, value, seen, place) is None
