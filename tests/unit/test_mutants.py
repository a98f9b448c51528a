"""The table of mutants: well-formed, and the same in the documents."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.catalogue import HARMLESS, MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.play import CORE, Played, jobs
from tests.mutants.table import Row, bad, markdown, summary

ROOT = Path(__file__).parents[2]
SCENARIOS = {path.stem for path in (ROOT / "scenarios").glob("*.yaml")}
DOCUMENT = (ROOT / "docs" / "mutants.md").read_text("utf-8")
EVERYONE = (*MUTANTS, *HARMLESS)


def rows_of(document: str) -> dict[str, list[str]]:
    """Return the cells of each row of the document's tables, by the first one."""
    lines = [line for line in document.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells if row[0] not in ("mutant", "variant")}


def test_names_and_rules_are_of_one_mutant_each():
    names = Counter(one.name for one in EVERYONE)
    assert [name for name, number in names.items() if number > 1] == []
    rules = Counter((one.rules, one.scenarios, str(one.config), one.args) for one in EVERYONE)
    assert [rule for rule, number in rules.items() if number > 1] == []


def test_scenarios_of_mutants_are_shipped():
    assert {name for one in EVERYONE for name in (*one.scenarios, *CORE)} <= SCENARIOS


def test_mutants_have_runs_with_two_workers():
    assert all(plan.concurrency == 2 for one in EVERYONE for plan in jobs(one))
    assert {plan.scenario.name for plan in jobs(MUTANTS[0])} >= set(CORE)


def test_document_has_a_row_of_each_mutant_and_names_what_kills_it():
    rows = rows_of(DOCUMENT)
    assert list(rows) == [one.name for one in EVERYONE], "make mutants ARGS='--markdown …'"
    for one in MUTANTS:
        what, stands_for, killed_by = rows[one.name]
        assert (what, stands_for) == (one.what, one.bug)
        if one.equivalent:
            assert killed_by == f"equivalent: {one.equivalent}"
        elif one.left_open:
            assert killed_by == f"left open: {one.left_open}"
        else:
            assert killed_by
            assert set(killed_by.split(", ")) <= SCENARIOS, one.name
    for one in HARMLESS:
        assert rows[one.name] == [one.what, "yes"]


def test_document_has_the_figures_of_the_table():
    equivalent = sum(bool(one.equivalent) for one in MUTANTS)
    left_open = sum(bool(one.left_open) for one in MUTANTS)
    figures = re.search(
        r"(\d+) mutants: (\d+) killed, (\d+) equivalent, (\d+) left open; "
        r"(\d+) harmless variants: (\d+) pass",
        DOCUMENT,
    )
    assert figures
    assert [int(figure) for figure in figures.groups()] == [
        len(MUTANTS), len(MUTANTS) - equivalent - left_open, equivalent, left_open,
        len(HARMLESS), len(HARMLESS),
    ]  # fmt: skip


MUTANT = Mutant("m", "does", "bind : ok", "a bug")
EQUIVALENT = Mutant("e", "does", "bind : ok", "a bug", equivalent="why")
HIDDEN = Mutant("h", "does", "bind : ok", "a bug", left_open="no probe sees it")
OPEN = Played("a", "INCONCLUSIVE", (1,), (), "why")
KILLED = Played("a[x=1]", "FAIL", (1,), ("port 1: bound.times",))
PASSED = Played("b", "PASS", (1,))


@pytest.mark.parametrize(
    "mutants, harmless, printed",
    [
        ([Row(MUTANT, (KILLED, PASSED))], [Row(MUTANT, (PASSED,))], []),
        ([Row(EQUIVALENT, (PASSED,))], [], []),
        ([Row(MUTANT, (PASSED,))], [], ["LIVES m", "  PASS b [1]: "]),
        (
            [Row(MUTANT, (PASSED, Played("a", "FAIL", (1,), (), "process: it exited")))],
            [],
            ["LIVES m", "  PASS b [1]: ", "  FAIL a [1]: process: it exited"],
        ),
        (
            [Row(MUTANT, (Played("a", "INCONCLUSIVE", (1,), (), "a loss"),))],
            [],
            ["LIVES m", "  INCONCLUSIVE a [1]: a loss"],
        ),
        (
            [Row(MUTANT, (Played("a", "FAIL", (0,), ("x: y",), tried=False),))],
            [],
            [
                "NEVER HAPPENED m",
                "  FAIL a [0]: x: y",
                "NOT SOUND WITHOUT IT m FAIL a [0]: x: y",
                "LIVES m",
                "  FAIL a [0]: x: y",
            ],
        ),
        (
            [Row(EQUIVALENT, (KILLED, PASSED))],
            [],
            ["CALLED EQUIVALENT, AND IS NOT e", "  FAIL a[x=1] [1]: port 1: bound.times"],
        ),
        (
            [],
            [Row(MUTANT, (PASSED, KILLED))],
            ["HARMLESS, AND NOT PASSED m", "  FAIL a[x=1] [1]: port 1: bound.times"],
        ),
        ([Row(HIDDEN, (OPEN,))], [], []),
        (
            [Row(HIDDEN, (OPEN, PASSED))],
            [],
            ["NOT LEFT OPEN h", "  INCONCLUSIVE a [1]: why", "  PASS b [1]: "],
        ),
        (
            [Row(HIDDEN, (KILLED,))],
            [],
            ["NOT LEFT OPEN h", "  FAIL a[x=1] [1]: port 1: bound.times"],
        ),
        ([], [Row(MUTANT, ())], ["NEVER HAPPENED m", "HARMLESS, AND NOT PASSED m"]),
    ],
)
def test_what_must_not_be_is_printed(mutants, harmless, printed):
    assert bad(mutants, harmless) == printed


def test_every_rule_of_a_mutant_must_take_effect_in_some_run():
    two = Mutant("two", "", "bind : hold ; listen : release call", "")
    assert not Row(two, (Played("a", "FAIL", (1, 0)), Played("b", "FAIL", (2, 0)))).fired
    assert Row(two, (Played("a", "FAIL", (1, 0)), Played("b", "FAIL", (0, 1)))).fired


def test_document_names_killers_and_what_is_not_right():
    text = markdown(
        [Row(MUTANT, (KILLED, PASSED)), Row(MUTANT, (PASSED,)), Row(EQUIVALENT, (PASSED,))],
        [Row(MUTANT, (KILLED,))],
    )
    assert "| m | does | a bug | a |\n| m | does | a bug | **lives** |\n" in text
    assert "| e | does | a bug | equivalent: why |\n" in text
    assert text.endswith("| m | does | **no** |\n")
    assert summary([Row(MUTANT, (KILLED,))], []) == (
        "1 mutants: 1 killed, 0 equivalent, 0 left open; 0 harmless variants: 0 pass."
    )
