"""Our bpftrace program beside the probes: one real run, recorded by both."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from envoyassert.accounts import SecondWitness
from envoyassert.bpftrace.imported import notes_on, parse_bpftrace_log
from envoyassert.bpftrace.log import UNOBSERVED
from envoyassert.compare.comparison import compare_profiles
from envoyassert.compare.profile import profile_of
from envoyassert.graph.fold import fold
from envoyassert.judge.certificate import certify, reconcile
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.launch.process import ProcessLauncher
from envoyassert.launch.wheel import fetch_binary
from envoyassert.probe import Probe
from envoyassert.runner import LiveRun
from envoyassert.scenario.load import load_scenario, parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.texts.findings import words_of
from envoyassert.trace import Trace
from tests.e2e.launching import VERSION, wait_until

pytestmark = [pytest.mark.bpf, pytest.mark.bpftrace, pytest.mark.envoy]

SCENARIOS = Path(__file__).parents[2] / "scenarios"
EVENTS = ("call", "wait", "exec", "fork", "exit", "signal", "rename")
#: What no log of bpftrace answers.
LACKS = (
    *("slows Envoy down", "states of TCP sockets were not observed"),
    *("does not show what happened to the process", "who else is in this network"),
)
#: How long bpftrace may take for what it has to do next.
DEADLINE_S = 60.0
#: When it is asked to end once more.
_AGAIN_S = 5.0


class Bpftrace:
    """bpftrace with our program; what it printed so far is in `lines`.

    Args:
        whom: the options that say whom it records.
        directory: where the program is put.
        environment: further variables for bpftrace.
    """

    def __init__(self, *whom: str, directory: Path, **environment: str) -> None:
        script = directory / "envoy.bt"
        command = [sys.executable, "-m", "envoyassert", "bpftrace-script", *whom]
        script.write_text(subprocess.check_output(command, text=True))
        self.lines: list[str] = []
        self._ended = False
        self._more = threading.Condition()
        with (directory / "bpftrace.err").open("w") as errors:
            self._process = subprocess.Popen(
                # It ends with the tests, however they end.
                ["setpriv", "--pdeathsig", "KILL", "bpftrace", str(script)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **environment},
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, holds: Callable[[list[str]], bool]) -> None:
        """Wait until what was printed satisfies a condition."""
        with self._more:
            done = self._more.wait_for(lambda: holds(self.lines) or self._ended, DEADLINE_S)
        assert done, self.lines[-20:]
        assert not self._ended, self.lines[-20:]

    def end(self) -> list[str]:
        """End it as Ctrl-C does, and return all that it printed.

        bpftrace 0.17.0 takes no notice of a signal that comes while it prints (2 of 14 ends), but
        of the next one.
        """
        deadline_s = time.monotonic() + DEADLINE_S
        while self._process.poll() is None and time.monotonic() < deadline_s:
            self._process.send_signal(2)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_AGAIN_S)
        assert self._process.returncode is not None
        self._reader.join()
        return self.lines

    def close(self) -> None:
        """Leave nothing of it behind."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with self._more:
                    self.lines.append(line.rstrip("\n"))
                    self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()


def is_armed(lines: list[str]) -> bool:
    return any(line.startswith("armed ") for line in lines)


def is_read_since(last_ns: int) -> Callable[[list[str]], bool]:
    """Return the condition that bpftrace said what the kernel skipped, after all events.

    Args:
        last_ns: time of the last event that is known of.
    """

    def holds(lines: list[str]) -> bool:
        words = [line.split(" ") for line in lines]
        times = [int(word[1]) for word in words if word[0] in EVENTS]
        readings = [int(word[1]) for word in words if word[0] == "skipped" and word[1] != "end"]
        whole = len(readings) == lines.count("skipped end")
        return whole and readings[-1:] > [max(times, default=last_ns)] and readings[-1] > last_ns

    return holds


class Recorded(NamedTuple):
    """One run as both saw it; `log` is what bpftrace printed."""

    plan: RunPlan
    by_probe: Trace
    log: list[str]

    def imported(self, log: list[str] | None = None) -> Trace:
        """Return the log as a trace; where its listeners are is said as `--config` says it."""
        trace = parse_bpftrace_log(
            self.log if log is None else log,
            envoy_version=VERSION,
            concurrency=self.plan.concurrency,
        )
        known = self.by_probe.header
        header = replace(trace.header, listeners=known.listeners, rundir=known.rundir)
        return replace(trace, header=header)


