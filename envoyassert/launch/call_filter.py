"""A seccomp filter for Envoy as a process: what it refuses is what Docker's default refuses.

Docker's profile (docs.docker.com/engine/security/seccomp) is a list of what is allowed; this is the
list of what it leaves out, by the capability that allows it. What is refused fails with EPERM,
clone3 with ENOSYS, since a filter cannot see its flags: the C library then calls clone.
personality(2), and the network's further families, are not filtered.

A filter is a classic packet filter (linux/filter.h) over `struct seccomp_data` (linux/seccomp.h).
It is of a thread, and what the thread starts inherits it: no code runs between fork and exec.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Collection

from envoyassert.calls.row import Numbers

_SAME = Numbers.everywhere
#: What the kernel, or Docker, allows to who has a capability alone; "" what no one is allowed.
_REFUSED: dict[str, tuple[Numbers, ...]] = {
    "CAP_SYS_ADMIN": (
        *(Numbers(165, 40), Numbers(166, 39), Numbers(155, 41)),  # mount, umount2, pivot_root
        *(Numbers(272, 97), Numbers(308, 268)),  # unshare, setns
        # open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr
        *map(_SAME, (428, 429, 430, 431, 432, 433, 442)),
        *(Numbers(179, 60), _SAME(443)),  # quotactl, quotactl_fd
        *(Numbers(170, 161), Numbers(171, 162)),  # sethostname, setdomainname
        *(Numbers(168, 225), Numbers(167, 224)),  # swapoff, swapon
        *(Numbers(300, 262), Numbers(212, 18)),  # fanotify_init, lookup_dcookie
        *(Numbers(321, 280), Numbers(298, 241)),  # bpf, perf_event_open
    ),
    "CAP_SYS_BOOT": (Numbers(169, 142), Numbers(246, 104), Numbers(320, 294)),  # reboot, kexec
    "CAP_SYS_CHROOT": (Numbers(161, 51),),
    "CAP_SYS_MODULE": (Numbers(175, 105), Numbers(313, 273), Numbers(176, 106)),
    "CAP_SYS_PACCT": (Numbers(163, 89),),
    "CAP_SYS_PTRACE": (Numbers(312, 272),),  # kcmp
    "CAP_SYS_RAWIO": (Numbers(173, None), Numbers(172, None)),  # ioperm, iopl
    # clock_settime, clock_adjtime, settimeofday
    "CAP_SYS_TIME": (Numbers(227, 112), Numbers(305, 266), Numbers(164, 170)),
    "CAP_SYS_TTY_CONFIG": (Numbers(153, 58),),  # vhangup
    "CAP_SYSLOG": (Numbers(103, 116),),
    "CAP_DAC_READ_SEARCH": (Numbers(304, 265),),  # open_by_handle_at
    # get_mempolicy, set_mempolicy, mbind, migrate_pages, move_pages, set_mempolicy_home_node
    "CAP_SYS_NICE": (
        *(Numbers(239, 236), Numbers(238, 237), Numbers(237, 235), Numbers(256, 238)),
        *(Numbers(279, 239), _SAME(450)),
    ),
    "": (
        *(Numbers(248, 217), Numbers(249, 218), Numbers(250, 219)),  # add_key, request_key, keyctl
        *map(_SAME, (425, 426, 427)),  # io_uring
        Numbers(323, 282),  # userfaultfd
        # uselib, ustat, sysfs, _sysctl, create_module, get_kernel_syms, query_module, nfsservctl
        *(Numbers(number, None) for number in (134, 136, 139, 156, 174, 177, 178)),
        Numbers(180, 42),
    ),
}
_CLONE, _CLONE3 = Numbers(56, 220), _SAME(435)
#: CLONE_NEW* of linux/sched.h: new namespaces of any kind.
_NEW_NAMESPACES = 0x7E020000
#: linux/audit.h, by platform.machine().
_ARCHITECTURES = {"x86_64": (0xC000003E, "x86_64"), "aarch64": (0xC00000B7, "aarch64")}
#: The numbers of x86-64's second table begin there.
_X32 = 0x40000000
_LOAD, _RETURN = 0x20, 0x06  # BPF_LD | BPF_W | BPF_ABS, BPF_RET | BPF_K
_EQUAL, _AT_LEAST, _ANY_BIT = 0x15, 0x35, 0x45  # BPF_JMP | BPF_K with JEQ, JGE, JSET
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
#: Places in `struct seccomp_data`: the number, the architecture, the lower half of an argument.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_INSTRUCTION = struct.Struct("=HBBI")
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2


def call_filter(capabilities: Collection[str] | None, machine: str = platform.machine()) -> bytes:
    """Return the instructions of a filter; b"" for a machine whose calls are not known here.

    Args:
        capabilities: those that the process has, `CAP_…`; None for all.
        machine: as `platform.machine()` names it.
    """
    if machine not in _ARCHITECTURES:
        return b""
    if capabilities is None:
        capabilities = [name for name in _REFUSED if name]
    audit, column = _ARCHITECTURES[machine]
    refused = {
        number
        for capability, calls in _REFUSED.items()
        if capability not in capabilities
        for call in calls
        if (number := getattr(call, column)) is not None
    }
    eperm, enosys = _REFUSE | errno.EPERM, _REFUSE | errno.ENOSYS
    found: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, eperm),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, eperm),
    ]
    for number in sorted(refused):
        found += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, eperm)]
    if "CAP_SYS_ADMIN" not in capabilities:
        found += [(_EQUAL, 0, 1, getattr(_CLONE3, column)), (_RETURN, 0, 0, enosys)]
        found += [(_EQUAL, 0, 3, getattr(_CLONE, column)), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
        found += [(_ANY_BIT, 0, 1, _NEW_NAMESPACES), (_RETURN, 0, 0, eperm)]
    found.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(_INSTRUCTION.pack(*one) for one in found)


def filter_calls(program: bytes) -> None:
    """Filter the calls of the calling thread, and of all that it starts, for ever.

    Args:
        program: the instructions.

    Raises:
        OSError: not permitted, or this kernel has no such filters.
    """
    held = ctypes.create_string_buffer(program, len(program))
    length = len(program) // _INSTRUCTION.size
    given = struct.pack("@HP", length, ctypes.addressof(held))  # struct sock_fprog
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, given, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
