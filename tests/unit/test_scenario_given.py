"""Whether a trace is of what a scenario says now: config, files, arguments, steps, Envoy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envoyassert.scenario.given import digests_of, given_differences
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.trace import EnvoyIdentity, Header

CONFIG = """\
    admin: {address: {pipe: {path: "${rundir}/admin.sock"}}}
    static_resources:
      listeners: [{name: web, address: {socket_address: {address: "::1", port_value: 80}}}]
"""
SCENARIO = f"""\
name: x
requires: {{launcher: process, envoy: ">=1.30"}}
envoy:
  version: 1.40.0
  concurrency: 2
  args: [--log-level, info]
  netns: [blue]
  env: {{A: b}}
  files: {{a.txt: "in ${{rundir}}"}}
  config:
{CONFIG}
steps:
- wait_for: {{ready: true}}
expect:
- process: {{live: true}}
"""


def plan_of(text: str = SCENARIO) -> RunPlan:
    (plan,) = expand(parse_scenario(text, Path("x.yaml")))
    return plan


def header_of(text: str = SCENARIO, rundir: str = "/run/1", **more: Any) -> Header:
    """The header of a run of a scenario."""
    plan = plan_of(text).in_rundir(rundir)
    facts: dict[str, Any] = {
        "scenario": "x",
        "run_id": "1",
        "envoy": EnvoyIdentity("1.40.0", "", "version 1.40.0"),
        "concurrency": 2,
        "listeners": plan.listeners,
        "rundir": rundir,
        "given": digests_of(plan),
    }
    return Header(**{**facts, **more})


def said(header: Header, text: str = SCENARIO) -> list[str]:
    return list(given_differences(plan_of(text).in_rundir(header.rundir), header))


def test_trace_of_the_same_run_is_of_nothing_else_wherever_it_ran() -> None:
    assert said(header_of()) == []
    assert said(header_of(rundir="/run/2")) == []
    assert said(header_of(), SCENARIO.replace("live: true", "stays_up: true")) == []


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("port_value: 80", "port_value: 81", "another config"),
        ("a.txt: ", "b.txt: ", "other files"),
        ("in $", "at $", "other files"),
        ("info", "debug", "other arguments, variables or network namespaces"),
        ("A: b", "A: c", "other arguments, variables or network namespaces"),
        ("[blue]", "[green]", "other arguments, variables or network namespaces"),
        ("ready: true", "ready: false", "other steps"),
        ("steps:\n- wait_for: {ready: true}\n", "", "other steps"),
    ],
)
def test_trace_of_something_else_says_of_what(old: str, new: str, words: str) -> None:
    assert old in SCENARIO
    text = SCENARIO.replace(old, new)
    assert said(header_of(), text) == [f"the trace is of {words} than the scenario has now"]


def test_several_differences_are_one_sentence() -> None:
    text = SCENARIO.replace("port_value: 80", "port_value: 81").replace("ready: true", "exit: true")
    assert said(header_of(), text) == [
        "the trace is of another config, other steps than the scenario has now"
    ]


def test_trace_without_digests_is_known_by_its_listeners() -> None:
    old = header_of(given={})
    assert said(old) == []
    text = SCENARIO.replace("port_value: 80", "port_value: 81")
    assert said(old, text) == ["the trace is of other listeners than the scenario's config has now"]
    assert said(replace(old, run_id="", listeners=())) == []  # an imported log knows none


@pytest.mark.parametrize(
    "text, envoy, words",
    [
        (SCENARIO, EnvoyIdentity("1.36.4"), ["Envoy 1.36.4, the scenario asks for 1.40.0"]),
        (
            SCENARIO.replace("version: 1.40.0", "image: x/envoy:1"),
            EnvoyIdentity("1.36.4", "", "version 1.36.4"),
            ["version 1.36.4, the scenario asks for image x/envoy:1"],
        ),
        (
            SCENARIO.replace("version: 1.40.0", "binary: /bin/envoy"),
            EnvoyIdentity("1.29.1", "", "binary /bin/envoy"),
            ["Envoy 1.29.1, the scenario requires >=1.30"],
        ),
        (SCENARIO.replace("version: 1.40.0", "pull: never"), EnvoyIdentity("1.36.4"), []),
        (SCENARIO, EnvoyIdentity(), []),
    ],
)
def test_trace_of_another_envoy_says_of_which(
    text: str, envoy: EnvoyIdentity, words: list[str]
) -> None:
    assert said(header_of(text, envoy=envoy), text) == [f"the trace is of {one}" for one in words]


def test_trace_of_another_number_of_workers_says_so() -> None:
    assert said(header_of(concurrency=4)) == ["the trace is of 4 workers, the scenario asks for 2"]
