"""Every fault of the catalogue is caught, and what catches it holds where the fault is not."""

from __future__ import annotations

import pytest

from envoyassert.judge.verdict import Status
from tests.unit.regressions.catalogue import (
    ROOT,
    Regression,
    catalogue,
    recorded,
    verdict_of,
    with_table,
)
from tests.unit.regressions.edits import edited, size

ALL = catalogue()
JUDGED = [one for one in ALL if not one.excluded]
EDITED = [one for one in JUDGED if not one.fails]
DOCUMENT = ROOT / "docs" / "regressions.md"
#: How many events an edit may change.
LIMIT = 5


def test_catalogue_has_every_number_once() -> None:
    numbers = [one.number for one in ALL if isinstance(one.number, int)]
    assert numbers == list(range(1, 49))


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_regression_is_judged_or_says_why_not(one: Regression) -> None:
    assert bool(one.excluded) is not bool(one.expect)
    if one.expect:
        assert bool(one.fails) is not bool(one.edit)
        assert bool(one.edit) is bool(one.edit_is)
        assert bool(one.fails) is bool(one.real)
        assert one.at
    if one.scenario:
        assert (ROOT / "scenarios" / f"{one.scenario}.yaml").exists()


@pytest.mark.parametrize("one", JUDGED, ids=lambda one: one.name)
def test_words_hold_where_the_fault_is_not(one: Regression) -> None:
    verdict = verdict_of(one, recorded(one.passes))
    assert verdict.status is Status.PASS, [str(f) for f in verdict.findings]


@pytest.mark.parametrize("one", JUDGED, ids=lambda one: one.name)
def test_words_catch_the_fault(one: Regression) -> None:
    trace = recorded(one.fails) if one.fails else edited(recorded(one.passes), list(one.edit))
    verdict = verdict_of(one, trace)
    failed = {finding.atom for finding in verdict.with_status(Status.FAIL)}
    assert one.at in failed, [str(f) for f in verdict.findings]


@pytest.mark.parametrize("one", EDITED, ids=lambda one: one.name)
def test_edit_changes_few_events_and_each_of_its_steps_does_something(one: Regression) -> None:
    sound = recorded(one.passes)
    assert 1 <= size(sound, edited(sound, list(one.edit))) == len(one.edit) <= LIMIT


def test_edit_that_finds_nothing_is_refused() -> None:
    with pytest.raises(LookupError, match="no event fits"):
        edited(recorded("started"), [{"take_out": {"call": "shutdown"}}])


def test_empty_edit_changes_nothing() -> None:
    sound = recorded("started")
    assert size(sound, edited(sound, [])) == 0


def test_table_is_current() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_table(text) == text, (
        "run: python -m tests.unit.regressions.catalogue docs/regressions.md"
    )
