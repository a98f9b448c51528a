"""Where the running kernel has members of its structures, from the types that it publishes (BTF).

The format is that of the kernel's Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from pathlib import Path

from envoyassert.errors import ProbeUnavailableError

PUBLISHED = Path("/sys/kernel/btf/vmlinux")

#: magic, version, flags, bytes of the header; place and size of the types, and of the names
_HEADER = struct.Struct("=HBBIIIII")
_MAGIC = 0xEB9F
#: struct btf_type: its name, what it is, its size
_TYPE = struct.Struct("=III")
#: struct btf_member: its name, its type, its place in bits
_MEMBER = struct.Struct("=III")
_STRUCT = 4
_UNKNOWN = "report this kernel's release; the probe must learn the new form"


def member_offset(types: bytes, structure: str, member: str) -> int:
    """Return where a member of a structure is, in bytes.

    The types are not read one by one, which takes long: the structure is found by its name.

    Args:
        types: what the kernel publishes.
        structure: its name, without `struct`.
        member: a member that is no bit-field.

    Raises:
        ProbeUnavailableError: the kernel has no such structure, or no such member.
    """
    magic, _, _, size, types_at, types_size, names_at, names_size = _HEADER.unpack_from(types)
    if magic != _MAGIC:
        raise ProbeUnavailableError(f"{PUBLISHED} has another form than BTF", _UNKNOWN)
    names = types[size + names_at : size + names_at + names_size]
    described = types[size + types_at : size + types_at + types_size]

    def name_of(at: int) -> bytes:
        return names[at : names.find(b"\0", at)]

    named = names.find(b"\0" + structure.encode() + b"\0")
    # 0 is the name of what has none.
    key = struct.pack("=I", named + 1)
    at = -1 if named < 0 else described.find(key)
    while at >= 0:
        if at % 4 == 0 and at + _TYPE.size <= len(described):
            _, what, _ = _TYPE.unpack_from(described, at)
            count = what & 0xFFFF
            members = described[at + _TYPE.size : at + _TYPE.size + count * _MEMBER.size]
            if what >> 24 & 0x1F == _STRUCT and len(members) == count * _MEMBER.size:
                for name, _, bits in _MEMBER.iter_unpack(members):
                    if name_of(name) == member.encode():
                        # With bit-fields the high byte is the number of bits.
                        return int(bits & 0xFFFFFF if what >> 31 else bits) // 8
        at = described.find(key, at + 1)
    raise ProbeUnavailableError(f"this kernel has no member {member} in {structure}", _UNKNOWN)
