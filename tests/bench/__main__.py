"""What tracing costs, against its budgets: `make bench`.

    python -m tests.bench [--pairs N] [--starts N]

Paired runs, for machines are noisy: a pair is some starts under the probe and as many without it,
in random order; the medians of the two are compared, and the median of all pairs counts. Each
series begins with a start that is not counted, for caches are cold after compiling the probe.
Beside the wall clock stands the processor time of Envoy's own threads, which is steadier.

Two kinds of listener are started. Those with an HTTP connection manager are what gateways and
sidecars have. Listeners that echo cost Envoy hardly more than their sockets: there the same 12,000
recorded calls weigh most, and the tracing of all system calls, which a machine does at a price of
its own (here 1.02 to 1.03), so that their budget is wider.

Ends with 1 if a budget is exceeded.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.launch.base import LaunchSpec
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.process import ProcessLauncher
from envoyassert.probe import RUN_ID_VARIABLE, Arm, Probe, ProbeSnapshot, new_run_id
from envoyassert.scenario.plan import DEFAULT_VERSION
from envoyassert.trace import End, Header, Trace
from envoyassert.words.listener import ListenerExpectation
from tests.bench.judging import bench_judging, bench_storms
from tests.bench.library import bench_library

T = TypeVar("T")

LISTENERS = 200
WORKERS = 8
FIRST_PORT = 20000
ADMIN = Address.inet("127.0.0.1", 9901)

#: Seconds from the request to trace until Envoy's first instruction.
ARM_BUDGET_S = 0.8
#: Start-up traced against untraced: of listeners that serve HTTP, and of those that only echo.
HTTP_BUDGET = 1.05
ECHO_BUDGET = 1.10

_TYPE = "'@type': type.googleapis.com/envoy.extensions.filters"
ECHO = f"{{name: envoy.filters.network.echo, typed_config: {{{_TYPE}.network.echo.v3.Echo}}}}"
HTTP = (
    "{name: envoy.filters.network.http_connection_manager, typed_config: {"
    f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: http, "
    "route_config: {virtual_hosts: [{name: all, domains: ['*'], "
    "routes: [{match: {prefix: /}, direct_response: {status: 200}}]}]}, "
    "http_filters: [{name: envoy.filters.http.router, "
    f"typed_config: {{{_TYPE}.http.router.v3.Router}}}}]}}}}"
)


def config(listeners: int, network_filter: str) -> str:
    """Return a bootstrap with many TCP listeners on loopback that end in one network filter."""
    items = "\n".join(
        f"  - {{name: l{port}, address: {{socket_address: {{address: 127.0.0.1, "
        f"port_value: {port}}}}}, filter_chains: [{{filters: [{network_filter}]}}]}}"
        for port in range(FIRST_PORT, FIRST_PORT + listeners)
    )
    admin = "{address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}"
    return f"admin: {admin}\nstatic_resources:\n  listeners:\n{items}\n"


class Start(NamedTuple):
    """One start of Envoy, from launch to ready.

    Args:
        wall_s: seconds on the clock.
        cpu_s: seconds that Envoy's threads ran.
    """

    wall_s: float
    cpu_s: float


def start(run_id: str | None, network_filter: str, when_ready: Callable[[], T]) -> tuple[Start, T]:
    """Start one Envoy and stop it when it is ready; also return what `when_ready` returned."""
    source = EnvoySource(version=DEFAULT_VERSION)
    spec = LaunchSpec(
        source=source,
        config_yaml=config(LISTENERS, network_filter),
        concurrency=WORKERS,
        env={} if run_id is None else {RUN_ID_VARIABLE: run_id},
        deadline_s=60,
        admin=ADMIN,
    )
    with ProcessLauncher() as launcher:
        launcher.prepare(source)
        with launcher.start(spec) as envoy:
            outcome = envoy.wait_ready()
            cpu_s = thread_time(envoy.pid)
            assert outcome.live_after_s is not None, outcome
            return Start(outcome.live_after_s, cpu_s), when_ready()


def thread_time(pid: int) -> float:
    """Return the seconds that the living threads of a process ran (schedstat, in ns)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def untraced_starts(network_filter: str, count: int) -> list[Start]:
    """Start Envoy so often with no probe loaded."""
    return [start(None, network_filter, lambda: None)[0] for _ in range(count + 1)][1:]


