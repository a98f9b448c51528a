"""LIVE is what `/ready` says, whatever else Envoy hides, forbids or has failed at."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.addresses import Address
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.launch.admin import AdminUnreachableError
from envoyassert.launch.choose import Preference
from envoyassert.launch.envoy_source import parse_envoy_argument
from envoyassert.launch.process import ProcessLauncher
from envoyassert.probe import Probe
from envoyassert.runner import RunResult, run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from tests.e2e.launching import AT_ONCE_S, LONG_S, bootstrap, echo_listener

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

VERSIONS = ("1.36.4", "1.40.0")
REFUSED_OPTION = "socket_options: [{level: 6, name: 9999, int_value: 1, state: STATE_LISTENING}],"
SERVED = {"listener": {"port": 10000}, "listened": {"by": "workers", "via": "reuse_port"}}
LIVE = {"process": {"live": True, "within": AT_ONCE_S}}
NOT_LIVE = {"process": {"live": False}}


def run(
    probe: Probe,
    tmp_path: Path,
    version: str,
    config: str,
    expect: list[dict[str, Any]],
    launcher: Preference = "process",
    **more: Any,
) -> tuple[RunResult, Verdict]:
    """Run a scenario once with two workers."""
    envoy = {"concurrency": 2, "config": yaml.safe_load(config), "deadline": LONG_S}
    envoy |= more.pop("envoy", {})
    path = tmp_path / "live.yaml"
    path.write_text(yaml.safe_dump({"name": "live", "envoy": envoy, "expect": expect, **more}))
    (plan,) = expand(load_scenario(path), envoys=[parse_envoy_argument(version)])
    result = run_plan(plan, probe, launcher)
    verdict = judge(result.trace, result.plan.expectations, workers=plan.workers)
    return result, verdict


def statuses(verdict: Verdict) -> dict[str, Status]:
    """Return the status of each finding by its word."""
    return {finding.atom: finding.status for finding in verdict.findings}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "matcher", ["{inclusion_list: {patterns: [{prefix: cluster.}]}}", "{reject_all: true}"]
)
@pytest.mark.parametrize("launcher", ["process", pytest.param("docker", marks=pytest.mark.docker)])
def test_hidden_statistics_hide_nothing_of_it(
    probe: Probe, tmp_path: Path, version: str, matcher: str, launcher: Preference
) -> None:
    config = bootstrap(echo_listener()) + f"stats_config: {{stats_matcher: {matcher}}}\n"
    _, verdict = run(probe, tmp_path, version, config, [SERVED, LIVE], launcher)
    assert verdict.status is Status.PASS, verdict.findings
    assert verdict.certificate.whole
    _, verdict = run(probe, tmp_path, version, config, [NOT_LIVE], launcher)
    assert verdict.status is Status.FAIL


@pytest.mark.parametrize("version", VERSIONS)
def test_listener_that_failed_beside_another_does_not_delay_it(
    probe: Probe, tmp_path: Path, version: str
) -> None:
    config = bootstrap(f"{echo_listener()}, {echo_listener(10001, REFUSED_OPTION)}")
    gone = {"listener": {"port": 10001}, "served_by": "none"}
    _, verdict = run(probe, tmp_path, version, config, [SERVED, gone, LIVE])
    assert verdict.status is Status.PASS, verdict.findings
    _, verdict = run(probe, tmp_path, version, config, [NOT_LIVE])
    assert verdict.status is Status.FAIL
    _, verdict = run(probe, tmp_path, version, config, [{"invariants": ["live_means_served"]}])
    assert verdict.status is Status.FAIL


def test_admin_endpoint_that_may_not_be_asked_leaves_it_open(probe: Probe, tmp_path: Path) -> None:
    admin = "{socket_address: {address: 127.0.0.1, port_value: 9901}}\n  allow_paths: [{exact: %s}]"
    config = bootstrap(echo_listener(), admin % "/stats")
    for expected in (LIVE, NOT_LIVE):
        result, verdict = run(probe, tmp_path, "1.40.0", config, [SERVED, expected])
        assert verdict.certificate.whole, verdict.certificate.missing
        assert statuses(verdict)["listened.by"] is Status.PASS
        assert statuses(verdict)["process.live"] is Status.INCONCLUSIVE
        assert "request to path /ready not allowed" in result.trace.end.outcome.live_unknown
    config = bootstrap(echo_listener(), admin % "/ready")
    _, verdict = run(probe, tmp_path, "1.40.0", config, [SERVED, LIVE])
    assert verdict.status is Status.PASS, verdict.findings
    assert verdict.certificate.whole


def test_wait_for_ready_where_it_may_not_be_asked_is_not_carried_out(
    probe: Probe, tmp_path: Path
) -> None:
    config = bootstrap(echo_listener()).replace(
        "static_resources", "  allow_paths: [{exact: /stats}]\nstatic_resources"
    )
    steps = [{"wait_for": {"ready": False}}]
    result, verdict = run(probe, tmp_path, "1.40.0", config, [SERVED], steps=steps)
    assert "not allowed" in result.trace.phases[-1].problem
    assert verdict.status is Status.INCONCLUSIVE


@pytest.mark.parametrize("version", VERSIONS)
def test_update_of_a_file_whose_answer_is_hidden_is_not_known(
    probe: Probe, tmp_path: Path, version: str
) -> None:
    config = bootstrap() + "stats_config: {stats_matcher: {reject_all: true}}\n"
    listener = yaml.safe_load(echo_listener())
    steps = [{"name": "more", "update_listeners": {"add": [{**listener, "name": "more"}]}}]
    result, verdict = run(
        probe,
        tmp_path,
        version,
        config,
        [SERVED],
        steps=steps,
        envoy={"xds": {"via": "file", "listeners": [listener]}},
    )
    assert "via: ads" in result.trace.phases[-1].problem
    assert verdict.status is Status.INCONCLUSIVE


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "admin", ["{socket_address: {address: 127.0.0.1, port_value: 9901}}", "{pipe: {path: '@a'}}"]
)
def test_next_epoch_is_not_live_by_the_word_of_the_one_before(
    probe: Probe, tmp_path: Path, version: str, admin: str
) -> None:
    config = bootstrap(echo_listener(), admin)
    envoy = {"args": ["--drain-time-s", "1", "--parent-shutdown-time-s", "2"]}
    result, _ = run(
        probe, tmp_path, version, config, [LIVE], envoy=envoy, steps=[{"hot_restart": {}}]
    )
    second = result.trace.phases[-1].envoys[-1]
    assert second.outcome.live is True
    waits = [
        event.ts_ns
        for event in result.trace.events
        if event.call == "epoll_wait" and event.pid == event.tid == second.pid
    ]
    assert second.outcome.live_ns is not None
    assert second.outcome.live_ns > min(waits)


def test_another_envoy_at_the_same_admin_address_does_not_answer_for_it(
    run_root: Path, make_spec: Any
) -> None:
    with ProcessLauncher() as launcher, launcher.start(make_spec()) as first:
        assert first.wait_ready().live
        with launcher.start(make_spec(args=("--base-id", "1"))) as second:
            outcome = second.wait_ready()
            assert (outcome.live, outcome.exit_code) == (False, 1)
        pipe = Address.unix("admin.sock")
        config = bootstrap(echo_listener(10001), admin="{pipe: {path: admin.sock}}")
        more = {"admin": pipe, "args": ("--base-id", "2")}
        with launcher.start(make_spec(config, **more)) as third:
            assert third.wait_ready().live
            more["args"] = ("--base-id", "3")
            config = bootstrap(echo_listener(10002), admin="{pipe: {path: admin.sock}}")
            with launcher.start(make_spec(config, **more)) as fourth:
                assert fourth.wait_ready().live
                # It has removed the file of the third and made its own.
                with pytest.raises(AdminUnreachableError):
                    third.admin_get("/ready")
                assert fourth.admin_get("/ready") == (200, "LIVE\n")


def test_envoy_that_ended_without_an_admin_endpoint_may_have_been_live(
    probe: Probe, tmp_path: Path
) -> None:
    config = f"static_resources: {{listeners: [{echo_listener()}]}}\n"
    steps = [{"signal": signal.SIGTERM.name}]
    _, verdict = run(probe, tmp_path, "1.40.0", config, [NOT_LIVE], steps=steps)
    assert verdict.status is Status.INCONCLUSIVE
    _, verdict = run(probe, tmp_path, "1.40.0", "{no_such_field: 1}", [NOT_LIVE])
    assert verdict.status is Status.PASS
