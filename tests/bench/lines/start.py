"""The start of a large Envoy under the probe, under strace and under bpftrace."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from envoyassert.probe import Probe, ProbeSnapshot
from tests.bench import starts
from tests.bench.configs import ECHO, HTTP, scenario
from tests.bench.lines.one_run import run_arguments
from tests.bench.peers import Bpftrace, strace_command
from tests.bench.row import Row, both, figure, ratios
from tests.bench.session import Session, alternated
from tests.bench.starts import Envoy

HTTP_ENVOY = Envoy(200, 8, HTTP)
ECHO_ENVOY = Envoy(200, 8, ECHO)
MANY = Envoy(1000, 16, ECHO)
HTTP_LIMIT, ECHO_LIMIT, MANY_LIMIT = 1.02, 1.05, 1.05
#: Starts of each side in a pair; one more before them does not count, as caches are cold after
#: the probe was loaded.
_STARTS = 4


def measure_http(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the start of an Envoy whose listeners serve HTTP."""
    yield from _beside_untraced(line, HTTP_ENVOY, "HTTP", HTTP_LIMIT, pairs)


def measure_echo(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the start of an Envoy whose listeners only echo."""
    yield from _beside_untraced(line, ECHO_ENVOY, "echo", ECHO_LIMIT, pairs)


def _beside_untraced(line: str, envoy: Envoy, kind: str, limit: float, pairs: int) -> Iterator[Row]:
    snapshots: list[ProbeSnapshot] = []
    plain, under = alternated(
        pairs,
        lambda: _median(_STARTS, lambda: starts.untraced(envoy)),
        lambda: _under_probe(envoy, _STARTS, snapshots),
    )
    what = f"start of Envoy, {_size(envoy)}, {kind}: traced"
    lost = sum(map(starts.lost, snapshots))
    seen = f"{both(plain, under, 's')}; {lost} of {len(snapshots[-1].events)} events lost"
    yield Row(line, what, "untraced", ratios(plain, under), "", limit, seen)


def measure_many(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the start of a very large Envoy, what was lost of it, and how long judging it takes."""
    snapshots: list[ProbeSnapshot] = []
    plain, under = alternated(
        pairs,
        lambda: starts.untraced(MANY),
        lambda: _under_probe(MANY, 1, snapshots),
    )
    what = f"start of Envoy, {_size(MANY)}"
    seen = f"{both(plain, under, 's')}; {len(snapshots[-1].events)} events"
    yield Row(line, f"{what}: traced", "untraced", ratios(plain, under), "", MANY_LIMIT, seen)
    losses = tuple(float(starts.lost(snapshot)) for snapshot in snapshots)
    yield Row(line, f"{what}: lost events", "", losses, "", 0)
    yield _judged(session, line)


def _judged(session: Session, line: str) -> Row:
    """Return how long a run takes whose scenario expects something of each listener; it passes."""
    path = session.directory / "many.yaml"
    path.write_text(scenario("many", MANY.ports, MANY.workers), "utf-8")
    usage = session.run(session.now, *run_arguments(path))
    what = f"`run` of {_size(MANY)}, each listener judged: wall"
    seen = f"PASS; processor time {figure(usage.cpu_s, 's')}, {figure(usage.peak_mib, 'MiB')}"
    return Row(line, what, "", (usage.wall_s,), "s", None, seen)


def measure_strace(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the start under strace, once stopped at each call and once at those of interest."""
    yield _strace_row(line, "strace -f", pairs, seccomp=False)
    yield _strace_row(line, "strace -f --seccomp-bpf", pairs, seccomp=True)


def _strace_row(line: str, name: str, pairs: int, *, seccomp: bool) -> Row:
    listens: list[int] = []
    log = Path()

    def command(directory: str) -> tuple[str, ...]:
        nonlocal log
        words = strace_command(directory, seccomp=seccomp)
        log = Path(words[words.index("-o") + 1])
        return words

    def once() -> float:
        took_s, found = starts.start(
            ECHO_ENVOY, tracer=command, when_ready=lambda _: starts.logged_listens(log)
        )
        listens.append(found)
        return took_s

    def lost() -> str:
        return f"{ECHO_ENVOY.listening - min(listens)} of {ECHO_ENVOY.listening} listen() lost"

    return _peer_row(line, name, once, pairs, lost)


def measure_bpftrace(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the start under bpftrace, without and with the stacks of the callers."""
    yield _bpftrace_row(session, line, "bpftrace", pairs, stacks=False)
    yield _bpftrace_row(session, line, "bpftrace with stacks", pairs, stacks=True)


def _bpftrace_row(session: Session, line: str, name: str, pairs: int, *, stacks: bool) -> Row:
    losses: list[tuple[int, int]] = []

    def once() -> float:
        with Bpftrace(session.directory, stacks=stacks) as bpftrace:
            took_s = starts.untraced(ECHO_ENVOY)
            losses.append(bpftrace.lost())
        return took_s

    def lost() -> str:
        worst, emitted = max(losses)
        return f"up to {worst} of {emitted} events lost"

    return _peer_row(line, name, once, pairs, lost)


def _peer_row(
    line: str, name: str, once: Callable[[], float], pairs: int, lost: Callable[[], str]
) -> Row:
    plain, under = alternated(pairs, lambda: starts.untraced(ECHO_ENVOY), once)
    what = f"start of Envoy, {_size(ECHO_ENVOY)}, echo: under {name}"
    seen = f"{both(plain, under, 's')}; {lost()}"
    return Row(line, what, "untraced", ratios(plain, under), "", None, seen)


def _under_probe(envoy: Envoy, count: int, snapshots: list[ProbeSnapshot]) -> float:
    """Return the median of so many starts under one probe; add what was recorded of them."""
    with Probe.load() as probe:

        def once() -> float:
            took_s, snapshot = starts.traced(probe, envoy)
            snapshots.append(snapshot)
            return took_s

        took_s = _median(count, once)
    time.sleep(starts.DETACHED_S)
    return took_s


def _median(count: int, once: Callable[[], float]) -> float:
    """Measure so often, after once that does not count; return the median."""
    once()
    return statistics.median(once() for _ in range(count))


def _size(envoy: Envoy) -> str:
    return f"{envoy.listeners:,} listeners × {envoy.workers} workers"
