"""The packet filter that Envoy attaches to the sockets of a QUIC listener, read from its memory."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.probe import Probe
from envoyassert.runner import run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.words.listener import ListenerExpectation

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIO = Path(__file__).parent / "scenarios" / "packet_filter.yaml"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    command += " -subj /CN=localhost -keyout key.pem -out certificate.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_quic_listener_of_two_workers_has_the_same_filter_on_both_sockets(certificate) -> None:
    with Probe.load() as probe:
        for plan in expand(load_scenario(SCENARIO)):
            result = run_plan(replace(plan, files=certificate), probe, "process")
            verdict = judge(result.trace, result.plan.expectations, workers=plan.workers)
            assert verdict.status is Status.PASS, (plan.id, verdict)
    attached = [
        option.value
        for socket in fold(result.trace).candidates
        for option in socket.options
        if option.name == "SO_ATTACH_REUSEPORT_CBPF"
    ]
    assert len(attached) == 2
    assert attached[0] == attached[1]
    assert isinstance(attached[0], dict)
    right = str(attached[0]["sha256"])[:16]
    for digits, status in ((right, Status.PASS), (right[::-1], Status.FAIL)):
        rule = {"SO_ATTACH_REUSEPORT_CBPF": {"value": {"sha256": digits}}}
        item = ListenerExpectation.model_validate({"listener": {"port": 15443}, "options": rule})
        assert judge(result.trace, [(0, item)], workers=2).status is status