@pytest.fixture(scope="module")
def record(probe: Probe, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recorded]:
    """Return a function that runs a shipped scenario once, recorded by the probe and by bpftrace.

    Its Envoy has a name of its own: bpftrace records whatever has that name.
    """
    directory = tmp_path_factory.mktemp("bpftrace")
    name = f"envoy-{secrets.token_hex(4)}"
    binary = Path(shutil.copy(fetch_binary(VERSION), directory / name))
    done: dict[str, Recorded] = {}

    def run(scenario: str) -> Recorded:
        if scenario not in done:
            plans = expand(load_scenario(SCENARIOS / f"{scenario}.yaml"))
            plan = max(plans, key=lambda plan: plan.concurrency)
            plan = replace(plan, binary=str(binary), version="", image="")
            bpftrace = Bpftrace("--exe", name, directory=directory)
            try:
                bpftrace.wait_for(is_armed)
                with ProcessLauncher() as launcher, LiveRun(plan, probe, launcher) as live:
                    live.carry_out_steps()
                    trace = live.trace()
                    bpftrace.wait_for(is_read_since(trace.events[-1].ts_ns))
                    done[scenario] = Recorded(live.plan, trace, bpftrace.end())
            finally:
                bpftrace.close()
        return done[scenario]

    return run


Record = Callable[[str], Recorded]

NAMES = ["reuse_port_on", "reuse_port_off", "unix_path", "unix_abstract", "ipv6", "udp", "quic"]


@pytest.mark.parametrize("name", NAMES)
def test_every_call_of_a_shipped_scenario_is_what_the_probe_saw(record: Record, name: str) -> None:
    found = record(name)
    trace = found.imported()
    # What came after the last call that the probe has may have come after that was read.
    until_ns = max(event.ts_ns for event in found.by_probe.events)
    second = SecondWitness("bpftrace", until_ns, (), trace.events)
    differing, compared = reconcile(found.by_probe, second)
    # bpftrace cuts a path.
    differing = [
        fact for fact in differing if fact.code != "task_unknown" or fact["call"] != "exec"
    ]
    assert differing == []
    assert compared > 50
    (path,) = [event.args["filename"] for event in trace.events if event.call == "exec"]
    whole = [event.args["filename"] for event in found.by_probe.events if event.call == "exec"]
    assert whole[-1].startswith(path)


@pytest.mark.parametrize("name", NAMES)
def test_diff_of_a_log_and_the_trace_of_the_same_run_finds_nothing(
    record: Record, name: str
) -> None:
    found = record(name)
    comparison = compare_profiles(profile_of(found.by_probe), profile_of(found.imported()))
    assert comparison.differences == ()


@pytest.mark.parametrize("name", NAMES)
def test_log_is_whole_and_passes_but_for_what_it_did_not_observe(record: Record, name: str) -> None:
    found = record(name)
    trace = found.imported()
    assert trace.header.unobserved == UNOBSERVED
    verdict = judge(trace, found.plan.expectations, workers=found.plan.workers)
    assert verdict.certificate.whole, verdict.certificate.missing
    passed = 0
    for finding in verdict.findings:
        reason = words_of(finding).reason
        lacks = finding.status is Status.INCONCLUSIVE and any(lack in reason for lack in LACKS)
        assert lacks or finding.status is Status.PASS, (finding, reason)
        passed += finding.status is Status.PASS
    assert passed > 3


def test_log_fails_an_expectation_that_does_not_hold(record: Record) -> None:
    found = record("reuse_port_on")
    text = (SCENARIOS / "reuse_port_on.yaml").read_text()
    broken = text.replace("bound: {times: workers, by: main}", "bound: {times: 1, by: main}")
    assert broken != text
    plan = max(
        expand(parse_scenario(broken, Path("reuse_port_on.yaml"))),
        key=lambda plan: plan.concurrency,
    )
    verdict = judge(found.imported(), plan.expectations, workers=found.plan.workers)
    assert verdict.status is Status.FAIL
    assert verdict.with_status(Status.FAIL)[0].code == "bound.times"


