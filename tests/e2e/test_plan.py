"""plan: a real Envoy with a config and with a change of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.launching import VERSION, bootstrap, echo_listener

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]


def test_plan_of_switching_reuse_port_off_runs_both_and_judges_the_new_one(tmp_path: Path) -> None:
    config = tmp_path / "my-envoy.yaml"
    config.write_text(bootstrap(echo_listener()))
    wish = tmp_path / "wish.yaml"
    wish.write_text("expect: [{listener: {name: l10000}, listened: {by: workers, via: dup}}]\n")
    command = [sys.executable, "-m", "envoyassert", "plan", str(config), "--envoy", VERSION]
    command += ["--launcher", "process", "--concurrency", "3", "--set", "enable_reuse_port=false"]
    command += ["--expect", str(wish), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(done.stdout)
    (listener,) = [one for one in data["listeners"] if one["listener"].endswith("(l10000)")]
    assert listener["before"]["shape"] == "reuse_port"
    assert listener["after"]["shape"] == "dup"
    assert listener["picture"] == {
        "before": [
            "socket 1 --- descriptor --- worker_0",
            "socket 2 --- descriptor --- worker_1",
            "socket 3 --- descriptor --- worker_2",
        ],
        "after": [
            "socket 1 -+- descriptor       --- worker_0",
            "          +- descriptor (dup) --- worker_1",
            "          '- descriptor (dup) --- worker_2",
        ],
    }
    assert {one["subject"] for one in data["differences"]} == {listener["listener"]}
    assert data["verdict"]["status"] == "PASS"
