"""The probe against strace on the same run: every call, argument and result, thread by thread."""

from __future__ import annotations

import signal
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.launch.namespace import new_namespace
from envoyassert.launch.process import find_executable
from envoyassert.launch.rundir import write_files
from envoyassert.launch.source import EnvoySource
from envoyassert.probe import RUN_ID_VARIABLE, Probe, new_run_id
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from tests.e2e.launching import VERSION
from tests.e2e.strace_log import CALLS, Row, parse_strace

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))
#: How long a run under strace may take; strace stops Envoy at every call.
DEADLINE_S = 30


def our_rows(events: list[Event]) -> dict[int, list[Row]]:
    """Return our events in the form of the strace reader."""
    rows: dict[int, list[Row]] = defaultdict(list)
    traced = set(CALLS.split(","))
    for event in events:
        if event.call in traced:
            args = {k: _plain(v) for k, v in event.args.items()}
            if event.call == "epoll_ctl" and args["op"] == "EPOLL_CTL_DEL":
                args["events"] = []
            assert event.ret is not None
            rows[event.tid].append((event.call, event.ret, args))
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, Address):
        return value.to_json()
    return sorted(value) if isinstance(value, list) else value


def differences(ours: dict[int, list[Row]], theirs: dict[int, list[Row]]) -> list[str]:
    """Compare call by call; only arguments that strace prints as values are compared."""
    found = []
    for tid in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(tid, []), theirs.get(tid, [])
        if len(mine) != len(other):
            found.append(f"thread {tid}: {len(mine)} calls, strace has {len(other)}")
        for index, ((call, ret, args), (name, result, shown)) in enumerate(
            zip(mine, other, strict=False)
        ):
            common = {key: args.get(key) for key in shown if shown[key] is not None}
            wanted = {key: value for key, value in shown.items() if value is not None}
            if (call, ret, common) != (name, result, wanted):
                found.append(
                    f"thread {tid}, call {index}: {call}{common} = {ret}, "
                    f"strace has {name}{wanted} = {result}"
                )
                break
    return found


@pytest.fixture(scope="module")
def probe():
    with Probe.load() as loaded:
        yield loaded


def run_under_strace(
    probe: Probe, plan: RunPlan, directory: Path
) -> tuple[list[Event], dict[int, list[Row]]]:
    """Run a plan under strace and the probe, from its exec to its exit."""
    binary, _ = find_executable(EnvoySource(version=VERSION))
    plan = plan.in_rundir(str(directory))
    write_files(directory, {**plan.file_texts(), "envoy.yaml": plan.config_text()})
    log = directory / "strace.log"
    run_id = new_run_id()
    # `env` puts the run id into the environment of Envoy alone: strace must not be marked.
    command = ["strace", "-f", "-v", "-s", "4096", "-o", str(log), "-e", f"trace=execve,{CALLS}"]
    command += ["env", "-i", f"{RUN_ID_VARIABLE}={run_id}", str(binary)]
    command += ["-c", str(directory / "envoy.yaml"), "--concurrency", str(plan.concurrency)]
    namespace = new_namespace("strace-parity")
    try:
        with probe.arm(run_id) as arm:
            output = (directory / "envoy.log").open("w")
            process = namespace.call(
                lambda: subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            )
            try:
                stop_when_started(process, directory / "envoy.log", arm)
                process.wait(DEADLINE_S)
            finally:
                process.kill()
                process.wait()
                output.close()
            arm.drain(DEADLINE_S)
            snapshot = arm.snapshot()
    finally:
        namespace.close()
    assert snapshot.drained
    assert snapshot.misses == 0
    assert all(counters.dropped == 0 for counters in snapshot.cpus)
    return list(snapshot.events), parse_strace(log.read_text())


def stop_when_started(process: subprocess.Popen[bytes], log: Path, arm: Any) -> None:
    """Send SIGTERM to Envoy once it says that its main loop runs, if it gets there."""
    while process.poll() is None:
        if "starting main dispatch loop" in log.read_text():
            arm.drain(DEADLINE_S)
            (pid,) = {e.pid for e in arm.snapshot().events if e.call == "exec"}
            subprocess.run(["kill", f"-{signal.SIGTERM.name[3:]}", str(pid)], check=True)
            return


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_call_of_a_shipped_scenario_is_what_strace_saw(
    probe: Probe, path: Path, tmp_path: Path
) -> None:
    plan = max(expand(load_scenario(path)), key=lambda plan: plan.concurrency)
    events, theirs = run_under_strace(probe, plan, tmp_path)
    ours = our_rows(events)
    assert differences(ours, theirs) == []
    assert sum(map(len, ours.values())) > 50


def test_comparison_notices_a_lost_call_and_any_changed_argument(
    probe: Probe, tmp_path: Path
) -> None:
    path = next(path for path in SCENARIOS if path.stem == "reuse_port_on")
    plan = expand(load_scenario(path))[0]
    events, theirs = run_under_strace(probe, plan, tmp_path)
    ours = our_rows(events)
    checked = 0
    for tid, rows in ours.items():
        for index, (call, ret, args) in enumerate(rows):
            without = {**ours, tid: rows[:index] + rows[index + 1 :]}
            assert differences(without, theirs), f"{call} lost"
            changed = [(call, ret + 1, args)]
            changed += [
                (call, ret, {**args, key: "changed"})
                for key in theirs[tid][index][2]
                if theirs[tid][index][2][key] is not None
            ]
            for row in changed:
                other = {**ours, tid: [*rows[:index], row, *rows[index + 1 :]]}
                assert differences(other, theirs), row
                checked += 1
    assert checked > 200
