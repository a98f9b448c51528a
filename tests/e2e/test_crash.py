"""An Envoy that a fault ends: the fault is a signal from outside, sent by the test.

Only as a local process: as the first process of a container Envoy prints its stack and lives on, as
the kernel keeps signals without a handler from it, unless the fault is its own.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.launch.choose import choose_launcher, source_of
from envoyassert.launch.envoy_source import parse_envoy_argument
from envoyassert.probe import Probe
from envoyassert.report.headline import setback
from envoyassert.runner import LiveRun
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.texts.findings import words_of
from envoyassert.xds.control_plane import ListenerUpdate
from tests.e2e.launching import bootstrap, echo_listener

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

VERSIONS = ("1.36.4", "1.40.0")
FAULTS = (signal.SIGABRT, signal.SIGSEGV)
UP = {"process": {"stays_up": True}}
DEFECT = {"versions": ">=1.36", "owner": "envoyproxy", "upstream": "unreported", "what": "it ends"}


def judged_after(
    fault: signal.Signals,
    probe: Probe,
    tmp_path: Path,
    version: str,
    expect: list[dict[str, Any]],
    **more: Any,
) -> Verdict:
    """Start Envoy, send it a signal, as soon as it is LIVE or at the first update, and judge."""
    envoy = {"concurrency": 2, "config": yaml.safe_load(bootstrap(more.pop("listener", "")))}
    envoy |= more.pop("envoy", {})
    path = tmp_path / "crash.yaml"
    path.write_text(yaml.safe_dump({"name": "crash", "envoy": envoy, "expect": expect, **more}))
    (plan,) = expand(load_scenario(path), envoys=[parse_envoy_argument(version)])
    with choose_launcher("process", source_of(plan)) as place, LiveRun(plan, probe, place) as run:
        assert run.outcome.live
        plane = run.control_plane
        if plane is None:
            os.kill(run.pid, fault)
        else:
            update = plane.update

            def update_and_fault(*given: Any) -> ListenerUpdate:
                os.kill(run.pid, fault)
                return update(*given)

            # That of this control plane alone.
            plane.update = update_and_fault  # type: ignore[assignment, method-assign]
        run.carry_out_steps()
        trace = run.trace()
        assert trace.end.outcome.signal == fault
        assert f"killed by {fault.name}" in setback(judge(trace, [], workers=2), trace.end.outcome)
        return judge(trace, run.began_with.expectations, workers=plan.workers)


def failed(verdict: Verdict) -> tuple[Finding, ...]:
    return verdict.with_status(Status.FAIL)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_at_live_is_not_up(
    probe: Probe, tmp_path: Path, version: str, fault: signal.Signals
) -> None:
    verdict = judged_after(fault, probe, tmp_path, version, [UP], listener=echo_listener())
    (finding,) = failed(verdict)
    assert words_of(finding).seen == f"killed by {fault.name}"


@pytest.mark.parametrize("version", VERSIONS)
def test_fault_in_a_step_is_a_known_defect_where_it_is_declared(
    probe: Probe, tmp_path: Path, version: str
) -> None:
    listener = yaml.safe_load(echo_listener())
    up = {**UP, "at_end_of": "push", "known_defect": DEFECT}
    scenario = {
        "envoy": {"xds": {"listeners": [listener]}},
        "steps": [{"name": "push", "update_listeners": {"remove": [listener["name"]]}}],
    }
    verdict = judged_after(signal.SIGSEGV, probe, tmp_path, version, [up], **scenario)
    assert verdict.status is Status.KNOWN_DEFECT, verdict.findings
    del up["known_defect"]
    verdict = judged_after(signal.SIGSEGV, probe, tmp_path, version, [up], **scenario)
    seen = {words_of(finding).seen for finding in failed(verdict)}
    assert seen == {"killed by SIGSEGV", "it did not come to that"}
