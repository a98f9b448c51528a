"""Values of socket options: decoded from the wire, shown, compared and asserted."""

from __future__ import annotations

import hashlib
import struct

import pytest

from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.option_values import (
    decode_option_value,
    option_value_of,
    value_matches,
    value_text,
)
from envoyassert.testing import TraceBuilder
from envoyassert.words.listener import ListenerExpectation

PROGRAM = struct.pack("=HBBI", 0x06, 0, 0, 0xFFFF) * 2
HASH = hashlib.sha256(PROGRAM).hexdigest()


def head(data: bytes) -> tuple[int, int]:
    first, second = struct.unpack("=2i", data.ljust(8, b"\0")[:8])
    return first, second


@pytest.mark.parametrize(
    "name, length, first, data, value",
    [
        ("SO_LINGER", 8, (1, 5), b"", {"onoff": 1, "linger_s": 5}),
        ("SO_LINGER", 4, (1, 0), b"", 1),
        ("SO_ATTACH_FILTER", 16, (2, 0), PROGRAM, {"instructions": 2, "sha256": HASH}),
        ("SO_ATTACH_FILTER", 16, (3, 0), PROGRAM, {"instructions": 3, "sha256": None}),
        ("SO_ATTACH_REUSEPORT_CBPF", 4, (7, 0), b"", 7),
        ("TCP_CONGESTION", 3, head(b"bbr"), b"", "bbr"),
        ("TCP_CONGESTION", 4, head(b"reno"), b"", "reno"),
        ("TCP_CONGESTION", 10, (0, 0), b"illinois\0\0", "illinois"),
        ("SO_BINDTODEVICE", 5, head(b"eth0\0"), b"", "eth0"),
        ("SO_RCVTIMEO", 16, (0, 0), bytes(16), "00" * 16),
    ],
)
def test_structure_is_described_by_its_parts(name, length, first, data, value):
    assert decode_option_value(name, length, first, data) == value


@pytest.mark.parametrize(
    "name, content, value",
    [
        ("TCP_CONGESTION", b"bbr", "bbr"),
        ("SO_LINGER", struct.pack("=2i", 1, 5), {"onoff": 1, "linger_s": 5}),
        ("SO_MARK", struct.pack("=i", -7), -7),
        ("SO_MAX_PACING_RATE", struct.pack("=q", 1 << 40), 1 << 40),
        ("SO_RCVTIMEO", bytes(16), "00" * 16),
    ],
)
def test_bytes_of_a_config_are_decoded_as_those_of_a_call(name, content, value):
    assert option_value_of(name, content) == value


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "?"),
        (1, "1"),
        ({"onoff": 1, "linger_s": 5}, "{onoff: 1, linger_s: 5}"),
        ({"instructions": 2, "sha256": HASH}, f"{{instructions: 2, sha256: {HASH[:12]}…}}"),
        ({"instructions": 99, "sha256": None}, "{instructions: 99, sha256: ?}"),
    ],
)
def test_value_is_shown_briefly(value, text):
    assert value_text(value) == text


@pytest.mark.parametrize(
    "seen, wanted, matches",
    [
        (1, 1, True),
        (1, 2, False),
        (None, 1, None),
        (1, {"onoff": 1}, False),
        ({"instructions": 2, "sha256": HASH}, {"sha256": HASH[:8]}, True),
        ({"instructions": 2, "sha256": HASH}, {"sha256": HASH[1:9]}, False),
        ({"instructions": 2, "sha256": HASH}, {"onoff": 1}, False),
        ({"instructions": 99, "sha256": None}, {"instructions": 99}, True),
        ({"instructions": 99, "sha256": None}, {"sha256": HASH}, None),
        ({"instructions": 99, "sha256": None}, {"sha256": HASH, "instructions": 98}, False),
    ],
)
def test_wanted_parts_are_compared_and_what_was_not_read_matches_nothing(seen, wanted, matches):
    assert value_matches(seen, wanted) is matches


@pytest.mark.parametrize(
    "name, seen, wanted, status",
    [
        ("SO_LINGER", {"onoff": 1, "linger_s": 5}, {"onoff": 1, "linger_s": 5}, Status.PASS),
        ("SO_LINGER", {"onoff": 1, "linger_s": 5}, {"onoff": 1, "linger_s": 6}, Status.FAIL),
        ("TCP_CONGESTION", "bbr", "bbr", Status.PASS),
        ("TCP_CONGESTION", "bbr", "reno", Status.FAIL),
        ("SO_ATTACH_FILTER", {"instructions": 2, "sha256": HASH}, {"sha256": HASH}, Status.PASS),
        ("SO_ATTACH_FILTER", {"instructions": 2, "sha256": HASH}, {"instructions": 3}, Status.FAIL),
        (
            "SO_ATTACH_FILTER",
            {"instructions": 99, "sha256": None},
            {"sha256": HASH},
            Status.INCONCLUSIVE,
        ),
    ],
)
def test_value_with_parts_is_judged_by_those_that_are_given(name, seen, wanted, status):
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener("127.0.0.1:80")
    option = {"level": "SOL_SOCKET", "name": name, "length": 16}
    trace.call(trace.main, "setsockopt", 0, fd=fd, **option, value=seen)
    item = ListenerExpectation.model_validate(
        {"listener": {"port": 80}, "options": {name: {"value": wanted}}}
    )

    assert judge(trace.build(), [(0, item)], workers=1).status is status
