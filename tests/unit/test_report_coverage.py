"""What of a run no expectation constrains."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.cli import main
from envoyassert.graph.fold import fold
from envoyassert.report.coverage import coverage, coverage_lines
from envoyassert.report.verdict_json import Unconstrained
from envoyassert.scenario.conditional import Conditional
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ListenerRecord, Trace
from envoyassert.trace_file import read_trace, write_trace
from envoyassert.words.always import AlwaysExpectation
from envoyassert.words.listener import ListenerExpectation
from envoyassert.words.never import NeverExpectation

PORTS = (80, 81)
TRACES = Path(__file__).parent.parent / "traces"
SCENARIO = """\
name: x
envoy: {config: {}, concurrency: 2}
expect:
  - listener: {port: 80}
    options: {SO_REUSEPORT: 1}
"""


def run() -> Trace:
    trace = TraceBuilder(2)
    for port in PORTS:
        trace.reuse_port_listener(f"127.0.0.1:{port}")
    records = tuple(
        ListenerRecord(f"on_{port}", "TCP", (Address.inet("127.0.0.1", port),)) for port in PORTS
    )
    built = trace.build()
    return replace(built, header=replace(built.header, listeners=records))


def uncovered(*items: Conditional) -> Unconstrained:
    trace = run()
    return coverage(trace, fold(trace), list(enumerate(items)))


def listener(port: int, **rest: Any) -> ListenerExpectation:
    return ListenerExpectation.model_validate({"listener": {"port": port}, **rest})


BOTH = {"SO_REUSEPORT": 1, "1/2": "set"}


def test_run_that_nothing_is_expected_of_is_not_constrained_at_all():
    found = uncovered()

    assert [*found.listeners] == ["on_80", "on_81"]
    assert [*found.sockets] == ["TCP 127.0.0.1:80"] * 2 + ["TCP 127.0.0.1:81"] * 2
    assert [*found.options] == [
        f"{option} on TCP 127.0.0.1:{port}"
        for port in PORTS
        for option in ("SO_REUSEADDR", "SO_REUSEPORT")
    ]


def test_run_of_which_everything_is_expected_has_nothing_left():
    found = uncovered(*(listener(port, options=BOTH) for port in PORTS))

    assert found == Unconstrained(listeners=(), sockets=(), options=())


def test_listener_that_is_named_without_its_options_leaves_these():
    found = uncovered(listener(80, sockets=2), listener(81, options=BOTH))

    assert found.listeners == found.sockets == ()
    assert [*found.options] == [
        "SO_REUSEADDR on TCP 127.0.0.1:80",
        "SO_REUSEPORT on TCP 127.0.0.1:80",
    ]


@pytest.mark.parametrize(
    "item",
    [
        NeverExpectation.model_validate({"never": {"call": "dup", "listener": {"port": 80}}}),
        AlwaysExpectation.model_validate({"always": {"listener": {"port": 80}, "served": True}}),
    ],
)
def test_listener_deep_in_an_expectation_is_constrained(item):
    assert uncovered(item).listeners == ("on_81",)


def test_expectation_about_the_run_as_a_whole_constrains_no_listener():
    never = NeverExpectation.model_validate({"never": {"call": "dup"}})
    assert len(uncovered(never).sockets) == 4


def test_sockets_for_hot_restart_are_not_reported():
    trace = read_trace(TRACES / "reuse_port_off-1.40.0.ndjson")

    assert {*coverage(trace, fold(trace), []).sockets} == {
        "TCP 0.0.0.0:15006",
        "TCP 127.0.0.1:9901",
    }


def test_equal_sockets_are_reported_once_with_their_number():
    assert coverage_lines(uncovered(listener(80, sockets=2), listener(81, options=BOTH)))[:2] == [
        "listeners that no expectation constrains: none",
        "sockets that no expectation constrains: none",
    ]
    assert "  TCP 127.0.0.1:81 (×2)" in coverage_lines(uncovered(listener(80, sockets=2)))


def test_replay_reports_it_as_text_and_as_json(tmp_path, capsys):
    (tmp_path / "x.yaml").write_text(SCENARIO, encoding="utf-8")
    write_trace(run(), tmp_path / "trace.ndjson")
    command = ["replay", str(tmp_path / "trace.ndjson"), "--scenario", str(tmp_path / "x.yaml")]

    with pytest.raises(SystemExit):
        main([*command, "--coverage"])
    assert "listeners that no expectation constrains: 1\n  on_81" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*command, "--coverage", "--format", "json"])
    assert json.loads(capsys.readouterr().out)["unconstrained"]["listeners"] == ["on_81"]
    with pytest.raises(SystemExit):
        main([*command, "--format", "json"])
    assert json.loads(capsys.readouterr().out)["unconstrained"] is None
