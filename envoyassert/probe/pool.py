"""Armed selections, and the spare runs that the kernel gives to the processes that they mean."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from envoyassert.probe.comparison import Comparison
from envoyassert.probe.program import SLOTS, Program
from envoyassert.probe.traced_runs import Runs
from envoyassert.wire import TEXT_SIZE, ArmedSelection

#: EA_SELECTIONS and EA_VARIABLES of bpf/select.h.
SELECTIONS, VARIABLES = 8, 32

#: The lowest bit of executables; those of variables are below.
_EXECUTABLE = 1 << VARIABLES

_NUMBER = struct.Struct("=I")
_BITS = struct.Struct("=Q")


@dataclass(eq=False, repr=False)
class _Armed:
    ready: int
    #: The bits of its texts in the map.
    texts: dict[bytes, int]
    #: Serial numbers of runs that began and were not handed out yet.
    begun: list[int] = field(default_factory=list)
    #: How many began since it was armed.
    found: int = 0


class Pool:
    """The selections of one loaded program. Its methods may be called from several threads.

    All selections take their runs from the same queue. A run that is taken is the caller's to
    remove; what is never handed out is removed here.
    """

    def __init__(self, program: Program, runs: Runs) -> None:
        self._program = program
        self._runs = runs
        self._armed: dict[int, _Armed] = {}
        #: Runs that are in the queue, or were taken from it since it was looked at.
        self._spare: list[int] = []

    def add(self, wanted: Comparison, ready: int) -> int:
        """Arm a selection and return its number.

        Args:
            wanted: what a process must be; its record gets the bits of the variables here.
            ready: how many spare runs are kept for it.

        Raises:
            RuntimeError: too many selections are armed, or they ask for too many variables.
            ProbeLoadError: the kernel refused what compares with selections.
        """
        with self._runs.lock:
            self._program.let_select()
            free = [number for number in range(SELECTIONS) if number not in self._armed]
            if not free:
                raise RuntimeError(f"{SELECTIONS} selections are armed, there is room for no more")
            number = free[0]
            # The program may have compared with a selection while it was disarmed.
            self._sort_out()
            texts = self._bits(wanted.variables)
            wanted.record.variables = sum(texts.values())
            if wanted.executable:
                texts[wanted.executable] = texts.get(wanted.executable, 0) | _EXECUTABLE << number
            self._armed[number] = _Armed(ready, texts)
            self._write(texts)
            self._refill()
            self._program.selections.set(_NUMBER.pack(number), bytes(wanted.record))
            return number

    def _bits(self, variables: Sequence[bytes]) -> dict[bytes, int]:
        """Return the bit of each variable: the one that it has, or one that is free."""
        used = {
            text: bits % _EXECUTABLE
            for armed in self._armed.values()
            for text, bits in armed.texts.items()
            if bits % _EXECUTABLE
        }
        free = [1 << number for number in range(VARIABLES) if 1 << number not in used.values()]
        new = [text for text in dict.fromkeys(variables) if text not in used]
        if len(new) > len(free):
            raise RuntimeError(f"the armed selections name more than {VARIABLES} variables")
        used.update(zip(new, free, strict=False))
        return {text: used[text] for text in variables}

    def _write(self, texts: Iterable[bytes]) -> None:
        """Have the kernel know the bits of texts, or nothing of those that have none."""
        for text in texts:
            bits = 0
            for armed in self._armed.values():
                bits |= armed.texts.get(text, 0)
            key = text.ljust(TEXT_SIZE, b"\0")
            if bits:
                self._program.texts.set(key, _BITS.pack(bits))
            else:
                self._program.texts.delete(key)

    def begun(self, number: int) -> list[int]:
        """Return the runs that a selection's processes began since the last call, and refill.

        Returns:
            Serial numbers, in the order in which they began; the caller removes the runs.
        """
        with self._runs.lock:
            armed = self._armed.get(number)
            if armed is None:
                return []
            if self._counts(number).taken != armed.found:
                self._sort_out()
                self._refill()
            serials, armed.begun = armed.begun, []
            return serials

    def _sort_out(self) -> None:
        """Give each run that was taken to its selection; remove those of none."""
        spare = []
        for serial in self._spare:
            number = sum(count.selection for count in self._runs.counters(serial).values()) - 1
            if number < 0:
                spare.append(serial)
            elif number in self._armed:
                self._armed[number].begun.append(serial)
                self._armed[number].found += 1
            else:
                self._runs.remove(serial)
        self._spare = spare

    def _refill(self) -> None:
        """Have as many spare runs as all selections keep, or as there are slots."""
        kept = min(sum(armed.ready for armed in self._armed.values()), SLOTS)
        while len(self._spare) < kept and self._runs.free:
            serial = self._runs.add("")
            self._spare.append(serial)
            self._program.spare.push(_NUMBER.pack(serial))
        while len(self._spare) > kept:
            oldest = self._program.spare.pop()
            if oldest is None:
                break
            (serial,) = _NUMBER.unpack(oldest)
            self._spare.remove(serial)
            self._runs.remove(serial)
        if not self._armed:
            # What a process took after its selection was disarmed.
            for serial in self._spare:
                self._runs.remove(serial)
            self._spare.clear()

    def missed(self, number: int) -> int:
        """Return how many execs a selection may have meant that got no run."""
        with self._runs.lock:
            return int(self._counts(number).missed)

    def _counts(self, number: int) -> ArmedSelection:
        value = self._program.selections.get(_NUMBER.pack(number))
        assert value is not None
        return ArmedSelection.from_buffer_copy(value)

    def is_armed(self, number: int) -> bool:
        """Whether a selection is armed; those of a closed probe are not."""
        return number in self._armed

    def remove(self, number: int) -> None:
        """Disarm a selection, if it is armed; the runs that were handed out go on."""
        with self._runs.lock:
            if number not in self._armed:
                return
            self._program.selections.set(_NUMBER.pack(number), bytes(ArmedSelection()))
            self._sort_out()
            gone = self._armed.pop(number)
            for serial in gone.begun:
                self._runs.remove(serial)
            self._write(gone.texts)
            self._refill()

    def close(self) -> None:
        """Disarm all selections."""
        for number in list(self._armed):
            self.remove(number)
