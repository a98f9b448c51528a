"""bpf(2), perf_event_open(2) and io_uring(7), called without a library: what the program needs.

bcc's library would do the same, but brings clang with it: an eighth of a second for each process
that only loads it. Layouts and numbers are those of linux/bpf.h and linux/perf_event.h, which are
part of the kernel's user interface.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import struct
from collections.abc import Sequence

from envoyassert.frozen import frozen

#: Numbers of bpf(2), perf_event_open(2): arch/x86/entry/syscalls/syscall_64.tbl,
#: include/uapi/asm-generic/unistd.h.
_NUMBERS = {"x86_64": (321, 298), "aarch64": (280, 241)}

#: io_uring_setup(2) and io_uring_register(2) have the same numbers on all architectures.
#: IORING_REGISTER_FILES, and the size of struct io_uring_params, are of linux/io_uring.h.
_IO_URING_SETUP, _IO_URING_REGISTER, _REGISTER_FILES, _IO_URING_PARAMETERS = 425, 427, 2, 120

#: enum bpf_cmd
_MAP_CREATE, LOOKUP, UPDATE, DELETE, NEXT_KEY = range(5)
_PROG_LOAD, _PROG_TEST_RUN, _OBJECT_INFO = 5, 10, 15
_RAW_TRACEPOINT_OPEN, LOOKUP_AND_DELETE = 17, 21

#: enum bpf_prog_type
TRACEPOINT, RAW_TRACEPOINT = 5, 17

#: enum bpf_map_type
ARRAY_OF_MAPS, RING = 12, 27

#: Run it on the CPU named, from an interrupt: that works beyond the caller's cpuset too.
_BPF_F_TEST_RUN_ON_CPU = 1

_PERF_TYPE_TRACEPOINT, _PERF_FLAG_FD_CLOEXEC = 2, 8
_PERF_IOC_ENABLE, _PERF_IOC_SET_BPF = 0x2400, 0x40042408

#: Members of `union bpf_attr`, each as long as Linux 5.10 has it.
_CREATE = struct.Struct("=7I16s")
_ELEMENT = struct.Struct("=I4xQQQ")
_LOAD = struct.Struct("=IIQQIIQII16sII")
_TEST_RUN = struct.Struct("=4I2Q4I2Q2I")
_INFO = struct.Struct("=IIQ")
_RAW_TRACEPOINT = struct.Struct("=QI4x")
#: struct bpf_map_info, up to the name
_MAP_INFO = struct.Struct("=6I16s")
#: struct bpf_prog_info, of which `recursion_misses` is read (Linux 5.12; 0 before).
_PROGRAM_INFO = struct.Struct("=208xQ")
#: struct perf_event_attr in its first form (PERF_ATTR_SIZE_VER0): type, size, config, period.
_PERF_ATTR = struct.Struct("=IIQQ40x")

_LICENSE = b"GPL"
_NAME_LENGTH = 15
_LOG_SIZE = 1 << 24
#: How often a program is loaded again that a signal interrupted: many times more than one comes.
_ATTEMPTS = 100

_libc = ctypes.CDLL(None, use_errno=True)


@frozen
class MapKind:
    """What a map is made of.

    Args:
        kind: a number of `enum bpf_map_type`.
        key_size: bytes of a key; 0 for a queue or a ring.
        value_size: bytes of a value, of one CPU if each has its own; 0 for a ring.
        entries: how many; of a ring its bytes.
        flags: `BPF_F_*` of the map.
    """

    kind: int
    key_size: int
    value_size: int
    entries: int
    flags: int


class RefusedError(OSError):
    """The verifier refused a program.

    Args:
        error: number of the error.
        log: what the verifier said.
    """

    def __init__(self, error: int, log: str) -> None:
        super().__init__(error, os.strerror(error))
        self.log = log


def _number(which: int) -> int:
    return _NUMBERS[platform.machine()][which]


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _bpf(command: int, request: ctypes.Array[ctypes.c_char]) -> int:
    return _call(_number(0), command, request, ctypes.sizeof(request))


def _request(layout: struct.Struct, *members: int | bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(layout.pack(*members), layout.size)


def _address(buffer: ctypes.Array[ctypes.c_char] | None) -> int:
    return 0 if buffer is None else ctypes.addressof(buffer)


def create_map(name: str, kind: MapKind, inner_fd: int = 0) -> int:
    """Make a map and return its descriptor.

    Args:
        name: what tools show.
        kind: what it is.
        inner_fd: of a map of maps, one like those that it holds.

    Raises:
        OSError: the kernel refused.
    """
    members = (kind.kind, kind.key_size, kind.value_size, kind.entries, kind.flags, inner_fd, 0)
    return _bpf(_MAP_CREATE, _request(_CREATE, *members, name.encode()[:_NAME_LENGTH]))


def map_kind(fd: int) -> MapKind:
    """Return what a map is."""
    info = ctypes.create_string_buffer(_MAP_INFO.size)
    _bpf(_OBJECT_INFO, _request(_INFO, fd, _MAP_INFO.size, ctypes.addressof(info)))
    kind, _, key_size, value_size, entries, flags, _ = _MAP_INFO.unpack(info.raw)
    return MapKind(kind, key_size, value_size, entries, flags)


def misses_of(program_fd: int) -> int:
    """Return how often the kernel skipped a program because it was running."""
    info = ctypes.create_string_buffer(_PROGRAM_INFO.size)
    _bpf(_OBJECT_INFO, _request(_INFO, program_fd, len(info), ctypes.addressof(info)))
    (misses,) = _PROGRAM_INFO.unpack(info.raw)
    return int(misses)


def element(
    command: int,
    fd: int,
    key: ctypes.Array[ctypes.c_char] | None,
    value: ctypes.Array[ctypes.c_char] | None = None,
) -> None:
    """Do something with an element of a map.

    Args:
        command: `LOOKUP`, `UPDATE`, `DELETE`, `NEXT_KEY` or `LOOKUP_AND_DELETE`.
        fd: the map.
        key: of the element; None for a queue, and for the key before the first.
        value: what is written, or where it is read to; the key that follows.

    Raises:
        OSError: the kernel refused, or there is no such element.
    """
    _bpf(command, _request(_ELEMENT, fd, _address(key), _address(value), 0))


def load_program(name: str, kind: int, instructions: bytes) -> int:
    """Load a program and return its descriptor.

    Args:
        name: what tools show.
        kind: `TRACEPOINT` or `RAW_TRACEPOINT`.
        instructions: 8 bytes each, with descriptors of maps of this process.

    Raises:
        RefusedError: the verifier refused it.
        OSError: the kernel refused for another reason.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_text = ctypes.create_string_buffer(_LICENSE)
    count = len(instructions) // 8

    def load(log: ctypes.Array[ctypes.c_char] | None) -> int:
        level, size = (0, 0) if log is None else (1, len(log))
        request = _request(
            _LOAD,
            *(kind, count, ctypes.addressof(code), ctypes.addressof(license_text)),
            *(level, size, _address(log), 0, 0, name.encode()[:_NAME_LENGTH], 0, 0),
        )
        # The verifier gives up where a signal waits (do_check() of kernel/bpf/verifier.c): the
        # process was stopped from its terminal, say, or a debugger was attached.
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(BlockingIOError):
                return _bpf(_PROG_LOAD, request)
        return _bpf(_PROG_LOAD, request)

    try:
        return load(None)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL, errno.E2BIG):
            raise
        number = error.errno
    # Once more, to learn why: writing the log takes longer than the check itself.
    log = ctypes.create_string_buffer(_LOG_SIZE)
    try:
        return load(log)
    except OSError as error:
        raise RefusedError(number, log.value.decode("utf-8", "replace")) from error


