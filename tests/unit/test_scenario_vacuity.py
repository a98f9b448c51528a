"""Expectations that nothing could fail are shown, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from envoyassert.cli import main
from envoyassert.scenario.load import load_scenario, parse_scenario
from envoyassert.words.registry import vacuous

ROOT = Path(__file__).parents[2]
HEAD = "name: x\nmatrix: {concurrency: [1, 2]}\nenvoy: {config: {}}\nexpect:\n  - "


def shown(item: str) -> list[tuple[tuple[str | int, ...], str]]:
    return list(vacuous(parse_scenario(HEAD + item + "\n", Path("x.yaml")).scenario.expect))


@pytest.mark.parametrize(
    "item, part, words",
    [
        ("calls: {call: bind, times: {at_least: 0}}", ("calls", "times"), "any number"),
        ("calls: {call: fork, errno: EPERM, times: 0}", ("calls", "errno"), "cannot fail"),
        ("never: {call: bind, errno: EPERM, succeeds: true}", ("never", "succeeds"), "no call"),
        ("never: {call: [fork, exit], succeeds: false}", ("never", "succeeds"), "cannot fail"),
        ("{listener: {port: 1}, bound: {times: {at_least: 0}}}", ("bound", "times"), "any number"),
        ("{listener: {port: 1}, sockets: {at_least: 0}}", ("sockets",), "any number"),
        ("{listener: {port: 1}, sockets: {ever: {at_least: 0}}}", ("sockets", "ever"), "any"),
    ],
)
def test_expectation_that_nothing_could_fail_is_reported_with_its_place(item, part, words):
    ((place, reason),) = shown(item)

    assert place == ("expect", 0, *part)
    assert words in reason


@pytest.mark.parametrize(
    "item",
    [
        "calls: {call: bind, times: {at_least: 0, at_most: 2}}",
        "calls: {call: bind, times: 0}",
        "calls: {call: fork, errno: EPERM, times: 1}",
        "never: {call: bind, errno: EPERM}",
        "never: {call: [fork, bind], succeeds: false}",
        "{listener: {port: 1}, bound: {times: {at_least: 0}, by: main}}",
        "{listener: {port: 1}, sockets: {at_least: 1}}",
        "{listener: {port: 1}, sockets: workers}",
        "{never: {call: bind}, when: {concurrency: 2}}",
    ],
)
def test_expectation_that_a_trace_can_fail_is_not_reported(item):
    assert shown(item) == []


def test_shipped_scenarios_have_no_expectation_that_nothing_could_fail():
    paths = sorted((ROOT / "scenarios").glob("*.yaml"))
    assert paths
    for path in paths:
        assert not list(vacuous(load_scenario(path).scenario.expect)), path


def test_check_warns_at_the_line_and_still_takes_the_file_for_valid(tmp_path, capsys):
    path = tmp_path / "x.yaml"
    path.write_text(HEAD + "calls: {call: bind, times: {at_least: 0}}\n", encoding="utf-8")

    with pytest.raises(SystemExit) as ended:
        main(["check", str(path)])

    assert ended.value.code == 0
    assert f"{path}:5:25: warning: no trace could fail this: any number" in capsys.readouterr().out
