"""Compile, load and attach the program; detach it again."""

from __future__ import annotations

import atexit
import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envoyassert.errors import ProbeLoadError
from envoyassert.probe.bcc_import import import_bcc
from envoyassert.probe.flush import run_on
from envoyassert.probe.maps import Map, possible_cpus
from envoyassert.probe.program_text import kernel_headers_dir, program_text, source_dir
from envoyassert.probe.syscall_numbers import named_calls, recorded_calls
from envoyassert.probe.tracepoints import RAW_HOOKS, field_offsets, named_hooks
from envoyassert.wire import TEXT_SIZE, ArmedSelection, Counters, MarkedProcess

#: 32 MiB with pages of 4 KiB: about 400,000 ordinary records.
DEFAULT_RING_PAGES = 8192

#: Pieces of the ring that are read before the caller looks at its clock, 2 KiB each at most: who is
#: written to faster than it reads would go on for ever.
_PIECES_AT_ONCE = 8192

_HEADERS_VARIABLE = "BCC_KERNEL_SOURCE"
_NUMBER = struct.Struct("=I")
_PID_MAX = Path("/proc/sys/kernel/pid_max")


class Program:
    """The program in the kernel, attached.

    Args:
        ring_pages: size of the ring in pages, a power of two.

    Raises:
        ProbeUnavailableError: bcc, tracefs or a tracepoint is missing.
        ProbeLoadError: the program was refused.
    """

    def __init__(self, ring_pages: int) -> None:
        if ring_pages < 1 or ring_pages & (ring_pages - 1):
            raise ValueError(f"ring_pages must be a power of two, not {ring_pages}")
        bcc = import_bcc()
        hooks = named_hooks()
        calls = recorded_calls()
        defines = {
            "EA_RING_PAGES": ring_pages,
            "EA_PID_MAX": int(_PID_MAX.read_text()),
            **field_offsets(),
            **named_calls(),
        }
        text = program_text()
        flags = [f"-I{source_dir()}", *(f"-D{name}={value}" for name, value in defines.items())]
        self._bpf: Any = None
        self._ring: Any = None
        self._pieces = 0
        with _captured_output() as captured, _kernel_headers():
            try:
                # Bytes: bcc warns about text, and a warning may be an error in this session.
                self._bpf = bcc.BPF(text=text.encode(), cflags=flags)
                self._load(bcc.BPF, hooks)
            # bcc raises bare Exception for whatever clang or the kernel refuse.
            except Exception as error:
                self.close()
                raise _load_error(error, captured()) from error
        library = bcc.libbcc.lib
        counters_size = ctypes.sizeof(Counters) * len(possible_cpus())
        self.runs = self._map(library, "runs", 16, _NUMBER.size)
        self.armed = self._map(library, "armed", _NUMBER.size, _NUMBER.size)
        self.marks = self._map(library, "marks", _NUMBER.size, 8)
        self.targets = self._map(library, "targets", _NUMBER.size, ctypes.sizeof(MarkedProcess))
        self.counters = self._map(library, "counters", _NUMBER.size, counters_size)
        self.room = self._map(library, "room", _NUMBER.size, 8)
        self.selections = self._map(
            library, "selections", _NUMBER.size, ctypes.sizeof(ArmedSelection)
        )
        self.texts = self._map(library, "texts", TEXT_SIZE, 8)
        self.spare = self._map(library, "spare", 0, _NUMBER.size)
        classes = self._map(library, "classes", _NUMBER.size, _NUMBER.size)
        for number, kind in calls.items():
            classes.set(_NUMBER.pack(number), _NUMBER.pack(kind))

    def _load(self, kinds: Any, hooks: list[tuple[str, str]]) -> None:
        for function in dict.fromkeys(function for _, function in hooks):
            self._bpf.load_func(function.encode(), kinds.TRACEPOINT)
        for _, function in RAW_HOOKS:
            self._bpf.load_func(function.encode(), kinds.RAW_TRACEPOINT)
        self._flush = self._bpf.load_func(b"ea_flush", kinds.RAW_TRACEPOINT)
        self._hooks = hooks
        self.attach()

    def attach(self) -> None:
        """Attach all hooks, which are not attached."""
        for tracepoint, function in self._hooks:
            self._bpf.attach_tracepoint(tp=tracepoint.encode(), fn_name=function.encode())
        for tracepoint, function in RAW_HOOKS:
            self._bpf.attach_raw_tracepoint(tp=tracepoint.encode(), fn_name=function.encode())

    def detach(self) -> None:
        """Detach all hooks; the program stays loaded. The kernel takes half a second for it."""
        for tracepoint, _ in self._hooks:
            self._bpf.detach_tracepoint(tp=tracepoint.encode())
        for tracepoint, _ in RAW_HOOKS:
            self._bpf.detach_raw_tracepoint(tp=tracepoint.encode())

    def _map(self, library: Any, name: str, key_size: int, value_size: int) -> Map:
        fd = library.bpf_table_fd(self._bpf.module, name.encode())
        return Map(library, fd, key_size, value_size)

    def open_ring(self, receive: Callable[[bytes], None]) -> None:
        """Set what is called with each piece when the ring is read; it must not raise.

        A piece is one record or several (`envoyassert.wire.records_of`).
        """
        string_at = ctypes.string_at

        def callback(_context: Any, data: int, size: int) -> int:
            receive(string_at(data, size))
            self._pieces += 1
            return 0 if self._pieces < _PIECES_AT_ONCE else -1

        self._ring = self._bpf[b"records"]
        self._ring.open_ring_buffer(callback)

    def flush(self) -> None:
        """Have the records that wait on each CPU written into the ring.

        Those of a CPU that is about to add one more, or is offline, stay there.
        """
        for cpu in possible_cpus():
            run_on(self._flush.fd, cpu)

    def read_ring(self) -> None:
        """Read what is in the ring, or a good part of it if there is very much."""
        self._pieces = 0
        self._bpf.ring_buffer_consume()

    def misses(self, name: bytes = b"") -> int:
        """Return how often the kernel skipped a program because it was running.

        Args:
            name: its function; all of them if it is empty.
        """
        total = 0
        for function in [self._bpf.funcs[name]] if name else self._bpf.funcs.values():
            with Path(f"/proc/self/fdinfo/{function.fd}").open(encoding="ascii") as info:
                for line in info:
                    if line.startswith("recursion_misses:"):
                        total += int(line.split()[1])
        return total

    def close(self) -> None:
        """Detach and unload. May be called more than once."""
        if self._bpf is not None:
            bpf, self._bpf = self._bpf, None
            # bcc registers this for the end of the interpreter, which would keep all of it alive.
            atexit.unregister(bpf.cleanup)
            bpf.cleanup()


