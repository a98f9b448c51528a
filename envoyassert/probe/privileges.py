"""What a session gives up once its tracer is loaded: capabilities that nothing needs from then on.

It stays root with those that runs need: namespaces, the kernel's account, files and signals of
Envoy's user, maps of the probe, tools that change the network. CAP_SYS_TIME stays as well: tests of
users may need it for time namespaces (time_namespaces(7)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from pathlib import Path

#: linux/capability.h: what neither a run nor a tool that it calls needs.
_GIVEN_UP = {
    "CAP_LINUX_IMMUTABLE": 9,
    "CAP_NET_BROADCAST": 11,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_PACCT": 20,
    "CAP_SYS_BOOT": 22,
    "CAP_SYS_TTY_CONFIG": 26,
    "CAP_LEASE": 28,
    "CAP_AUDIT_CONTROL": 30,
    "CAP_MAC_OVERRIDE": 32,
    "CAP_MAC_ADMIN": 33,
    "CAP_SYSLOG": 34,
    "CAP_WAKE_ALARM": 35,
    "CAP_BLOCK_SUSPEND": 36,
    "CAP_AUDIT_READ": 37,
}
_PR_CAPBSET_DROP = 24
_VERSION_3 = 0x20080522
#: Effective, permitted and inheritable: the lower halves, then the upper ones (capget(2)).
_SETS = struct.Struct("=6I")


def give_up_privileges() -> None:
    """Give up capabilities in the calling thread, and in all that it starts from now on.

    Where this process may not even do that, it goes on with what it has.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text("ascii"))
    header = struct.pack("=Ii", _VERSION_3, 0)
    held = ctypes.create_string_buffer(_SETS.size)
    with contextlib.suppress(OSError):
        _check(libc.capget(header, held))
        sets = [*_SETS.unpack(held.raw)]
        for number in _GIVEN_UP.values():
            if number > last:
                continue
            _check(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0))
            half, bit = divmod(number, 32)
            for index in range(3):
                sets[half * 3 + index] &= ~(1 << bit)
        _check(libc.capset(header, _SETS.pack(*sets)))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
