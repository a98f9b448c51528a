"""What records a run: the probe, strace, or the probe with strace beside it."""

from __future__ import annotations

from types import TracebackType
from typing import Literal, Protocol

from typing_extensions import Self

from envoyassert.accounts import SecondWitness
from envoyassert.launch.user_namespace import become_root
from envoyassert.option_read_back import Option
from envoyassert.probe.live import Probe, ProbeSnapshot
from envoyassert.probe.privileges import give_up_privileges
from envoyassert.probe.traced_runs import RunCounters

TracerName = Literal["ebpf", "strace"]
TRACERS: tuple[TracerName, ...] = ("ebpf", "strace")
#: Second witnesses; the kernel's and Envoy's own accounts are always taken.
WITNESSES = ("strace",)


class Watch(Protocol):
    """One run that is being watched; a context manager that ends that."""

    run_id: str

    @property
    def tracer(self) -> str:
        """Who records: `ebpf`, `strace`."""

    @property
    def unobserved(self) -> tuple[str, ...]:
        """The members of `envoyassert.trace.CHANNELS` that are not covered."""

    def command(self, directory: str) -> tuple[str, ...]:
        """Return what Envoy's command line must begin with; () for Envoy by itself."""

    def drain(self, deadline_s: float) -> None:
        """Receive all that happened so far."""

    def snapshot(self) -> ProbeSnapshot:
        """Return what was received."""

    def options(self) -> frozenset[Option]:
        """Return which socket options were set, as far as was received: level and name of each."""

    def counters(self) -> RunCounters:
        """Return how much there is by now."""

    def second(self, until_ns: int) -> SecondWitness | None:
        """Return another tracer's record of the same, if there is one."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


class Tracer(Protocol):
    """What can watch runs, loaded."""

    def arm(self, run_id: str) -> Watch:
        """Begin to watch a run."""

    def close(self) -> None:
        """Unload it. May be called more than once."""


def prepare_tracer(name: str, witness: str = "") -> None:
    """Do what must be done before there are threads: check strace, let it work without root.

    Args:
        name: `ebpf` or `strace`.
        witness: `strace` or "".

    Raises:
        StraceUnavailableError: it was asked for, and cannot be used.
        MachineError: an ordinary user cannot have namespaces for Envoy on this machine.
    """
    if "strace" in (name, witness):
        from envoyassert.probe.strace_tracer import find_strace

        find_strace()
    if name == "strace":
        become_root()


def load_tracer(name: str = "ebpf", witness: str = "", session: str = "") -> Tracer:
    """Load what records runs, and give up what nothing needs afterwards; do it once per session.

    Args:
        name: `ebpf` or `strace`.
        witness: `strace` for a second record beside the probe's, or "".
        session: of a process that is one of several, their session's; see `Probe.load`.

    Raises:
        ProbeUnavailableError: this machine lacks something; the remedy says what.
        StraceUnavailableError: strace was asked for, and cannot be used.
        ProbeLoadError: the probe was refused by the compiler or the kernel.
    """
    tracer = _loaded(name, witness, session)
    give_up_privileges()
    return tracer


def _loaded(name: str, witness: str, session: str) -> Tracer:
    if "strace" not in (name, witness):
        return Probe.load(session=session)
    from envoyassert.probe.strace_tracer import StraceProbe

    strace = StraceProbe.load()
    if name == "strace":
        return strace
    from envoyassert.probe.witnessed import WitnessedProbe

    return WitnessedProbe(Probe.load(session=session), strace)