@contextmanager
def _kernel_headers() -> Iterator[None]:
    """Point bcc at the stub headers, unless the user named headers of their own."""
    if os.environ.get(_HEADERS_VARIABLE):
        yield
        return
    os.environ[_HEADERS_VARIABLE] = str(kernel_headers_dir())
    try:
        yield
    finally:
        del os.environ[_HEADERS_VARIABLE]


@contextmanager
def _captured_output() -> Iterator[Callable[[], str]]:
    """Collect what clang and the verifier print to descriptors 1 and 2."""
    sys.stdout.flush()
    sys.stderr.flush()
    sink = os.memfd_create("envoyassert-compiler-output", os.MFD_CLOEXEC)
    saved = [(fd, os.dup(fd)) for fd in (1, 2)]

    def read() -> str:
        return os.pread(sink, os.fstat(sink).st_size, 0).decode("utf-8", "replace")

    try:
        for fd, _ in saved:
            os.dup2(sink, fd)
        yield read
    finally:
        for fd, copy in saved:
            os.dup2(copy, fd)
            os.close(copy)
        os.close(sink)


def _load_error(error: Exception, output: str) -> ProbeLoadError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if "Operation not permitted" in str(error) or "Operation not permitted" in output:
        return ProbeLoadError(
            "the kernel does not allow this process to load BPF programs",
            "run as root with CAP_BPF and CAP_PERFMON (in a container: --privileged), and check "
            "that the kernel is not locked down",
            output,
        )
    if "Too many open files" in f"{error}{output}":
        return ProbeLoadError(
            "this process may not open enough files to load the BPF program",
            "raise the limit of open files: ulimit -n 1024",
            output,
        )
    errors = [line for line in lines if "error:" in line]
    reason = errors[0] if errors else (lines[-1] if lines else str(error))
    if "Failed to compile" in str(error):
        message = f"the BPF program was refused by the compiler: {reason}"
    else:
        message = f"the BPF program was refused by the kernel: {error}"
    return ProbeLoadError(
        message,
        "run `envoyassert doctor`; if it finds nothing, report the compiler's output together "
        "with the releases of the kernel and of bcc",
        output,
    )
