"""An agent that does not start Envoy is named, and no fault of Envoy's is made of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.launching import VERSION

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        (
            ["/bin/sh", "-c", "echo no config; exit 3"],
            "the agent /bin/sh exited with 3 and had not started Envoy",
        ),
        (["/nowhere/agent"], "the agent /nowhere/agent cannot be executed"),
    ],
    ids=["ends", "absent"],
)
def test_agent_that_does_not_start_envoy_is_named(
    tmp_path: Path, agent: list[str], shown: str
) -> None:
    scenario = {
        "name": "one",
        "requires": {"launcher": "process"},
        "envoy": {"version": VERSION, "agent": agent, "config": {}},
        "expect": [{"process": {"stays_up": True}}],
    }
    (tmp_path / "one.yaml").write_text(json.dumps(scenario))
    words = [sys.executable, "-m", "envoyassert", "run", "one.yaml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 77, done.stdout
    assert shown in done.stdout
    assert "Envoy ended" not in done.stdout


def test_envoy_that_is_named_is_started_without_the_agent(tmp_path: Path, marker: Path) -> None:
    scenario = {
        "name": "one",
        "requires": {"launcher": "process"},
        "envoy": {
            "version": VERSION,
            "agent": ["/bin/sh", "-c", f'touch {marker}; exec "$@"', "agent"],
            "config": {},
        },
        "expect": [{"process": {"stays_up": True}}],
    }
    (tmp_path / "one.yaml").write_text(json.dumps(scenario))
    words = [sys.executable, "-m", "envoyassert", "run", "one.yaml"]
    for more in (["--envoy", VERSION], []):
        command = [*words, *more]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert marker.exists() is not bool(more)
