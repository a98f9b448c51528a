"""What tracing costs, against its budgets: `make bench`.

    python -m tests.bench [--pairs N]

Paired runs, for machines are noisy: in every pair a traced and an untraced start follow each other
in random order, and the median of the ratios counts. Ends with 1 if a budget is exceeded.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.launch.base import LaunchSpec
from envoyassert.launch.process import ProcessLauncher
from envoyassert.launch.source import EnvoySource
from envoyassert.probe import RUN_ID_VARIABLE, Probe, ProbeSnapshot, new_run_id
from envoyassert.scenario.expectation import ListenerExpectation
from envoyassert.scenario.plan import DEFAULT_VERSION
from envoyassert.trace import End, Header, Trace

T = TypeVar("T")

LISTENERS = 200
WORKERS = 8
FIRST_PORT = 20000
ADMIN = Address.inet("127.0.0.1", 9901)

#: Seconds from the wish to trace until Envoy's first instruction.
ARM_BUDGET_S = 0.8
#: Start-up traced against untraced.
START_BUDGET = 1.05


def config(listeners: int) -> str:
    """Return a bootstrap with many TCP listeners on loopback."""
    echo = (
        "{name: envoy.filters.network.echo, typed_config: {'@type': "
        "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}"
    )
    items = "\n".join(
        f"  - {{name: l{port}, address: {{socket_address: {{address: 127.0.0.1, "
        f"port_value: {port}}}}}, filter_chains: [{{filters: [{echo}]}}]}}"
        for port in range(FIRST_PORT, FIRST_PORT + listeners)
    )
    admin = "{address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}"
    return f"admin: {admin}\nstatic_resources:\n  listeners:\n{items}\n"


def start(
    run_id: str | None, listeners: int, workers: int, when_ready: Callable[[], T]
) -> tuple[float, T]:
    """Start one Envoy and stop it when it is ready.

    Returns:
        Seconds from launch to ready, and what `when_ready` returned before the stop.
    """
    source = EnvoySource(version=DEFAULT_VERSION)
    spec = LaunchSpec(
        source=source,
        config_yaml=config(listeners),
        concurrency=workers,
        env={} if run_id is None else {RUN_ID_VARIABLE: run_id},
        deadline_s=60,
        admin=ADMIN,
    )
    with ProcessLauncher() as launcher:
        launcher.prepare(source)
        with launcher.start(spec) as envoy:
            outcome = envoy.wait_ready()
            assert outcome.live_after_s is not None, outcome
            return outcome.live_after_s, when_ready()


def untraced_start(listeners: int, workers: int) -> float:
    """Start one Envoy with no probe loaded; return seconds to ready."""
    return start(None, listeners, workers, lambda: None)[0]


def traced_start(listeners: int, workers: int) -> tuple[float, ProbeSnapshot]:
    """Start one Envoy under the probe; return seconds to ready, and what was recorded."""
    with Probe.load() as probe, probe.arm(new_run_id()) as arm:

        def read() -> ProbeSnapshot:
            arm.drain(30.0)
            return arm.snapshot()

        seconds, snapshot = start(arm.run_id, listeners, workers, read)
    assert snapshot.drained
    assert all(counters.dropped == 0 for counters in snapshot.cpus), snapshot.cpus
    return seconds, snapshot


def bench_arming(rounds: int) -> bool:
    """Measure the way to the first instruction in fresh interpreters."""
    times = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench", "--arm-once"],
            check=True,
            capture_output=True,
            text=True,
        )
        times.append(float(done.stdout))
    return report("load, arm, first exec", statistics.median(times), ARM_BUDGET_S, "s", times)


def arm_once() -> None:
    """Print seconds from loading the probe to Envoy's exec."""
    source = EnvoySource(version=DEFAULT_VERSION)
    with ProcessLauncher() as launcher:
        launcher.prepare(source)
        begun = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        with Probe.load() as probe, probe.arm(new_run_id()) as arm:
            env = {RUN_ID_VARIABLE: arm.run_id}
            with launcher.start(LaunchSpec(source, config(1), env=env, admin=ADMIN)) as envoy:
                envoy.wait_ready()
                arm.drain(10.0)
                first = arm.snapshot().events[0]
    print((first.ts_ns - begun) / 1e9)


def bench_start(pairs: int) -> tuple[bool, ProbeSnapshot]:
    """Measure the start of a large Envoy with and without the probe."""
    chance = random.Random(7)
    ratios, plain, traced = [], [], []
    snapshot: ProbeSnapshot | None = None
    for _ in range(pairs):
        if chance.random() < 0.5:
            plain.append(untraced_start(LISTENERS, WORKERS))
            seconds, snapshot = traced_start(LISTENERS, WORKERS)
        else:
            seconds, snapshot = traced_start(LISTENERS, WORKERS)
            plain.append(untraced_start(LISTENERS, WORKERS))
        traced.append(seconds)
        ratios.append(traced[-1] / plain[-1])
    assert snapshot is not None
    print(
        f"start of {LISTENERS} listeners x {WORKERS} workers: untraced "
        f"{statistics.median(plain):.3f} s, traced {statistics.median(traced):.3f} s, "
        f"{len(snapshot.events)} events"
    )
    ok = report(
        "traced / untraced, median of pairs", statistics.median(ratios), START_BUDGET, "", ratios
    )
    return ok, snapshot


def bench_core(snapshot: ProbeSnapshot) -> None:
    """Time the pure half on what was recorded."""
    trace = Trace(
        Header(launcher="process", concurrency=WORKERS),
        list(snapshot.events),
        End(snapshot.cpus, snapshot.misses, snapshot.drained, snapshot.marked),
    )
    wishes = [
        (
            index,
            ListenerExpectation.model_validate(
                {
                    "listener": {"port": FIRST_PORT + index},
                    "bound": {"times": "workers", "by": "main"},
                    "listened": {"by": "workers", "via": "reuse_port"},
                }
            ),
        )
        for index in range(LISTENERS)
    ]
    graph = timed("fold", lambda: fold(trace))
    verdict = timed(
        f"judge {LISTENERS} listeners", lambda: judge(trace, wishes, workers=WORKERS, graph=graph)
    )
    print(f"verdict: {verdict}")


def timed(name: str, work: Callable[[], T]) -> T:
    """Print the shortest of five times, and return the last result."""
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begun)
    print(f"{name}: {min(times):.3f} s")
    return result


def report(name: str, value: float, budget: float, unit: str, all_values: list[float]) -> bool:
    """Print a figure against its budget and return whether it keeps it."""
    ok = value <= budget
    spread = f"{min(all_values):.3f} to {max(all_values):.3f}, n={len(all_values)}"
    print(f"{name}: {value:.3f}{unit} (budget {budget}{unit}; {spread}) {'ok' if ok else 'OVER'}")
    return ok


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what tracing costs.")
    parser.add_argument("--pairs", type=int, default=41)
    parser.add_argument("--arm-once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm_once:
        arm_once()
        return 0
    armed_ok = bench_arming(5)
    start_ok, snapshot = bench_start(options.pairs)
    bench_core(snapshot)
    return 0 if armed_ok and start_ok else 1


if __name__ == "__main__":
    sys.exit(main())
