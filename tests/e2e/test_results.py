"""The results for machines of real runs: they fit the schema, and their figures make sense."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest

from envoyassert.report.results import results_schema
from tests.e2e.launching import VERSION

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIO = f"""\
name: one
matrix: {{concurrency: [1, 2]}}
envoy:
  version: {VERSION}
  config:
    admin:
      address: {{socket_address: {{address: 127.0.0.1, port_value: 9901}}}}
    static_resources:
      listeners:
      - name: ingress
        address: {{socket_address: {{address: 127.0.0.1, port_value: 10000}}}}
        filter_chains: [{{}}]
expect:
  - listener: {{name: ingress}}
    bound: {{times: 1, by: main}}
"""


def test_report_of_real_runs_fits_the_schema_and_its_figures_are_in_order(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(SCENARIO)
    command = [sys.executable, "-m", "envoyassert", "run", "-q", ".", "--report", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    validator = jsonschema_rs.Draft202012Validator(results_schema())
    index = json.loads((tmp_path / "out/index.json").read_bytes())
    validator.validate(index)
    assert {run["run"]: run["outcome"] for run in index["runs"]} == {
        "one[concurrency=1]": "passed",
        "one[concurrency=2]": "failed",
    }
    for entry in index["runs"]:
        run = json.loads((tmp_path / "out" / entry["document"]).read_bytes())
        validator.validate(run)
        assert (run["envoy"]["version"], run["machine"]["kernel"]) == (VERSION, platform.release())
        assert len(run["envoy"]["build_id"]) == 40
        times = list(run["figures"]["start_up"].values())[:3]
        assert None not in times
        assert times == sorted(times)
        assert run["figures"]["start_up"]["live_ms"] > 0
        counts = run["figures"]["counts"]
        workers = int(entry["concurrency"])
        # Envoy makes a socket per worker unless its config says otherwise, and one for the admin.
        assert counts["listening_sockets"] == counts["binds"] == workers + 1
        assert counts["workers"] == workers
        (attempt,) = run["attempts"]
        kept = (tmp_path / "out" / entry["document"]).with_name("trace.ndjson").exists()
        assert kept == (attempt["trace"] is not None) == (entry["outcome"] == "failed")


def test_markdown_of_a_real_run_that_fails_says_what_the_kernel_was_asked(tmp_path: Path) -> None:
    text = SCENARIO.replace("times: 1, by: main", "times: 3, by: main")
    (tmp_path / "one.yaml").write_text(text)
    command = [sys.executable, "-m", "envoyassert", "run", "-q", "."]
    done = subprocess.run([*command, "--markdown", "out.md"], cwd=tmp_path, check=False)
    assert done.returncode == 1
    found = (tmp_path / "out.md").read_text()
    assert found.startswith("# envoyassert: 2 runs executed: 2 failed ")
    part = found.partition("## FAIL one\\[concurrency=1\\]\n")[2].partition("\n## ")[0]
    line = text.splitlines().index("    bound: {times: 3, by: main}") + 1
    assert f"- Envoy {VERSION}, build id " in part
    assert f"kernel {platform.release()}" in part
    assert f"- scenario: one.yaml:{line}:13\n" in part
    assert "- expected: 3 bind() calls\n- seen: 1 bind() call\n" in part
    assert "main  bind(" in part.partition("```text\n")[2]