def traced_starts(network_filter: str, count: int) -> tuple[list[Start], ProbeSnapshot]:
    """Start Envoy so often under one probe; also return what was recorded last."""
    starts = []
    with Probe.load() as probe:
        for _ in range(count + 1):
            with probe.arm(new_run_id()) as arm:

                def read(arm: Arm = arm) -> ProbeSnapshot:
                    arm.drain(30.0)
                    return arm.snapshot()

                figures, snapshot = start(arm.run_id, network_filter, read)
            assert snapshot.drained
            assert all(counters.dropped == 0 for counters in snapshot.cpus), snapshot.cpus
            starts.append(figures)
    return starts[1:], snapshot


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
            with launcher.start(LaunchSpec(source, config(1, ECHO), env=env, admin=ADMIN)) as envoy:
                envoy.wait_ready()
                arm.drain(10.0)
                first = arm.snapshot().events[0]
    print((first.ts_ns - begun) / 1e9)


def bench_start(
    kind: str, network_filter: str, budget: float, pairs: int, starts: int
) -> tuple[bool, ProbeSnapshot]:
    """Measure the start of a large Envoy with and without the probe.

    Args:
        kind: what the listeners do, for people.
        network_filter: the filter that makes them do it, as flow-style YAML.
        budget: what the start under the probe may take, as a multiple of the start without it.
        pairs: how many times both are measured.
        starts: starts of each in a pair.
    """
    chance = random.Random(7)
    plain: list[Start] = []
    traced: list[Start] = []
    snapshot: ProbeSnapshot | None = None
    for _ in range(pairs):
        traced_first = chance.random() < 0.5
        if not traced_first:
            plain.append(median_start(untraced_starts(network_filter, starts)))
        figures, snapshot = traced_starts(network_filter, starts)
        traced.append(median_start(figures))
        if traced_first:
            plain.append(median_start(untraced_starts(network_filter, starts)))
    assert snapshot is not None
    without, under = median_start(plain), median_start(traced)
    print(
        f"start of {LISTENERS} {kind} listeners x {WORKERS} workers, "
        f"{len(snapshot.events)} events: "
        f"untraced {without.wall_s:.3f} s (processor {without.cpu_s:.3f} s), "
        f"traced {under.wall_s:.3f} s (processor {under.cpu_s:.3f} s)"
    )
    cpu = [b.cpu_s / a.cpu_s for a, b in zip(plain, traced, strict=True)]
    print(f"traced / untraced, processor time: {statistics.median(cpu):.3f}")
    wall = [b.wall_s / a.wall_s for a, b in zip(plain, traced, strict=True)]
    name = "traced / untraced, median of pairs"
    return report(name, statistics.median(wall), budget, "", wall), snapshot


def median_start(starts: list[Start]) -> Start:
    """Return the median of each figure."""
    return Start(*(statistics.median(figures) for figures in zip(*starts, strict=True)))


def bench_core(snapshot: ProbeSnapshot) -> None:
    """Time the pure half on what was recorded."""
    trace = Trace(
        Header(launcher="process", concurrency=WORKERS),
        list(snapshot.events),
        End(snapshot.cpus, snapshot.misses, snapshot.drained, snapshot.marked),
    )
    items = [
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
        f"judge {LISTENERS} listeners", lambda: judge(trace, items, workers=WORKERS, graph=graph)
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
    parser.add_argument("--pairs", type=int, default=31)
    parser.add_argument("--starts", type=int, default=5, help="starts of each kind in a pair")
    parser.add_argument("--arm-once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm_once:
        arm_once()
        return 0
    armed_ok = bench_arming(5)
    http_ok, _ = bench_start("HTTP", HTTP, HTTP_BUDGET, options.pairs, options.starts)
    echo_ok, snapshot = bench_start("echo", ECHO, ECHO_BUDGET, options.pairs, options.starts)
    bench_core(snapshot)
    judging_ok = bench_judging() & bench_storms()
    library_ok = bench_library()
    return 0 if armed_ok and http_ok and echo_ok and judging_ok and library_ok else 1


if __name__ == "__main__":
    sys.exit(main())
