"""Running a loaded program on a given CPU, by the command BPF_PROG_TEST_RUN of bpf(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

_BPF_PROG_TEST_RUN = 10
#: Run it on the CPU named, from an interrupt: that works beyond the caller's cpuset too.
_BPF_F_TEST_RUN_ON_CPU = 1
#: Number of bpf(2): arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
_NR_BPF = {"x86_64": 321, "aarch64": 280}

_libc = ctypes.CDLL(None, use_errno=True)


class _TestRun(ctypes.Structure):
    """The member `test` of `union bpf_attr` (linux/bpf.h), as long as Linux 5.10 has it."""

    _fields_ = (
        ("prog_fd", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("data_in", ctypes.c_uint64),
        ("data_out", ctypes.c_uint64),
        ("repeat", ctypes.c_uint32),
        ("duration", ctypes.c_uint32),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_uint64),
        ("ctx_out", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
    )


def run_on(program_fd: int, cpu: int) -> int | None:
    """Run a raw tracepoint's program once on a CPU.

    Args:
        program_fd: descriptor of the program.
        cpu: number of the CPU.

    Returns:
        What the program returned, or None if the CPU is offline.

    Raises:
        OSError: the kernel refused for another reason.
    """
    request = _TestRun(prog_fd=program_fd, flags=_BPF_F_TEST_RUN_ON_CPU, cpu=cpu)
    number = _NR_BPF[platform.machine()]
    if (
        _libc.syscall(number, _BPF_PROG_TEST_RUN, ctypes.byref(request), ctypes.sizeof(request))
        == 0
    ):
        return int(request.retval)
    error = ctypes.get_errno()
    if error == errno.ENXIO:
        return None
    raise OSError(error, f"the probe's records cannot be collected: {os.strerror(error)}")
