"""strace as a second witness beside the probes, and in place of them: real runs."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from envoyassert.errors import MachineError
from envoyassert.graph.fold import fold
from envoyassert.judge.certificate import SECOND_CHECK
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.launch.process import ProcessLauncher
from envoyassert.probe import load_tracer
from envoyassert.runner import LiveRun, run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.texts.facts import text
from envoyassert.texts.findings import words_of
from envoyassert.trace import Trace

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))
PACKET_FILTER = Path(__file__).parent / "scenarios" / "packet_filter.yaml"
#: What no log of strace answers.
SLOWED = ("lasts", "within", "startup")


@pytest.fixture(scope="module")
def witnessed():
    tracer = load_tracer("ebpf", "strace")
    yield tracer
    tracer.close()


@pytest.fixture(scope="module")
def strace():
    return load_tracer("strace")


def largest(path: Path) -> RunPlan:
    return max(expand(load_scenario(path)), key=lambda plan: plan.concurrency)


def second_check(trace: Trace, plan: RunPlan) -> tuple[bool | None, str]:
    verdict = judge(trace, plan.expectations, workers=plan.workers)
    (check,) = (check for check in verdict.certificate.checks if check.name == SECOND_CHECK)
    return check.ok, text(check.found)


def of_several(path: Path) -> bool:
    """Whether a scenario starts another Envoy."""
    return any(step.starts_another for step in load_scenario(path).scenario.steps)


def test_strace_beside_several_envoys_is_refused_with_the_reason(witnessed) -> None:
    plan = largest(next(path for path in SCENARIOS if path.stem == "unix_stolen"))
    result = run_plan(plan, witnessed, "process")
    verdict = judge(result.trace, result.plan.expectations, workers=plan.workers)
    assert verdict.status is Status.INCONCLUSIVE
    assert "strace watches one Envoy alone" in words_of(verdict.findings[0]).reason


def starts_otherwise(path: Path) -> bool:
    """Whether other tools start Envoy: an agent, a strace that injects faults."""
    scenario = load_scenario(path).scenario
    return scenario.envoy.agent is not None or any([*step.faults()] for step in scenario.steps)


ALONE = [path for path in SCENARIOS if not of_several(path) and not starts_otherwise(path)]


@pytest.mark.parametrize("name", ["listen_fails", "istio_agent"])
def test_strace_beside_tools_that_start_envoy_is_refused_with_the_reason(
    witnessed, name: str
) -> None:
    plan = largest(next(path for path in SCENARIOS if path.stem == name))
    with pytest.raises(MachineError, match="strace"):
        run_plan(plan, witnessed, "process")


@pytest.mark.parametrize("path", ALONE, ids=lambda path: path.stem)
def test_every_call_of_a_shipped_scenario_is_what_strace_saw(witnessed, path: Path) -> None:
    plan = largest(path)
    result = run_plan(plan, witnessed, "process")
    ok, detail = second_check(result.trace, result.plan)
    assert ok is True, detail
    assert int(detail.split()[0]) > 50
    verdict = judge(result.trace, result.plan.expectations, workers=plan.workers)
    reasons = [words_of(finding).reason for finding in verdict.with_status(Status.INCONCLUSIVE)]
    # strace stops Envoy at every call, so that an update may not be seen to come to rest.
    restless = bool(reasons) and all("did not come to rest" in reason for reason in reasons)
    assert verdict.status in (Status.PASS, Status.KNOWN_DEFECT) or restless, reasons


def test_whole_life_of_an_envoy_with_a_packet_filter_is_what_strace_saw(
    witnessed, tmp_path: Path
) -> None:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    command += " -subj /CN=localhost -keyout key.pem -out certificate.pem"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    files = {path.name: path.read_text() for path in tmp_path.iterdir()}
    plan = replace(largest(PACKET_FILTER), files=files)
    with ProcessLauncher() as launcher, LiveRun(plan, witnessed, launcher) as run:
        assert run.outcome.live is True
        assert run.stop().exit_code == 0
        trace = run.trace()
    ok, detail = second_check(trace, plan)
    assert ok is True, detail
    assert trace.second is not None
    programs = [
        event.args["value"]
        for event in trace.second.events
        if event.call == "setsockopt" and event.args["name"] == "SO_ATTACH_REUSEPORT_CBPF"
    ]
    assert all(program["sha256"] for program in programs)
    assert len(programs) > 1
    ends = [event for event in trace.second.events if event.call == "exit" and event.args["last"]]
    assert [event.args["status"] for event in ends] == [0]


@pytest.mark.parametrize("name", ["reuse_port_off", "reuse_port_on", "port_taken", "warming_gap"])
def test_strace_in_place_of_the_probe_gives_the_same_answers_but_for_durations(
    strace, name: str
) -> None:
    plan = largest(next(path for path in SCENARIOS if path.stem == name))
    result = run_plan(plan, strace, "process")
    trace = result.trace
    assert trace.header.tracer == "strace"
    assert "durations" in trace.header.unobserved
    verdict = judge(trace, result.plan.expectations, workers=plan.workers, graph=fold(trace))
    assert verdict.certificate.whole, verdict.certificate.missing
    for finding in verdict.findings:
        slowed = any(word in finding.path for word in SLOWED)
        allowed = (Status.PASS, Status.INCONCLUSIVE) if slowed else (Status.PASS,)
        assert finding.status in allowed, finding
    assert Status.PASS in {finding.status for finding in verdict.findings}


def test_strace_that_dies_before_envoy_is_reported(strace) -> None:
    """Envoy lives on, and nothing records what it does."""
    plan = largest(next(path for path in SCENARIOS if path.stem == "reuse_port_off"))
    with ProcessLauncher() as launcher, LiveRun(plan, strace, launcher) as run:
        text = Path(f"/proc/{run.pid}/status").read_text()
        tracer = int(text.partition("TracerPid:\t")[2].split()[0])
        subprocess.run(["kill", "-KILL", str(tracer)], check=True)
        trace = run.trace()
    verdict = judge(trace, plan.expectations, workers=plan.workers)
    assert verdict.status is Status.INCONCLUSIVE
    assert "strace_ended" in [check.found.code for check in verdict.certificate.missing]
