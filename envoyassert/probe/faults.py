"""The probe, with a strace that makes system calls of Envoy's fail or late.

What strace makes fail never reaches the kernel: strace exchanges the call for one that does not
exist, and puts the error in place of its result after the probe has seen that. So the trace has
those calls by strace's log, as if a further CPU had recorded them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from typing_extensions import Self

from envoyassert.errors import MachineError
from envoyassert.events import Event
from envoyassert.option_read_back import Option
from envoyassert.probe.live import ProbeSnapshot
from envoyassert.probe.traced_runs import RunCounters
from envoyassert.probe.tracing import Watch
from envoyassert.steps.base import CallFault
from envoyassert.trace import CpuCounters

if TYPE_CHECKING:
    from envoyassert.probe.strace_tracer import StraceArm

#: The number of the CPU that stands for strace; a kernel has fewer (CONFIG_NR_CPUS, at most 8192).
STRACE_CPU = 65535


def strace_option(fault: CallFault) -> str:
    """Return what strace's `-e` is given for a fault."""
    what = f"error={fault.error}" if fault.error else f"delay_enter={fault.delay_us}"
    return f"inject={fault.call}:{what}:when={fault.when}"


class FaultyArm:
    """One run whose Envoy is started by a strace that injects faults; see `Arm`."""

    tracer = "ebpf"

    def __init__(self, arm: Watch, strace: StraceArm, faults: Iterable[CallFault]) -> None:
        self._arm = arm
        self._strace = strace
        self._faults = tuple(faults)
        self.run_id = arm.run_id
        self.unobserved = arm.unobserved

    def command(self, directory: str) -> tuple[str, ...]:
        """Return what Envoy's command line begins with."""
        options = (word for fault in self._faults for word in ("-e", strace_option(fault)))
        return (*self._strace.command(directory), *options)

    def drain(self, deadline_s: float) -> None:
        """Read what the probe recorded, then what strace did."""
        self._arm.drain(deadline_s)
        self._strace.drain(deadline_s)

    def snapshot(self) -> ProbeSnapshot:
        """Return the probe's record, and the calls that strace made fail."""
        seen, refused = self._arm.snapshot(), self._strace.snapshot()
        failed = [
            Event(e.ts_ns, e.pid, e.tid, e.call, e.ret, e.args, STRACE_CPU, number)
            for number, e in enumerate(self._strace.injected(), 1)
        ]
        return ProbeSnapshot(
            sorted([*seen.events, *failed], key=lambda event: event.ts_ns),
            (*seen.cpus, CpuCounters(STRACE_CPU, len(failed), 0)),
            seen.misses + refused.misses,
            seen.drained and refused.drained,
            seen.marked,
        )

    def options(self) -> frozenset[Option]:
        """Return which socket options were set, by the probe."""
        return self._arm.options()

    def counters(self) -> RunCounters:
        """Return the probe's counters."""
        return self._arm.counters()

    def second(self, until_ns: int) -> None:
        """Return nothing: strace is part of the record itself."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._strace.disarm()


def with_faults(arm: Watch, faults: Iterable[CallFault]) -> Watch:
    """Return the same run, with faults if there are any.

    Args:
        arm: the run; its caller disarms it.
        faults: what is to be injected.

    Raises:
        StraceUnavailableError: strace cannot be used.
        MachineError: the run is watched by strace already.
    """
    wanted = tuple(faults)
    if not wanted:
        return arm
    if arm.tracer != "ebpf" or arm.command("/"):
        raise MachineError(
            "strace watches this run already and cannot inject faults beside that",
            "leave out the tracer or witness strace for this scenario",
        )
    from envoyassert.probe.strace_tracer import StraceArm, find_strace

    return FaultyArm(arm, StraceArm(arm.run_id, find_strace()[0]), wanted)
