"""Two real Envoys on the shipped scenarios: what did not change is no difference."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


#: What Envoy mended in between.
MENDED = {"lds_backlog_update"}


def test_shipped_scenarios_on_1_36_4_and_1_40_0_differ_in_what_was_mended_alone() -> None:
    command = [sys.executable, "-m", "envoyassert", "run", str(ROOT / "scenarios")]
    command += ["--against", "1.36.4", "--envoy", "1.40.0", "--launcher", "process"]
    command += ["--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    data = json.loads(done.stdout)
    different = {run["run"].partition("[")[0] for run in data["runs"] if run["result"] != "same"}
    assert different == MENDED, done.stdout + done.stderr
    assert all(run["before"]["whole"] and run["after"]["whole"] for run in data["runs"])
    assert {run["before"]["envoy"] for run in data["runs"]} == {"1.36.4"}
    assert {run["after"]["envoy"] for run in data["runs"]} == {"1.40.0"}
    scenarios = (ROOT / "scenarios").glob("*.yaml")
    plans = [plan for path in scenarios for plan in expand(load_scenario(path))]
    assert len(data["runs"]) == len(plans)
