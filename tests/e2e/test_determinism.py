"""A few runs of a few scenarios mean the same; `make determinism` does thirty of each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.probe import Probe
from envoyassert.runner import run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from tests.soak.meaning import facts_of, varying

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIOS = Path(__file__).parents[2] / "scenarios"


@pytest.mark.parametrize("name", ["socket_options_by_state", "clean_exit"])
def test_runs_of_a_scenario_have_the_same_story(name: str, socket_probe: Probe) -> None:
    plan = expand(load_scenario(SCENARIOS / f"{name}.yaml"))[-1]
    stories = [facts_of(run_plan(plan, socket_probe, "process").trace) for _ in range(3)]
    assert any(aspect == "bind" and shown for (_, aspect), shown in stories[0].items())
    assert list(varying(stories)) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_command_runs_a_scenario_in_rounds_and_compares_them() -> None:
    path = SCENARIOS / "reuse_port_off.yaml"
    command = [sys.executable, "-m", "tests.soak.determinism", "--runs", "2", str(path)]
    done = subprocess.run(
        command, cwd=SCENARIOS.parent, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = len(expand(load_scenario(path)))
    assert done.stdout == f"{runs} of {runs} runs have the same story 2 times over\n"
