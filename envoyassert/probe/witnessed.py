"""The probe with strace beside it: two records of each run."""

from __future__ import annotations

from typing_extensions import Self

from envoyassert.accounts import SecondWitness
from envoyassert.option_read_back import Option
from envoyassert.probe.live import Arm, Probe, ProbeSnapshot
from envoyassert.probe.strace_tracer import StraceArm, StraceProbe
from envoyassert.probe.traced_runs import RunCounters


class WitnessedArm:
    """One run that both watch; see `Arm`."""

    tracer = "ebpf"
    unobserved: tuple[str, ...] = ()

    def __init__(self, arm: Arm, strace: StraceArm) -> None:
        self._arm = arm
        self._strace = strace
        self.run_id = arm.run_id

    def command(self, directory: str) -> tuple[str, ...]:
        """Return what Envoy's command line begins with."""
        return self._strace.command(directory)

    def drain(self, deadline_s: float) -> None:
        """Read what the probe recorded, then what strace did, which so knows as much or more."""
        self._arm.drain(deadline_s)
        self._strace.drain(deadline_s)

    def snapshot(self) -> ProbeSnapshot:
        """Return the probe's record."""
        return self._arm.snapshot()

    def options(self) -> frozenset[Option]:
        """Return which socket options were set, by the probe."""
        return self._arm.options()

    def counters(self) -> RunCounters:
        """Return the probe's counters."""
        return self._arm.counters()

    def second(self, until_ns: int) -> SecondWitness:
        """Return strace's record."""
        return self._strace.record(until_ns)

    def disarm(self) -> None:
        """Stop watching."""
        self._arm.disarm()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.disarm()


class WitnessedProbe:
    """The loaded probe with strace beside it; see `Probe`. A context manager."""

    def __init__(self, probe: Probe, strace: StraceProbe) -> None:
        self._probe = probe
        self._strace = strace

    def arm(self, run_id: str) -> WitnessedArm:
        """Begin to watch a run. Raises like `Probe.arm`."""
        return WitnessedArm(self._probe.arm(run_id), self._strace.arm(run_id))

    def close(self) -> None:
        """Unload the probe."""
        self._probe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
