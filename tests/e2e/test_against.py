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


#: Some of the shipped scenarios, and what changed between two versions; `make matrix` has all.
SAME = ("reuse_port_on", "unix_path", "drain_listeners", "lds_full_update", "clean_exit")
CHANGED = ("lds_backlog_update", "cpu_locality")


def test_scenarios_on_1_36_4_and_1_40_0_differ_in_what_changed_between_them_alone() -> None:
    paths = [ROOT / "scenarios" / f"{name}.yaml" for name in (*SAME, *CHANGED)]
    command = [sys.executable, "-m", "envoyassert", "run", *map(str, paths)]
    command += ["--against", "1.36.4", "--envoy", "1.40.0", "--launcher", "process"]
    command += ["--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    data = json.loads(done.stdout)
    different = {run["run"].partition("[")[0] for run in data["runs"] if run["result"] != "same"}
    assert different == set(CHANGED), done.stdout + done.stderr
    assert all(run["before"]["whole"] and run["after"]["whole"] for run in data["runs"])
    assert {run["before"]["envoy"] for run in data["runs"]} == {"1.36.4"}
    assert {run["after"]["envoy"] for run in data["runs"]} == {"1.40.0"}
    plans = [plan for path in paths for plan in expand(load_scenario(path))]
    assert len(data["runs"]) == len(plans)
