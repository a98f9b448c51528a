"""The state of real Envoys that run is the end of their whole traces, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envoyassert.judge.account_checks import ENVOY_CHECK, KERNEL_CHECK
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.launch.choose import choose_launcher, source_of
from envoyassert.launch.envoy_source import parse_envoy_argument
from envoyassert.probe import Probe
from envoyassert.runner import LiveRun
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.trace import Trace
from envoyassert.witness.running import state_of
from tests.e2e.launching import VERSION
from tests.socket_table import known_in_state, option_faults, shown_by_state, table_of

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIOS = Path(__file__).parents[2] / "scenarios"
KINDS = (
    *("reuse_port_off", "reuse_port_on", "unix_path", "unix_abstract", "udp", "quic", "mptcp"),
    *("ipv6", "listener_netns", "hot_restart", "drain_listeners", "tcp_keepalive", "transparent"),
    *("tcp_fast_open", "lds_options_update", "socket_options_by_state"),
)


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    with Probe.load() as loaded:
        yield loaded


def plan_of(name: str) -> RunPlan:
    plans = expand(
        load_scenario(SCENARIOS / f"{name}.yaml"), envoys=[parse_envoy_argument(VERSION)]
    )
    return next(plan for plan in plans if plan.concurrency == 2)


def observed(plan: RunPlan, probe: Probe, launcher: Any = "process") -> tuple[Trace, Trace]:
    """Run a plan; return the state of its newest Envoy at the end, and the whole trace."""
    with (
        choose_launcher(launcher, source_of(plan)) as place,
        LiveRun(plan, probe, place) as run,
    ):
        run.carry_out_steps()
        state = state_of(run.pid)
        return state, run.trace()


def check_table(state: Trace, whole: Trace) -> None:
    witness = state.witness
    assert witness is not None
    shown, table = table_of(state), table_of(whole)
    names = {row["address"]: row["listener"] for row in shown}
    known = known_in_state(table, set(witness.pids))
    assert [{**row, "listener": names[row["address"]]} for row in known] == shown_by_state(shown)
    assert option_faults(shown, table) == []


def check_verdicts(state: Trace, whole: Trace, plan: RunPlan) -> Verdict:
    """Make sure that a state answers as the trace, or leaves open; return its verdict."""
    found = judge(state, plan.expectations, workers=plan.workers)
    answers = {
        (*f.path, f.subject.address): f
        for f in judge(whole, plan.expectations, workers=plan.workers).findings
    }
    for finding in found.findings:
        if finding.status is not Status.INCONCLUSIVE:
            place = (*finding.path, finding.subject.address)
            assert finding.status is answers[place].status, finding
    return found


@pytest.mark.parametrize("name", KINDS)
def test_state_is_the_end_of_the_whole_trace(name: str, probe: Probe) -> None:
    plan = plan_of(name)
    state, whole = observed(plan, probe)
    check_table(state, whole)
    verdict = check_verdicts(state, whole, plan)
    checks = {check.name: check for check in verdict.certificate.checks}
    assert checks[KERNEL_CHECK].ok is True, checks[KERNEL_CHECK]
    envoy = checks[ENVOY_CHECK]
    # While it drains, Envoy lists listeners whose sockets it has closed.
    assert envoy.ok is (name != "drain_listeners"), envoy
