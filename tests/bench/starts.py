"""One start of a large Envoy, from launch to ready, and what recorded it."""

from __future__ import annotations

import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from envoyassert.addresses import Address
from envoyassert.launch.base import LaunchSpec
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.process import ProcessLauncher
from envoyassert.probe import RUN_ID_VARIABLE, Probe, ProbeSnapshot, new_run_id
from envoyassert.scenario.plan import DEFAULT_VERSION
from tests.bench.configs import ADMIN_PORT, config

T = TypeVar("T")

FIRST_PORT = 20000
ADMIN = Address.inet("127.0.0.1", ADMIN_PORT)
#: Seconds until Envoy must be ready, and until its record must have been read.
_READY_S, _DRAIN_S = 120.0, 60.0
#: So long after the probe was closed the kernel may still be detaching it.
DETACHED_S = 0.5
#: Descriptors of an Envoy, besides those of its listeners.
_SPARE_DESCRIPTORS = 1000


class Envoy(NamedTuple):
    """An Envoy that is started again and again.

    Args:
        listeners: how many TCP listeners it has.
        workers: of how many threads; each gets a socket of each listener.
        network_filter: what the listeners end in.
    """

    listeners: int
    workers: int
    network_filter: str

    @property
    def ports(self) -> range:
        """The ports of the listeners."""
        return range(FIRST_PORT, FIRST_PORT + self.listeners)

    @property
    def listening(self) -> int:
        """How many sockets listen: one per listener and worker, and the admin endpoint's."""
        return self.listeners * self.workers + 1


def start(
    envoy: Envoy,
    *,
    run_id: str = "",
    tracer: Callable[[str], tuple[str, ...]] = lambda _: (),
    when_ready: Callable[[str], T],
) -> tuple[float, T]:
    """Start an Envoy, and stop it when it is ready.

    Args:
        envoy: what is started.
        run_id: what its process is marked with for the probe; "" for nothing.
        tracer: returns what its command line begins with, given its run directory.
        when_ready: is given the run directory once Envoy is ready.

    Returns:
        Seconds from launch to ready, and what `when_ready` returned.

    Raises:
        AssertionError: it did not become ready.
    """
    _allow_descriptors(envoy.listening + _SPARE_DESCRIPTORS)
    source = EnvoySource(version=DEFAULT_VERSION)
    with ProcessLauncher() as launcher:
        spec = LaunchSpec(
            source=source,
            config_yaml=config(envoy.ports, envoy.network_filter),
            concurrency=envoy.workers,
            env={RUN_ID_VARIABLE: run_id} if run_id else {},
            deadline_s=_READY_S,
            admin=ADMIN,
            tracer=tracer(launcher.rundir()),
        )
        launcher.prepare(source)
        with launcher.start(spec) as running:
            outcome = running.wait_ready()
            assert outcome.live_after_s is not None, f"Envoy is not ready: {outcome}"
            return outcome.live_after_s, when_ready(launcher.rundir())


def untraced(envoy: Envoy) -> float:
    """Return how long a start takes that nothing records, in seconds."""
    return start(envoy, when_ready=lambda _: None)[0]


def traced(probe: Probe, envoy: Envoy) -> tuple[float, ProbeSnapshot]:
    """Return how long a start takes that the probe records, in seconds, and what it recorded."""
    with probe.arm(new_run_id()) as arm:

        def read(_: str) -> ProbeSnapshot:
            arm.drain(_DRAIN_S)
            return arm.snapshot()

        return start(envoy, run_id=arm.run_id, when_ready=read)


def lost(snapshot: ProbeSnapshot) -> int:
    """Return how many events are not in a record, so far as the record says.

    Raises:
        AssertionError: it was not read to its end, so that this is not known.
    """
    assert snapshot.drained, "the record was not read to its end"
    return sum(counters.dropped for counters in snapshot.cpus) + snapshot.misses


def logged_listens(path: Path) -> int:
    """Return how many calls of listen(2) a log of strace has."""
    with path.open("rb") as log:
        return sum(b" listen(" in line for line in log)


def _allow_descriptors(count: int) -> None:
    """Raise the limit of descriptors for what is started from here, as far as that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(count, hard)))