@pytest.mark.parametrize("lost", ["call ", "data ", "end ", "prog_type:\t5"])
def test_log_from_which_something_is_gone_passes_nothing_that_rests_on_it(
    record: Record, lost: str
) -> None:
    found = record("reuse_port_on")
    at = max(index for index, line in enumerate(found.log) if line.startswith(lost))
    trace = found.imported([*found.log[:at], *found.log[at + 1 :]])
    verdict = judge(trace, found.plan.expectations, workers=found.plan.workers)
    assert not verdict.certificate.whole
    assert verdict.status is Status.INCONCLUSIVE


def test_log_that_the_page_says_to_keep_shows_at_once_that_it_is_armed(tmp_path: Path) -> None:
    page = (SCENARIOS.parent / "docs" / "bpftrace.md").read_text("utf-8")
    make, keep = re.findall(r"^\$ (.*)$", page, re.MULTILINE)[:2]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    # No other Envoy of this machine may make it write more.
    make = make.replace("bpftrace-script", f"bpftrace-script --exe {secrets.token_hex(4)}")
    subprocess.run(["bash", "-c", make], cwd=tmp_path, env=env, check=True)
    log = tmp_path / "envoy.bpftrace.txt"
    log.touch()
    command = f"exec setpriv --pdeathsig KILL {keep.removeprefix('sudo ')}"
    process = subprocess.Popen(["bash", "-c", command], cwd=tmp_path)
    try:
        # It has nothing else to write, so what it keeps back stays there.
        assert wait_until(lambda: is_armed(log.read_text().splitlines()), DEADLINE_S)
    finally:
        process.kill()
        process.wait()


def test_killed_bpftrace_leaves_a_log_that_passes_nothing(tmp_path: Path) -> None:
    exe = f"sh-{secrets.token_hex(4)}"
    shell = shutil.copy("/bin/sh", tmp_path / exe)
    bpftrace = Bpftrace("--exe", exe, directory=tmp_path)
    try:
        bpftrace.wait_for(is_armed)
        subprocess.run([shell, "-c", "exit 3"], check=False)
        bpftrace.wait_for(lambda lines: any(line.startswith("exit ") for line in lines))
    finally:
        bpftrace.close()
    trace = parse_bpftrace_log(bpftrace.lines)
    assert [event.args["status"] for event in trace.events if event.call == "exit"] == [3]
    assert not trace.end.drained
    assert "completeness" in trace.header.unobserved


def test_events_that_bpftrace_lost_are_counted_as_lost(tmp_path: Path) -> None:
    exe = f"py-{secrets.token_hex(4)}"
    python = Path(shutil.copy(Path(sys.base_prefix) / "bin" / "python3", tmp_path / exe))
    bpftrace = Bpftrace("--exe", exe, directory=tmp_path, BPFTRACE_PERF_RB_PAGES="1")
    try:
        bpftrace.wait_for(is_armed)
        code = "import os\nfor _ in range(30000): os.close(os.dup(1))"
        subprocess.run([python, "-S", "-c", code], env={"PYTHONHOME": sys.base_prefix}, check=True)
        bpftrace.wait_for(lambda lines: any(line.startswith("skipped ") for line in lines))
        lines = bpftrace.end()
    finally:
        bpftrace.close()
    trace = parse_bpftrace_log(lines)
    assert any(re.match("Lost [0-9]+ events", line) for line in lines)
    lost = sum(counters.dropped for counters in trace.end.cpus)
    assert 0 < lost == sum(counters.emitted for counters in trace.end.cpus) - len(trace.events)
    assert not certify(trace, fold(trace)).whole
    assert "close" in notes_on(trace, lines, "log")[0]


def test_process_that_ran_already_is_recorded_from_now_on(tmp_path: Path) -> None:
    code = "input(); import socket; socket.socket().bind(('127.0.0.1', 0))"
    running = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    bpftrace = Bpftrace("--pid", str(running.pid), directory=tmp_path)
    try:
        bpftrace.wait_for(is_armed)
        running.communicate(b"\n", timeout=DEADLINE_S)
        bpftrace.wait_for(lambda lines: any(line.startswith("exit ") for line in lines))
        trace = parse_bpftrace_log(bpftrace.end())
    finally:
        running.kill()
        running.communicate()
        bpftrace.close()
    assert [event.pid for event in trace.events if event.call == "bind"] == [running.pid]
    assert not trace.end.marked
    assert not certify(trace, fold(trace)).whole
