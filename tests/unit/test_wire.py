"""Bytes to events, from hand-written records: no kernel, no root."""

from __future__ import annotations

import re
import struct
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoyassert import wire
from envoyassert.addresses import Address
from envoyassert.calls import NOTED, SOURCES, TYPES
from envoyassert.calls.payload import decode_address
from envoyassert.events import Event
from envoyassert.wire import Decoder, RecordError, decode, records_of, static_asserts, type_enum

NUMBER = {source.constant: number for number, (source, _) in SOURCES.items()}


def record(
    constant: str,
    args: tuple[int, ...] = (),
    *,
    ret: int = 0,
    data: bytes = b"",
    frames: bytes = b"",
    stack: int = 0,
    flags: int = 0,
    ts_ns: int = 1000,
    cpu: int = 0,
    seq: int = 1,
    pid: int = 10,
    tid: int = 11,
) -> bytes:
    """Build a record as the program writes it; the layout is spelled out here a third time."""
    head = struct.pack(
        "=QqQIIIIHBBHH",
        *(ts_ns, ret, stack, 1, seq, pid, tid, cpu),
        *(NUMBER[constant], flags, len(frames) // 32, len(data)),
    )
    numbers = [number & 0xFFFFFFFF for number in args] + [0] * (6 - len(args))
    # The ring hands out multiples of eight bytes.
    return head + struct.pack("=6I", *numbers) + frames + data + bytes(-len(data) % 8)


def frame(status: int, build_id: bytes, offset: int) -> bytes:
    return struct.pack("=i20sQ", status, build_id, offset)


def one(*args, **fields) -> Event:
    (event,) = decode([record(*args, **fields)])
    return event


IPV4 = struct.pack("=H", 2) + struct.pack("!H", 15006) + bytes([127, 0, 0, 1]) + bytes(8)
IPV6 = struct.pack("=H", 10) + struct.pack("!H", 15006) + bytes(4) + bytes(15) + b"\1" + bytes(4)


@pytest.mark.parametrize(
    "data, address",
    [
        (IPV4, Address.inet("127.0.0.1", 15006)),
        (IPV6, Address.inet("::1", 15006)),
        (struct.pack("=H", 1) + b"/run/x.sock\0", Address("AF_UNIX", path="/run/x.sock")),
        (struct.pack("=H", 1) + b"/run/x.sock", Address("AF_UNIX", path="/run/x.sock")),
        (struct.pack("=H", 1) + b"\0x\0y\0", Address("AF_UNIX", abstract="x\0y\0")),
        (struct.pack("=H", 1), Address("AF_UNIX", path="")),
        (struct.pack("=H", 1) + b"/\xff\0", Address("AF_UNIX", path="/\\xff")),
        (struct.pack("=HHII", 16, 0, 7, 0), Address("AF_NETLINK")),
        (struct.pack("=H", 77) + bytes(20), Address("AF_77")),
        (IPV4[:7], None),
        (IPV6[:23], None),
        (b"\2", None),
        (b"", None),
    ],
)
def test_address_of_every_family_is_decoded_or_none_if_cut_short(data, address):
    assert decode_address(data) == address
    assert one("EA_BIND", (5,), data=data).args == {"fd": 5, "address": address}


CASES: dict[str, Any] = {
    "EA_SOCKET": (
        ((2, 1 | 0o4000, 6), {"ret": 9}),
        {"family": "AF_INET", "type": "SOCK_STREAM", "flags": ["SOCK_NONBLOCK"], "protocol": 6},
    ),
    "EA_LISTEN": (((-1, 4096), {"ret": -9}), {"fd": -1, "backlog": 4096}),
    "EA_FCNTL": (((7, 1030, 3), {"ret": 8}), {"fd": 7, "cmd": "F_DUPFD_CLOEXEC", "arg": 3}),
    "EA_CLOSE_RANGE": (
        ((3, 0xFFFFFFFF, 4), {}),
        {"first": 3, "last": 0xFFFFFFFF, "flags": 4},
    ),
    "EA_EPOLL_CREATE": (((8,), {"ret": 4}), {"flags": []}),
    "EA_EPOLL_CTL": (
        ((4, 3, 9, 0x80000001), {}),
        {"epfd": 4, "op": "EPOLL_CTL_MOD", "fd": 9, "events": ["EPOLLIN", "EPOLLET"]},
    ),
    "EA_SOCKETPAIR": (
        ((1, 2, 0, 0, 5, 6), {}),
        {"family": "AF_UNIX", "type": "SOCK_DGRAM", "flags": [], "protocol": 0, "fds": [5, 6]},
    ),
    "EA_RECVMSG": (
        ((3,), {"ret": 1, "data": struct.pack("=2i", 11, 12)}),
        {"fd": 3, "fds": [11, 12], "truncated": False},
    ),
    "EA_SENDMSG": (
        ((3,), {"ret": 1, "data": struct.pack("=i", 11), "flags": wire.TRUNCATED}),
        {"fd": 3, "fds": [11], "truncated": True},
    ),
    "EA_FCHMODAT": (((-100, 0, 0o660), {"data": b"/a\0"}), {"path": "/a", "mode": 0o660}),
    "EA_EXEC": (
        (
            (2,),
            {
                "data": b"envoy".ljust(16, b"\0")
                + b"/usr/bin/envoy".ljust(240, b"\0")
                + b"envoy\0--v\0cut"
            },
        ),
        {"filename": "/usr/bin/envoy", "argv": ["envoy", "--v"], "name": "envoy"},
    ),
    "EA_EXIT": (((1, 3, 1), {}), {"status": 3, "last": True}),
    "EA_TCP_STATE": (
        ((-2, 1, 10, 7), {}),
        {"sk": "0x1fffffffe", "old": "TCP_LISTEN", "new": "TCP_CLOSE"},
    ),
}


def test_listen_gives_the_kernel_s_address_of_a_socket_that_began_to_listen():
    assert one("EA_LISTEN", (3, -1, 0, 0, -2, 1)).args == {
        "fd": 3,
        "backlog": -1,
        "sk": "0x1fffffffe",
    }


@pytest.mark.parametrize("constant", CASES)
def test_record_is_decoded_to_its_named_arguments(constant):
    (args, fields), expected = CASES[constant]

    event = one(constant, args, **fields)

    assert event.args == expected
    assert event.call == SOURCES[NUMBER[constant]][1].name


@pytest.mark.parametrize(
    "length, numbers, data, value",
    [
        (4, (1, 0), b"", 1),
        (4, (-1, 0), b"", -1),
        (8, (0, 1), b"", 1 << 32),
        (8, (-1, -1), b"", -1),
        (2, (0x0201, 0), b"", "0102"),
        (0, (0, 0), b"", ""),
        (12, (0, 0), bytes(range(12)), bytes(range(12)).hex()),
    ],
)
def test_option_value_is_a_number_of_four_or_eight_bytes_or_hex(length, numbers, data, value):
    event = one("EA_SETSOCKOPT", (9, 1, 15, length, *numbers), data=data)

    assert event.args == {
        "fd": 9,
        "level": "SOL_SOCKET",
        "name": "SO_REUSEPORT",
        "length": length,
        "value": value,
    }


@pytest.mark.parametrize(
    "constant, args, missing",
    [
        ("EA_BIND", (5,), "address"),
        ("EA_UNLINK", (), "path"),
        ("EA_SETSOCKOPT", (5, 1, 15, 4), "value"),
    ],
)
def test_argument_that_could_not_be_read_is_none(constant, args, missing):
    event = one(constant, args, flags=wire.FAULT)

    assert event.fault
    assert event.args[missing] is None


@pytest.mark.parametrize("constant", ["EA_EXEC", "EA_FORK", "EA_RENAME", "EA_EPOLL_WAIT"])
def test_what_has_no_result_has_none(constant):
    assert one(constant, ret=0).ret is None
    assert one("EA_CLOSE", (3,), ret=-9).errno == "EBADF"


def test_events_are_sorted_by_time_cpu_and_number():
    made = [
        record("EA_CLOSE", (number,), ts_ns=ts, cpu=cpu, seq=seq)
        for number, (ts, cpu, seq) in enumerate([(5, 1, 1), (3, 0, 2), (5, 0, 3), (3, 0, 1)])
    ]

    assert [event.args["fd"] for event in decode(made)] == [3, 1, 2, 0]


FRAMES = frame(1, b"\xab" * 20, 0x10) + frame(2, bytes(20), 0x7F00) + frame(0, bytes(20), 0)


@pytest.mark.parametrize("portions", [1, 2, 3])
def test_frames_sent_with_one_record_name_the_stack_of_all_in_any_order(portions):
    made = [
        record("EA_LISTEN", (1,), stack=77, seq=1, ts_ns=1),
        record("EA_LISTEN", (2,), stack=77, seq=2, ts_ns=2, frames=FRAMES),
        record("EA_LISTEN", (3,), stack=77, seq=3, ts_ns=3),
    ]
    decoder = Decoder()
    for start in range(portions):
        decoder.feed(made[start::portions])

    stack = ("ab" * 20 + "+0x10", "ip+0x7f00")
    assert [event.args["fd"] for event in decoder.events] == [1, 2, 3]
    assert [event.stack for event in decoder.events] == [stack] * 3


def test_stack_of_another_process_with_the_same_name_is_another_one():
    made = [
        record("EA_LISTEN", stack=77, frames=FRAMES, pid=1, ts_ns=1),
        record("EA_LISTEN", stack=77, pid=2, ts_ns=2),
    ]

    first, second = decode(made)
    assert first.stack
    assert second.stack == ()


@pytest.mark.parametrize(
    "broken, message",
    [
        (b"", "0 bytes"),
        (record("EA_CLOSE")[: wire.RECORD_SIZE - 1], "71 bytes"),
        (record("EA_CLOSE").replace(bytes([NUMBER["EA_CLOSE"], 0]), b"\xc8\0", 1), "type 200"),
        (record("EA_BIND", data=IPV4)[:-1], "claims"),
        (record("EA_LISTEN", frames=FRAMES)[:-1], "claims"),
    ],
)
def test_bytes_that_are_no_record_raise_the_dedicated_error(broken, message):
    with pytest.raises(RecordError, match=message):
        decode([record("EA_CLOSE"), broken])


def test_piece_of_the_ring_is_split_into_the_records_that_were_written_together():
    made = [
        record("EA_CLOSE", (7,), seq=1, cpu=3),
        record("EA_BIND", data=IPV4[:13], seq=2, cpu=3),
        record("EA_LISTEN", frames=FRAMES, stack=9, seq=3, cpu=3),
        record("EA_UNLINK", data=b"/run/x\0", seq=4, cpu=3),
    ]

    found = list(records_of(b"".join(made)))

    assert [(run, seq, cpu) for run, seq, cpu, _ in found] == [(1, seq, 3) for seq in (1, 2, 3, 4)]
    # What is left out fills the last record up to a multiple of 8 bytes.
    assert [whole[len(part) :] for whole, (*_, part) in zip(made, found, strict=True)] == [
        *(b"", bytes(3), b"", bytes(1))
    ]
    assert decode(part for *_, part in found) == decode(made)


@pytest.mark.parametrize("left", [1, 71, 72, 80])
def test_piece_that_ends_within_a_record_raises_the_dedicated_error(left):
    whole = record("EA_CLOSE") + record("EA_BIND", data=IPV4)

    with pytest.raises(RecordError, match=f"a record of {left} bytes"):
        list(records_of(whole[: len(record("EA_CLOSE")) + left]))


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_the_dedicated_error(data):
    try:
        events = decode([data])
    except RecordError:
        return
    assert len(events) == 1


@settings(max_examples=500)
@given(
    kind=st.sampled_from(sorted(NUMBER)),
    args=st.lists(st.integers(0, 2**32 - 1), min_size=6, max_size=6),
    ret=st.integers(-(2**63), 2**63 - 1),
    data=st.binary(max_size=1100),
    flags=st.integers(0, 255),
)
def test_record_of_any_numbers_decodes_to_an_event_of_json_types(kind, args, ret, data, flags):
    event = one(kind, tuple(args), ret=ret, data=data, flags=flags)

    for value in event.args.values():
        assert value is None or isinstance(value, (str, int, list, Address))


@settings(max_examples=500)
@given(
    kind=st.sampled_from(sorted(NUMBER)),
    args=st.lists(st.integers(0, 2**32 - 1), min_size=6, max_size=6),
    others=st.lists(st.integers(0, 2**32 - 1), min_size=6, max_size=6),
    failed=st.booleans(),
    data=st.binary(max_size=300),
)
def test_arguments_follow_from_what_a_row_says_to_look_at(kind, args, others, failed, data):
    source, _ = SOURCES[NUMBER[kind]]
    results = (-22, -1) if failed else (0, 7)
    looked_at = {*range(source.words)} - {*range(*source.pointers)}

    first, second = (
        one(
            kind, [(args if n in looked_at else rest)[n] for n in range(6)], ret=ret, data=data
        ).args
        for rest, ret in zip((args, others), results, strict=True)
    )

    assert first == second


def test_equal_arguments_of_one_call_are_one_object_and_numbers_too():
    first, second, closed = decode(
        [
            record("EA_ACCEPT4", (5, 1, 2), ret=3000, tid=70000, ts_ns=1),
            # Where the peer's address was to be put is looked at by none.
            record("EA_ACCEPT4", (5, 3, 4), ret=3000, tid=70000, ts_ns=2),
            record("EA_DUP", (5,), ret=3000, tid=70000, ts_ns=3),
        ]
    )

    assert first.args is second.args
    assert closed.args == {"fd": 5}
    assert first.ret is second.ret is closed.ret
    assert first.tid is second.tid is closed.tid


@pytest.mark.parametrize("constant", sorted(NUMBER))
def test_record_is_decoded_as_by_itself_after_others_that_differ_little(constant):
    ones = [tuple(int(n == place) for n in range(6)) for place in range(7)]
    made = [
        record(constant, args, ret=ret, data=data, flags=flags, ts_ns=1000 + number)
        for number, (args, ret, data, flags) in enumerate(
            product(ones, (0, -1), (b"", IPV4, IPV4[::-1], IPV6), (0, wire.FAULT, wire.TRUNCATED))
        )
    ]

    assert decode(made) == [event for each in made for event in decode([each])]


def test_record_that_was_not_read_whole_has_arguments_of_its_own():
    plain = record("EA_BIND", (5,), ts_ns=1, data=b"")
    faulty = record("EA_SETSOCKOPT", (5, 1, 2, 4), ts_ns=2, flags=wire.FAULT)
    cut = record("EA_BIND", (5,), ts_ns=3, flags=wire.TRUNCATED)
    same = record("EA_SETSOCKOPT", (5, 1, 2, 4), ts_ns=4)

    args = [event.args for event in decode([plain, faulty, cut, same])]

    assert [one.get("truncated") for one in args] == [None, None, True, None]
    assert [one.get("value", "") for one in args] == ["", None, "", 0]


def test_arguments_are_right_when_more_are_different_than_are_remembered(monkeypatch):
    monkeypatch.setattr(wire, "_KNOWN", 2)

    events = decode([record("EA_CLOSE", (fd % 5,), ts_ns=fd + 1) for fd in range(20)])

    assert [event.args["fd"] for event in events] == [fd % 5 for fd in range(20)]


def test_events_of_one_time_are_in_the_order_of_their_cpus_and_numbers():
    made = [
        record("EA_CLOSE", ts_ns=ts_ns, cpu=cpu, seq=seq)
        for ts_ns, cpu, seq in ((7, 1, 4), (7, 0, 9), (5, 1, 3), (7, 0, 8), (6, 0, 10))
    ]
    decoder = Decoder()
    decoder.feed(made[:3])
    decoder.feed(made[3:])

    found = [(event.ts_ns, event.cpu, event.seq) for event in decoder.events]
    assert found == sorted(found)


def test_every_type_of_the_program_has_a_number_of_its_own():
    enum = re.findall(r"^\t(EA_\w+) = (\d+),", type_enum(), re.MULTILINE)

    assert {name: int(number) for name, number in enum} == TYPES
    assert len(set(TYPES.values())) == len(enum) == len(SOURCES) + len(NOTED)
    assert all(0 < number < 256 for number in TYPES.values())


def test_asserts_cover_every_field():
    text = static_asserts()

    for field in ("ts_ns", "ret", "stack", "run", "seq", "args"):
        assert f'"ea_record.{field}: offset"' in text
        assert f'"ea_record.{field}: size"' in text
