"""What the kernel has of BPF, and which processes have it open."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import re
from collections.abc import Iterable
from pathlib import Path

#: bpf(2): BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID
_NEXT = {"prog_id": 11, "map_id": 12, "link_id": 31}
_SYS_BPF = {"x86_64": 321, "aarch64": 280}
_libc = ctypes.CDLL(None, use_errno=True)
_HELD = re.compile(rf"^({'|'.join(_NEXT)}):\s*(\d+)", re.MULTILINE)


def bpf_objects() -> set[tuple[str, int]]:
    """Return the kinds and ids of all BPF programs, maps and links that the kernel has.

    A program that a perf event has is among them, whoever holds the event.
    """
    found = set()
    for kind, command in _NEXT.items():
        attributes = (ctypes.c_uint32 * 3)()
        while True:
            number = _SYS_BPF[platform.machine()]
            if _libc.syscall(number, command, ctypes.byref(attributes), ctypes.sizeof(attributes)):
                break
            attributes[0] = attributes[1]
            found.add((kind, int(attributes[1])))
    return found


def held_bpf_objects(processes: Iterable[Path]) -> set[tuple[str, int]]:
    """Return those that processes have open, given by their directories below /proc."""
    found = set()
    for process in processes:
        with contextlib.suppress(OSError):
            for info in (process / "fdinfo").iterdir():
                with contextlib.suppress(OSError):
                    found |= {
                        (kind, int(number)) for kind, number in _HELD.findall(info.read_text())
                    }
    return found
