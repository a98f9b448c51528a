"""The shipped scenarios at every concurrency.

Those of a start on every Envoy version and launcher; the others, which are many more, on one. All
of them everywhere is what `make run` does, and CI after these tests.
"""

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
from envoyassert.versions import satisfies

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))
VERSIONS = ("1.36.4", "1.40.0")
CONCURRENCIES = {1, 2, 4}
#: What is run everywhere: the ways to start, and to fail to.
STARTS = [
    path
    for path in SCENARIOS
    if path.stem
    in {
        *("reuse_port_on", "reuse_port_off", "reuse_port_default", "reuse_port_deprecated_field"),
        *("admin_only", "ipv6", "unix_path", "unix_abstract", "udp", "port_zero", "istio_sidecar"),
        *("socket_options_by_state", "port_taken", "option_refused", "option_refused_listening"),
        *("config_refused", "additional_addresses", "backlog", "exact_balance", "clean_exit"),
    }
]
OTHERS = [path for path in SCENARIOS if path not in STARTS]
#: The others are run in so many parts, which share the processors.
PARTS = 4
DOCKER = pytest.param("docker", marks=pytest.mark.docker)


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


def test_ways_to_start_are_all_there() -> None:
    assert len(STARTS) == 20


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("launcher", ["process", DOCKER])
def test_all_ways_to_start_pass_on_every_version_and_launcher(
    launcher: str, version: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    pass_all(STARTS, launcher, version, tmp_path, record_property)


@pytest.mark.parametrize("part", range(PARTS))
def test_all_other_scenarios_pass(
    part: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    pass_all(OTHERS[part::PARTS], "process", VERSIONS[-1], tmp_path, record_property)


def pass_all(
    scenarios: list[Path],
    launcher: str,
    version: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Run scenarios as a user does, and count what was run against what there is."""
    report = tmp_path / "junit.xml"
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
