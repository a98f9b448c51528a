"""The shipped scenarios, all of them: every Envoy version, launcher and concurrency."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.requires import satisfies

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))
VERSIONS = ("1.36.4", "1.40.0")
CONCURRENCIES = {1, 2, 4}
#: They are run in so many parts, which share the processors.
PARTS = 3


def is_here(plan: RunPlan, launcher: str, version: str) -> bool:
    """Whether a run needs neither another launcher nor another Envoy."""
    wanted = plan.scenario.requires
    return wanted.launcher in (None, launcher) and (
        wanted.envoy is None or satisfies(version, wanted.envoy)
    )


def has_defect(plan: RunPlan, version: str) -> bool:
    """Whether a run has a defect of Envoy that is known on a version."""
    return any(
        item.known_defect is not None and satisfies(version, item.known_defect.versions)
        for _, item in plan.expectations
    )


def test_every_scenario_covers_every_concurrency() -> None:
    assert len(SCENARIOS) >= 10
    for path in SCENARIOS:
        assert {plan.concurrency for plan in expand(load_scenario(path))} >= CONCURRENCIES, path


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("launcher", ["process", pytest.param("docker", marks=pytest.mark.docker)])
def test_all_runs_of_a_version_and_launcher_pass(
    launcher: str,
    version: str,
    part: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    report, scenarios = tmp_path / "junit.xml", SCENARIOS[part::PARTS]
    command = [sys.executable, "-m", "envoyassert", "run", *map(str, scenarios)]
    command += ["--envoy", version, "--launcher", launcher, "--require", "bpf,envoy"]
    command += ["--artifacts", str(tmp_path / "artifacts"), f"--junitxml={report}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    suite = ET.parse(report).getroot()[0]  # noqa: S314 - our own report
    assert {suite.get("failures"), suite.get("errors")} == {"0"}
    plans = [plan for path in scenarios for plan in expand(load_scenario(path))]
    here = [plan for plan in plans if is_here(plan, launcher, version)]
    defects = sum(has_defect(plan, version) for plan in here)
    elsewhere = len(plans) - len(here)
    # pytest's word for an expected failure as well
    assert suite.get("skipped") == str(defects + elsewhere)
    runs = Counter(case.get("name", "").partition("[")[0] for case in suite.iter("testcase"))
    assert runs == Counter(plan.scenario.name for plan in plans)
    (counted,) = (line for line in done.stdout.splitlines() if "runs executed" in line)
    executed = sum(runs.values()) - elsewhere
    passed = f"{executed} runs executed: {executed - defects} passed"
    assert passed + (f", {defects} known defects" if defects else "") in counted
    record_property("runs", f"{counted} on {launcher} with Envoy {version}")
