"""The offsets of a time namespace, as the kernel prints them."""

from envoyassert.clock import parse_offsets


def test_offsets_are_read_by_clock():
    text = "monotonic      100000         0\nboottime          -10 500000000\n"
    assert parse_offsets(text) == {"monotonic": 100_000_000_000_000, "boottime": -9_500_000_000}
