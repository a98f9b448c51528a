"""The program in the kernel: compiled or taken from the cache, loaded, attached, detached again."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from envoyassert.errors import MachineError, ProbeLoadError
from envoyassert.probe import compiler, kernel, program_cache
from envoyassert.probe.compiled import Compiled
from envoyassert.probe.loading import Hooks, Loaded, load, load_functions
from envoyassert.probe.maps import Map, possible_cpus
from envoyassert.probe.program_text import named_calls, program_text, recorded_calls
from envoyassert.probe.refusal import refused_by_kernel
from envoyassert.probe.ring import Ring
from envoyassert.probe.sharing import READERS, Offer, Shared, join
from envoyassert.probe.tracepoints import SELECT_HOOK, field_offsets, member_offsets
from envoyassert.wire import TEXT_SIZE, ArmedSelection, Counters, MarkedProcess

#: 32 MiB with pages of 4 KiB: about 400,000 ordinary records.
DEFAULT_RING_PAGES = 8192

#: Pieces of the ring that are read before the caller looks at its clock, 2 KiB each at most: who is
#: written to faster than it reads would go on for ever.
_PIECES_AT_ONCE = 8192

_NUMBER = struct.Struct("=I")
_PID_MAX = Path("/proc/sys/kernel/pid_max")
#: EA_SLOTS of bpf/target.h: so many runs can be watched at a time.
SLOTS = 256
#: Process ids whose marks are in one element of the map.
_MARKS = 4


class Program:
    """The program in the kernel, attached.

    Args:
        ring_pages: size of the ring in pages, a power of two.
        session: the name of a session whose workers use one program (`sharing.py`); "" for none.

    Raises:
        ProbeUnavailableError: bcc, tracefs or a tracepoint is missing.
        ProbeLoadError: the program was refused.
    """

    def __init__(self, ring_pages: int, session: str = "") -> None:
        if ring_pages < 1 or ring_pages & (ring_pages - 1):
            raise ValueError(f"ring_pages must be a power of two, not {ring_pages}")
        self.slots = range(SLOTS)
        self._closed = False
        self._compiled: Compiled | None
        self._lock: int | None = None
        self._offer: Offer | None = None
        ring_size = ring_pages * os.sysconf("SC_PAGE_SIZE")
        found = join(session) if session else None
        if isinstance(found, Shared):
            self._take(found, ring_size)
        else:
            self._offer = found
            self._load(ring_size)

    def _load(self, ring_size: int) -> None:
        """Load and attach the program, and give it to the other workers that ask for it."""
        try:
            hooks = Hooks()
            entries, kinds = _entries(ring_size), _kinds(hooks)
            found = _early.take(entries, kinds) or _loaded(entries, kinds)
            self._loaded, self._compiled = found
            try:
                self._use(hooks, ring_size)
                classes = self._map("classes", _NUMBER.size, _NUMBER.size)
                for number, kind in recorded_calls().items():
                    classes.set(_NUMBER.pack(number), _NUMBER.pack(kind))
                hooks.attach(self._loaded.functions)
            except BaseException:
                self._loaded.close()
                raise
        except BaseException:
            if self._offer is not None:
                self._offer.close()
            raise
        if self._offer is not None:
            self.slots = _slots_of(0)
            self._lock = os.memfd_create("envoyassert-armed")
            named, raw = hooks.descriptors
            self._offer.open(
                {
                    "maps": self._loaded.maps,
                    "functions": self._loaded.functions,
                    "named": {str(number): fd for number, fd in enumerate(named)},
                    "raw": {str(number): fd for number, fd in enumerate(raw)},
                    "lock": {"lock": self._lock},
                }
            )

    def _take(self, shared: Shared, ring_size: int) -> None:
        """Use the program of another worker, with a ring and slots of this one."""
        groups, reader = shared.groups, shared.reader
        self._compiled = None
        self._loaded = Loaded(groups["maps"], groups["functions"])
        hooks = Hooks(list(groups["named"].values()), list(groups["raw"].values()))
        self._lock = groups["lock"]["lock"]
        self.slots = _slots_of(reader)
        try:
            ring = kernel.create_map("records", kernel.MapKind(kernel.RING, 0, 0, ring_size, 0))
            os.close(self._loaded.maps["records"])
            self._loaded.maps["records"] = ring
            rings = self._map("rings", _NUMBER.size, _NUMBER.size)
            rings.set(_NUMBER.pack(reader), _NUMBER.pack(ring))
            readers = self._map("readers", _NUMBER.size, _NUMBER.size)
            for slot in self.slots:
                readers.set(_NUMBER.pack(slot), _NUMBER.pack(reader))
            self._use(hooks, ring_size)
        except OSError as error:
            hooks.close()
            self._loaded.close()
            os.close(self._lock)
            raise refused_by_kernel("make a ring for a further worker", error) from error

    def _use(self, hooks: Hooks, ring_size: int) -> None:
        self._hooks = hooks
        self._ring = Ring(self._loaded.maps["records"], ring_size)
        counters_size = ctypes.sizeof(Counters) * len(possible_cpus())
        self.runs = self._map("runs", 16, _NUMBER.size)
        self.armed = self._map("armed", _NUMBER.size, _NUMBER.size)
        self.marks = self._map("marks", _NUMBER.size, 8)
        self.targets = self._map("targets", _NUMBER.size, ctypes.sizeof(MarkedProcess))
        self.counters = self._map("counters", _NUMBER.size, counters_size)
        self.room = self._map("room", _NUMBER.size, 8)
        self.selections = self._map("selections", _NUMBER.size, ctypes.sizeof(ArmedSelection))
        self.texts = self._map("texts", TEXT_SIZE, 8)
        self.spare = self._map("spare", 0, _NUMBER.size)

    @property
    def is_shared(self) -> bool:
        """Whether other workers may use it too."""
        return self._lock is not None

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other workers from changing what all of them change."""
        if self._lock is None:
            yield
            return
        # By process: it ends with the process that holds it.
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def attach(self) -> None:
        """Attach all hooks, which are not attached."""
        self._hooks.attach(self._loaded.functions)

    def detach(self) -> None:
        """Detach all hooks; the program stays loaded. The kernel takes a third of a second."""
        self._hooks.detach()

    def _map(self, name: str, key_size: int, value_size: int) -> Map:
        return Map(self._loaded.maps[name], key_size, value_size)

    def flush(self) -> None:
        """Have the records that wait on each CPU written into the ring.

        Those of a CPU that is about to add one more, or is offline, stay there.
        """
        for cpu in possible_cpus():
            kernel.run_on(self._loaded.functions["ea_flush"], cpu)

    def read_ring(self) -> list[bytes]:
        """Return the pieces that are in the ring, or a good part of them if there are very many.

        A piece is one record or several (`envoyassert.wire.records_of`).
        """
        return self._ring.read(_PIECES_AT_ONCE)

    @property
    def unread(self) -> tuple[int, int]:
        """The positions in the ring between which there is something to read; they only grow."""
        return self._ring.unread

    def skip_ring(self) -> None:
        """Empty the ring without reading it, while no run is watched by this worker."""
        self._ring.skip()

    def let_select(self) -> None:
        """Load and attach what compares processes with selections, unless that was done.

        Raises:
            ProbeLoadError: the kernel refused it.
        """
        tracepoint, function = SELECT_HOOK
        functions = self._loaded.functions
        if function not in functions:
            assert self._compiled is not None
            load_functions(self._loaded, self._compiled, {function: kernel.RAW_TRACEPOINT})
            self._hooks.add(tracepoint, function, functions[function])

    def misses(self, name: str = "") -> int:
        """Return how often the kernel skipped a program because it was running.

        Args:
            name: its function, which need not be loaded; all of them if it is empty.
        """
        functions = self._loaded.functions
        return sum(kernel.misses_of(functions[one]) for one in functions if name in ("", one))

    def close(self) -> None:
        """Detach and unload, unless another worker uses it. May be called more than once."""
        if not self._closed:
            self._closed = True
            if self._offer is not None:
                self._offer.close()
            self._hooks.close()
            self._ring.close()
            self._loaded.close()
            if self._lock is not None:
                os.close(self._lock)


