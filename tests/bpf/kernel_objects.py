"""Whether the kernel still has a program or a map."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from pathlib import Path

from envoyassert.probe.kernel import _NUMBERS

LIBC = ctypes.CDLL(None, use_errno=True)

#: bpf(2): BPF_PROG_GET_FD_BY_ID, BPF_MAP_GET_FD_BY_ID.
BY_ID = {"program": 13, "map": 14}


def exists(kind: str, number: int) -> bool:
    """Return whether the kernel has a program or a map."""
    request = struct.pack("=III", number, 0, 0)
    fd = LIBC.syscall(_NUMBERS[platform.machine()][0], BY_ID[kind], request, len(request))
    if fd >= 0:
        os.close(fd)
        return True
    assert ctypes.get_errno() == errno.ENOENT
    return False


def bpf_descriptors() -> list[str]:
    """Return what this process has open of programs, maps and perf events."""
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        try:
            target = str(fd.readlink())
        except FileNotFoundError:
            continue
        if "bpf" in target or "perf_event" in target:
            found.append(target)
    return sorted(found)