def attach_raw_tracepoint(name: str, program_fd: int) -> int:
    """Attach a program to a raw tracepoint; return the descriptor that keeps it there.

    Raises:
        OSError: there is no such tracepoint, or the kernel refused.
    """
    text = ctypes.create_string_buffer(name.encode())
    return _bpf(_RAW_TRACEPOINT_OPEN, _request(_RAW_TRACEPOINT, ctypes.addressof(text), program_fd))


def attach_tracepoint(number: int, program_fd: int) -> int:
    """Attach a program to a named tracepoint; return the descriptor that keeps it there.

    Args:
        number: what the file `id` of the tracepoint holds.
        program_fd: the program.

    Raises:
        OSError: the kernel refused.
    """
    attributes = _request(_PERF_ATTR, _PERF_TYPE_TRACEPOINT, _PERF_ATTR.size, number, 1)
    arguments = (ctypes.c_long(word) for word in (-1, 0, -1, _PERF_FLAG_FD_CLOEXEC))
    fd = _call(_number(1), attributes, *arguments)
    try:
        fcntl.ioctl(fd, _PERF_IOC_SET_BPF, program_fd)
        fcntl.ioctl(fd, _PERF_IOC_ENABLE, 0)
    except OSError:
        os.close(fd)
        raise
    return fd


def close_unawaited(descriptors: Sequence[int]) -> None:
    """Close descriptors without waiting for what the kernel does when the last one is closed.

    io_uring releases its files in a thread of the kernel's. Where it may not be used, the caller
    waits after all.

    Args:
        descriptors: of this process, and of no other.
    """
    ring = -1
    try:
        if descriptors:
            ring = _call(_IO_URING_SETUP, 1, ctypes.create_string_buffer(_IO_URING_PARAMETERS))
            files = (ctypes.c_int * len(descriptors))(*descriptors)
            _call(_IO_URING_REGISTER, ring, _REGISTER_FILES, files, len(descriptors))
    except OSError:
        pass  # io_uring is not built in, or forbidden here (kernel.io_uring_disabled)
    finally:
        for fd in (*descriptors, *([ring] if ring >= 0 else [])):
            os.close(fd)


def run_on(program_fd: int, cpu: int) -> int | None:
    """Run a raw tracepoint's program once on a CPU (BPF_PROG_TEST_RUN of bpf(2)).

    Args:
        program_fd: descriptor of the program.
        cpu: number of the CPU.

    Returns:
        What the program returned, or None if the CPU is offline.

    Raises:
        OSError: the kernel refused for another reason.
    """
    members = [program_fd, *[0] * 11, _BPF_F_TEST_RUN_ON_CPU, cpu]
    request = _request(_TEST_RUN, *members)
    try:
        _bpf(_PROG_TEST_RUN, request)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise OSError(
            error.errno, f"the probe's records cannot be collected: {error.strerror}"
        ) from error
    return int(_TEST_RUN.unpack(request.raw)[1])
