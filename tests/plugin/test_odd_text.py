"""Names, reasons and paths that others chose, in whatever pytest prints and writes."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from tests.odd_text import ODD, raw_in

#: What a file may be called.
NAME = ODD.replace("\0", "").replace("/", "")[:60]

ODD_ENVOY = """
import dataclasses
from envoyassert.trace import ListenerRecord
from tests.odd_text import ODD

plain_run = execute.run_plan


def odd_run(plan, probe, preference, **more):
    result = plain_run(plan, probe, preference, **more)
    trace = result.trace
    for event in trace.events:
        if event.call == "rename":
            event.args["name"] += ODD
        elif event.call == "exec":
            event.args["filename"] += ODD
    envoy = dataclasses.replace(trace.header.envoy, version="", source=ODD)
    trace.header = dataclasses.replace(
        trace.header, envoy=envoy, kernel=ODD, stood_in=(ODD,), rundir=ODD
    )
    outcome = dataclasses.replace(trace.end.outcome, log_tail=(ODD, "error " + ODD), exit_code=1)
    trace.end = dataclasses.replace(trace.end, outcome=outcome)
    return result


execute.run_plan = odd_run
"""


def odd_scenario(name: str, fake: str) -> str:
    listener = {
        "name": ODD,
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}},
    }
    return yaml.safe_dump(
        {
            "name": name,
            "description": ODD,
            "matrix": {"stat_prefix": [ODD]},
            "envoy": {
                "env": {"FAKE": fake},
                "config": {"static_resources": {"listeners": [listener]}},
            },
            "expect": [
                {"listener": {"name": ODD}, "bound": {"times": 1, "by": "main"}, "why": ODD},
                {"listener": {"name": ODD}, "served_by": "main", "why": ODD},
            ],
        }
    )


@pytest.fixture
def odd_files(fake_envoy: pytest.Pytester) -> Path:
    """Scenarios that fail, are inconclusive, cannot be run and are not valid, in an odd place."""
    conftest = fake_envoy.path / "conftest.py"
    conftest.write_text(conftest.read_text() + ODD_ENVOY)
    directory = fake_envoy.path / f"in{NAME}"
    directory.mkdir()
    for name, fake in (
        ("bad", "reuse_port"),
        ("torn", "lossy"),
        ("gone", "crash"),
        ("un", "unmet"),
    ):
        path = directory / f"{name}.envoyassert.yaml"
        path.write_text(odd_scenario(name, fake))
    (directory / f"{NAME}.envoyassert.yaml").write_text(odd_scenario("other", "shared"))
    return fake_envoy.path


OPTIONS = {
    "plain": ["-rA"],
    "verbose": ["-vv", "-rA", "--envoyassert-story", "--envoyassert-coverage"],
    "xdist": ["-p", "xdist", "-n2", "-v"],
    "errors of collection": ["--collect-only", "-q"],
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_session_prints_and_writes_nothing_raw(
    odd_files: Path,
    fake_envoy: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(odd_files / "summary.md"))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(odd_files))
    result = fake_envoy.runpytest_subprocess(
        *options,
        *("--continue-on-collection-errors", "--junitxml=junit.xml"),
        "--envoyassert-report=report",
    )
    printed = result.outlines + result.errlines
    own = [line for line in printed if not line.startswith("::error file=")]
    assert raw_in("\n".join(own)) == []
    for line in set(printed) - set(own):
        assert raw_in(line.removeprefix("::error ")) == []
    if "--collect-only" in options:
        return
    assert "bad[" in "\n".join(own)
    summary = (odd_files / "summary.md").read_text(encoding="utf-8")
    assert "bad" in summary
    assert raw_in(summary) == []
    shown = [ET.parse(odd_files / "junit.xml").getroot()]  # noqa: S314 - it is our own
    for node in (node for root in shown for node in root.iter()):
        assert raw_in("\n".join([node.text or "", *node.attrib.values()])) == [], node.tag
    documents = list((odd_files / "report").rglob("*.json"))
    assert len(documents) > 3
    for document in documents:
        assert raw_in(document.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("more", [[], ["-v"], ["--against", "9.9.9"]], ids=["", "story", "against"])
def test_command_prints_nothing_raw(
    odd_files: Path, fake_envoy: pytest.Pytester, more: list[str]
) -> None:
    (odd_files / f"in{NAME}" / f"{NAME}.envoyassert.yaml").unlink()
    result = fake_envoy.run(sys.executable, "-m", "envoyassert", "run", *more, ".")
    printed = result.outlines + result.errlines
    assert "bad" in "\n".join(printed)
    assert raw_in("\n".join(printed)) == []
