"""The compiled program as data: its maps, and the instructions of each function.

A function names a map by its place in the list of maps, where the kernel wants a descriptor. So it
is the same in every process, and can be kept.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import astuple

from envoyassert.frozen import frozen
from envoyassert.probe.kernel import MapKind

#: An instruction that loads 64 bits takes two places (BPF_LD | BPF_IMM | BPF_DW of bpf_common.h).
_LOAD_64 = 0x18
#: Its source register, in the high half of the second byte, if it loads a map (linux/bpf.h).
_PSEUDO_MAP_FD = 1
_SIZE = 8
_IMMEDIATE = struct.Struct("=i")
_IMMEDIATE_AT = 4


@frozen
class Function:
    """One function of the program.

    Args:
        code: its instructions, without maps.
        maps: at which byte of `code` which map's descriptor has to be.
    """

    code: bytes
    maps: tuple[tuple[int, str], ...]

    def with_maps(self, descriptors: Mapping[str, int]) -> bytes:
        """Return the instructions that the kernel is given.

        Args:
            descriptors: of each map, by name.
        """
        code = bytearray(self.code)
        for at, name in self.maps:
            _IMMEDIATE.pack_into(code, at, descriptors[name])
        return bytes(code)


@frozen
class Compiled:
    """A compiled program.

    Args:
        maps: what each map is, by its name in the source.
        functions: by their names.
    """

    maps: dict[str, MapKind]
    functions: dict[str, Function]


def without_maps(code: bytes, names: Mapping[int, str]) -> Function:
    """Return a function in the form that can be kept.

    Args:
        code: its instructions.
        names: of the maps, by the descriptors that the instructions have.

    Raises:
        ValueError: the instructions refer to something else than these maps.
    """
    kept, maps = bytearray(code), []
    at = 0
    while at < len(code):
        if code[at] != _LOAD_64:
            at += _SIZE
            continue
        source = code[at + 1] >> 4
        place = at + _IMMEDIATE_AT
        if source == _PSEUDO_MAP_FD:
            (descriptor,) = _IMMEDIATE.unpack_from(code, place)
            if descriptor not in names:
                raise ValueError(f"the program refers to a map that has no name: {descriptor}")
            maps.append((place, names[descriptor]))
            _IMMEDIATE.pack_into(kept, place, 0)
        elif source:
            raise ValueError(f"the program refers to something of kind {source} that is no map")
        at += 2 * _SIZE
    return Function(bytes(kept), tuple(maps))


def to_bytes(compiled: Compiled, key: str) -> bytes:
    """Return the content of a file that keeps a program.

    Args:
        compiled: the program.
        key: what it was made from; it is not kept, but has to be known to read it again.
    """
    body = json.dumps(
        {
            "maps": {name: astuple(kind) for name, kind in compiled.maps.items()},
            "functions": {
                name: {"code": base64.b64encode(one.code).decode("ascii"), "maps": one.maps}
                for name, one in compiled.functions.items()
            },
        },
        separators=(",", ":"),
    ).encode("ascii")
    return _digest(key, body) + body


def from_bytes(content: bytes, key: str) -> Compiled | None:
    """Return the program that a file keeps, None if it is damaged, of another key or form."""
    size = len(_digest("", b""))
    body = content[size:]
    if content[:size] != _digest(key, body):
        return None
    try:
        data = json.loads(body)
        return Compiled(
            {name: MapKind(*kind) for name, kind in data["maps"].items()},
            {
                name: Function(
                    base64.b64decode(one["code"]), tuple((at, which) for at, which in one["maps"])
                )
                for name, one in data["functions"].items()
            },
        )
    except (ValueError, TypeError, LookupError, AttributeError):
        return None  # of a release that keeps the same program in another form


def _digest(key: str, body: bytes) -> bytes:
    return hashlib.sha256(key.encode("utf-8") + b"\n" + body).hexdigest().encode("ascii") + b"\n"
