"""The README's first scenario, as a reader would try it: it fails as shown, then it passes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def envoyassert(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "envoyassert", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def without_times(text: str) -> list[str]:
    """The lines of a failure text, without times and the width of their column."""
    return [re.sub(r" +", " ", re.sub(r"\+[\d.]+ms", "+", line)) for line in text.splitlines()]


def test_first_scenario_fails_as_the_readme_shows_and_passes_after_the_edit(tmp_path: Path) -> None:
    (scenario,) = (block for block in blocks("yaml") if block.startswith("name: echo"))
    (shown,) = blocks("text")
    file = tmp_path / "echo.envoyassert.yaml"
    file.write_text(scenario)
    assert envoyassert(tmp_path, "check", file.name).returncode == 0
    failed = envoyassert(tmp_path, "run", file.name)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    printed = without_times(failed.stdout)
    start = printed.index(without_times(shown)[0])
    wanted = without_times(shown)
    assert printed[start : start + len(wanted)] == wanted
    trace = tmp_path / ".envoyassert" / "echo" / "echo" / "trace.ndjson"
    replayed = envoyassert(tmp_path, "replay", str(trace), "--scenario", file.name)
    assert replayed.returncode == 1
    assert envoyassert(tmp_path, "show", str(trace)).returncode == 0
    file.write_text(scenario.replace("enable_reuse_port: false", "enable_reuse_port: true"))
    passed = envoyassert(tmp_path, "run", file.name)
    assert passed.returncode == 0, passed.stdout
