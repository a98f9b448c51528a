"""The table of changes: which it has, how a row is made, and that the page has all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from envoyassert.predict.effects import Fate, Way
from envoyassert.transition.clients import Clients
from envoyassert.transition.outcome import Report
from tests.transitions.changes import CASES
from tests.transitions.pool import Tried
from tests.transitions.table import different, markdown, rows
from tests.unit.test_transition_observed import model, observed

PAGE = Path(__file__).parents[2] / "docs" / "transitions.md"
NUMBER = next(number for number, case in enumerate(CASES) if case.name == "freebind")


def tried(version: str = "1.40.0", **facts: object) -> Tried:
    report = Report(observed(), model(**facts))
    return Tried(NUMBER, Way.PUSH, version, report)


def test_row_has_what_was_predicted_observed_and_lost() -> None:
    (row,) = rows([tried(), tried("1.36.4")], ("1.40.0", "1.36.4"))
    assert row.startswith(
        "| freebind | push | all | new sockets 0/2/2, waiting reset | new sockets 0/2/2 "
        "| reset | answered | none |"
    )


def test_versions_that_differ_have_a_row_each() -> None:
    found = list(rows([tried(), tried("1.36.4", made=1)], ("1.40.0", "1.36.4")))
    assert [row.split(" | ")[2] for row in found] == ["1.40.0", "1.36.4"]
    assert found[1].startswith("|  | push")


def test_numbers_that_chance_decides_are_in_words() -> None:
    one = tried()
    assert one.report is not None
    seen = one.report.observed
    listener = seen.listeners[0]
    place = dataclasses.replace(listener.places[0], queued=Clients(10, answered=4, reset=6))
    listener = dataclasses.replace(listener, places=(place,))
    report = Report(dataclasses.replace(seen, listeners=(listener,)), None)
    (row,) = rows([dataclasses.replace(one, report=report)], ("1.40.0",))
    assert "| some answered, some reset |" in row


def test_findings_are_differences_losses_of_events_and_what_could_not_be_tried() -> None:
    assert list(different([tried()])) == []
    (line,) = different([tried(queued=Fate.KEPT)])
    assert line == "- freebind, push, Envoy 1.40.0: ingress: queued: model kept, run reset"
    (line,) = different([Tried(NUMBER, Way.PUSH, "1.40.0", None, "no such Envoy")])
    assert line.endswith("not tried: no such Envoy")
    one = tried()
    assert one.report is not None
    lossy = Report(dataclasses.replace(one.report.observed, missing=("3 events lost",)), None)
    (line,) = different([dataclasses.replace(one, report=lossy)])
    assert line.endswith("3 events lost")


def test_page_says_where_model_and_run_differ() -> None:
    assert markdown([tried()], ("1.40.0",)).endswith("differ\n\nNowhere.\n")
    assert "queued: model kept" in markdown([tried(queued=Fate.KEPT)], ("1.40.0",))


def test_there_are_changes_of_each_kind() -> None:
    assert len(CASES) >= 25
    assert len({case.name for case in CASES}) == len(CASES)
    assert len([case for case in CASES if case.why]) >= 6


def page_rows() -> Iterator[tuple[str, str, list[str]]]:
    """Yield change, way and the other cells of each row of the page."""
    named = ""
    for line in PAGE.read_text(encoding="utf-8").replace("\\", "").splitlines():
        if line.startswith("| ") and not line.startswith(("| change |", "| --- |")):
            name, way, *cells = line.removeprefix("| ").removesuffix(" |").split(" | ")
            named = name or named
            yield named, way, cells


def test_page_has_each_change_in_each_of_its_ways() -> None:
    found = {(name, way) for name, way, _ in page_rows()}
    wanted = {(case.name, way.value) for case in CASES for way in case.ways}
    assert found == wanted, "run `make transitions`"
    assert not [cells for _, _, cells in page_rows() if "not tried" in cells]
