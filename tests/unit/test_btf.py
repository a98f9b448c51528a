"""Members of the kernel's structures, by the types that it publishes."""

from __future__ import annotations

import struct

import pytest

from envoyassert.errors import ProbeUnavailableError
from envoyassert.probe.btf import member_offset

INT, STRUCT, FORWARD = 1, 4, 7
NAMES = b"\0sub_task\0task\0pid\0tgid\0flags\0"


def name(text: str) -> int:
    return NAMES.index(b"\0" + text.encode() + b"\0") + 1 if text else 0


def described(what: str, kind: int, size: int, members=(), bits: bool = False) -> bytes:
    head = struct.pack("=III", name(what), bits << 31 | kind << 24 | len(members), size)
    return head + b"".join(struct.pack("=III", name(one), 1, at) for one, at in members)


TYPES = b"".join(
    (
        described("pid", INT, 4) + struct.pack("=I", 32),
        described("task", FORWARD, 0),
        described("sub_task", STRUCT, 64, [("pid", 8 * 4)]),
        # The number of the name, where no type begins.
        described("flags", INT, name("task")) + struct.pack("=I", 32),
        described("task", STRUCT, 2048, [("tgid", 8 * 1268), ("pid", 8 * 1264)]),
        described("flags", STRUCT, 8, [("tgid", 32 << 24 | 8 * 4)], bits=True),
        described("", STRUCT, 8, [("pid", 0)]),
    )
)
HEADER = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(TYPES), len(TYPES), len(NAMES))
PUBLISHED = HEADER + TYPES + NAMES


@pytest.mark.parametrize(
    ("structure", "member", "offset"),
    [("task", "pid", 1264), ("task", "tgid", 1268), ("sub_task", "pid", 4), ("flags", "tgid", 4)],
)
def test_member_is_found(structure, member, offset):
    assert member_offset(PUBLISHED, structure, member) == offset


@pytest.mark.parametrize(
    ("types", "structure", "member", "says"),
    [
        (PUBLISHED, "task", "flags", "no member flags in task"),
        (PUBLISHED, "absent", "pid", "no member pid in absent"),
        (b"\xff" + PUBLISHED[1:], "task", "pid", "another form than BTF"),
        (PUBLISHED[:24], "task", "pid", "no member pid in task"),
    ],
)
def test_member_that_is_not_there_is_named(types, structure, member, says):
    with pytest.raises(ProbeUnavailableError, match=says):
        member_offset(types, structure, member)