def _slots_of(reader: int) -> range:
    """Return the slots of a worker that shares the program."""
    each = SLOTS // READERS
    return range(reader * each, (reader + 1) * each)


def _entries(ring_size: int) -> dict[str, int]:
    """Return the sizes of maps that this machine, or the caller, decides."""
    return {"records": ring_size, "marks": int(_PID_MAX.read_text()) // _MARKS + 1}


def _kinds(hooks: Hooks) -> dict[str, int]:
    return {**hooks.kinds, "ea_flush": kernel.RAW_TRACEPOINT}


class _Early:
    """A program that is loaded before it is asked for, in a thread of its own."""

    def __init__(self) -> None:
        self._wanted: tuple[dict[str, int], dict[str, int]] | None = None
        self._found: tuple[Loaded, Compiled] | None = None
        self._thread: threading.Thread | None = None

    def begin(self, entries: dict[str, int], kinds: dict[str, int]) -> None:
        """Begin to load the program that is kept, if one is; nothing is compiled or attached."""
        self._wanted = entries, kinds
        self._thread = threading.Thread(target=self._load, args=(entries, kinds), daemon=True)
        self._thread.start()

    def _load(self, entries: dict[str, int], kinds: dict[str, int]) -> None:
        # Whatever is wrong shows, with its reason, when the program is asked for.
        with contextlib.suppress(Exception):
            _, _, kept = _source()
            self._found = None if kept is None else (load(kept, entries, kinds), kept)

    def take(
        self, entries: dict[str, int], kinds: dict[str, int]
    ) -> tuple[Loaded, Compiled] | None:
        """Return what was loaded, once; None if that is nothing, or another program."""
        if self._thread is not None:
            self._thread.join()
        found, self._found, self._thread = self._found, None, None
        if found is not None and self._wanted != (entries, kinds):
            found[0].close()
            return None
        return found


_early = _Early()


def load_early() -> None:
    """Begin to load the program, if it is kept: the kernel checks it while other things are done.

    It is for the `Program` that is made next. To be called once, in a process that will make one:
    what is loaded goes with the process.
    """
    with contextlib.suppress(OSError, MachineError):
        ring_size = DEFAULT_RING_PAGES * os.sysconf("SC_PAGE_SIZE")
        _early.begin(_entries(ring_size), _kinds(Hooks()))


def _loaded(entries: dict[str, int], kinds: dict[str, int]) -> tuple[Loaded, Compiled]:
    """Load the program that is kept, or compile it; return it in both forms.

    Raises:
        ProbeUnavailableError: bcc, tracefs or a tracepoint is missing.
        ProbeLoadError: the program was refused.
    """
    defines, key, kept = _source()
    if kept is not None:
        try:
            return load(kept, entries, kinds), kept
        except (ProbeLoadError, LookupError):
            pass  # refused: the compiler has the last word
    compiled = compiler.compile_program(program_text(), {**defines, **member_offsets()})
    loaded = load(compiled, entries, kinds)
    if key:
        program_cache.remember(key, compiled)
    return loaded, compiled


def _source() -> tuple[dict[str, int], str, Compiled | None]:
    """Return the macros of the program, its key ("" if it is not to be kept), and what is kept."""
    defines = {**field_offsets(), **named_calls()}
    if os.environ.get(compiler.HEADERS_VARIABLE):
        return defines, "", None  # with other headers it may be another program
    key = program_cache.key_of(program_text(), defines)
    return defines, key, program_cache.recall(key)
