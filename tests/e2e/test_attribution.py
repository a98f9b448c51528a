"""Whose events: runs at the same time stay apart, and an Envoy of no run leaves no trace."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import ExitStack

import pytest

from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.launch.base import LaunchSpec
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.process import ProcessLauncher
from envoyassert.probe import RUN_ID_VARIABLE, Probe, new_run_id
from tests.e2e.launching import ADMIN, VERSION, bootstrap, echo_listener

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]


def spec(run_id: str | None) -> LaunchSpec:
    return LaunchSpec(
        source=EnvoySource(version=VERSION),
        config_yaml=bootstrap(echo_listener()),
        concurrency=2,
        env={} if run_id is None else {RUN_ID_VARIABLE: run_id},
        admin=ADMIN,
    )


def story(events: list[Event]) -> Counter[tuple[str, ...]]:
    """What each thread did with sockets, in its order; one entry per thread, its name first.

    Left out is what differs from run to run: descriptor numbers, and the connections on which the
    admin endpoint was asked.
    """
    kept = {"socket", "bind", "listen", "dup", "setsockopt", "epoll_create1", "fork", "exec"}
    names = {e.args["tid"]: e.args["name"] for e in events if e.call == "rename"}
    entries: dict[int, list[str]] = {event.tid: [names.get(event.tid, "main")] for event in events}
    for event in events:
        name, address = event.args.get("name"), event.args.get("address")
        if event.call not in kept or name == "TCP_NODELAY":
            continue
        place = address if isinstance(address, Address) and address.is_ip else None
        entries[event.tid].append(
            f"{event.call} {name} {place} {event.args.get('family')} {event.errno}"
        )
    return Counter(map(tuple, entries.values()))


def run(probe: Probe, run_ids: list[str | None]) -> dict[str, list[Event]]:
    """Start one Envoy per run id, all alive together from before the first is ready to after the
    last is; return the events of each run from exec to exit."""
    armed = [run_id for run_id in run_ids if run_id is not None]
    with ExitStack() as stack:
        arms = {run_id: stack.enter_context(probe.arm(run_id)) for run_id in armed}
        launchers = [stack.enter_context(ProcessLauncher()) for _ in run_ids]
        for launcher in launchers:
            launcher.prepare(EnvoySource(version=VERSION))
        gate = threading.Barrier(len(run_ids))
        envoys = []

        def start(launcher: ProcessLauncher, run_id: str | None) -> None:
            gate.wait(60)
            envoys.append(launcher.start(spec(run_id)))

        threads = [
            threading.Thread(target=start, args=pair)
            for pair in zip(launchers, run_ids, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        outcomes = [envoy.wait_ready() for envoy in envoys]
        assert [outcome.live for outcome in outcomes] == [True] * len(run_ids)
        for envoy in envoys:
            envoy.stop()
        found = {}
        for run_id, arm in arms.items():
            arm.drain(5.0)
            snapshot = arm.snapshot()
            assert snapshot.drained
            assert snapshot.marked
            found[run_id] = list(snapshot.events)
        return found


def test_envoys_at_the_same_time_have_each_its_own_events(probe: Probe) -> None:
    alone_id, one, two, unused = (new_run_id() for _ in range(4))
    alone = run(probe, [alone_id])[alone_id]
    with probe.arm(unused) as idle:
        together = run(probe, [one, None, two])
        idle.drain(5.0)
        assert idle.snapshot().events == []
    assert story(together[one]) == story(alone)
    assert story(together[two]) == story(alone)
    first, second = together[one], together[two]
    assert {e.pid for e in first}.isdisjoint(e.pid for e in second)
    assert len({e.pid for e in first}) == len({e.pid for e in second}) == 1
    # They did overlap: each began before the other had ended.
    assert first[0].ts_ns < second[-1].ts_ns
    assert second[0].ts_ns < first[-1].ts_ns
    assert first[-1].call == second[-1].call == "exit"
    assert first[0].call == second[0].call == "exec"
