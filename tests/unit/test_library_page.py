"""The page that lists the shipped scenarios says what the files say."""

from __future__ import annotations

import re

import pytest

from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.model import Scenario
from tests.library_page import ROOT, behaviours, waits

SHIPPED = {path.stem: path for path in sorted((ROOT / "scenarios").glob("*.yaml"))}
_NAMED = re.compile(r"\[(\w+)\]\(\.\./scenarios/(\w+)\.yaml\)( ⚙)?")


def scenarios_of(row: list[str]) -> list[Scenario]:
    return [load_scenario(SHIPPED[name]).scenario for name, _, _ in _NAMED.findall(row[2])]


def test_page_names_every_shipped_scenario_once_and_no_other() -> None:
    named = [found for row in behaviours() for found in _NAMED.findall(row[2])]
    assert sorted(file for _, file, _ in named) == sorted(SHIPPED)
    assert all(text == file for text, file, _ in named)


@pytest.mark.parametrize("row", behaviours(), ids=lambda row: row[0])
def test_row_says_which_versions_differ_and_which_defects_are_known(row: list[str]) -> None:
    differ, defects = set(), set()
    for scenario in scenarios_of(row):
        differ |= {scenario.requires.envoy} if scenario.requires.envoy else set()
        for item in scenario.expect:
            # The bounds of a behaviour that came later, not those of its absence before.
            differ |= {item.versions} if item.versions.startswith(">=") else set()
            if item.known_defect is not None:
                defects.add(f"{item.known_defect.versions}: {item.known_defect.upstream}")
    assert set(re.findall(r">=[\d.]+(?:, <[\d.]+)?", row[3])) == differ
    assert set(filter(None, row[4].split("; "))) == defects


@pytest.mark.parametrize("row", behaviours(), ids=lambda row: row[0])
def test_row_marks_what_needs_the_launcher_process(row: list[str]) -> None:
    for _, file, mark in _NAMED.findall(row[2]):
        wanted = load_scenario(SHIPPED[file]).scenario.requires.launcher
        assert bool(mark) is (wanted == "process"), file


def test_waits_are_those_that_the_scenarios_set() -> None:
    assert waits()
    for wait in waits():
        scenario = load_scenario(SHIPPED[wait.file])
        option, _, value = wait.timer.partition(" ")
        if option.startswith("--"):
            args = scenario.scenario.envoy.args
            assert args[args.index(option) + 1] == value, wait
        else:
            assert wait.timer in SHIPPED[wait.file].read_text("utf-8"), wait


def test_every_scenario_with_hot_restart_shows_its_wait() -> None:
    listed = {wait.file for wait in waits()}
    setting = {
        name
        for name, path in SHIPPED.items()
        if "--parent-shutdown-time-s" in load_scenario(path).scenario.envoy.args
    }
    assert setting
    assert setting <= listed
