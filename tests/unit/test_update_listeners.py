"""Updates of listeners: what is served afterwards, what is said of it, and how it is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.driver.update_listeners import listeners_after
from envoyassert.errors import ScenarioError
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.overlay import OverlayError
from envoyassert.steps.update_listeners import UpdateListeners, updated
from envoyassert.testing import TraceBuilder
from envoyassert.trace import STARTUP, ListenerRecord, Outcome, Phase, Trace, UpdateResult
from envoyassert.words.update import Update, UpdateExpectation

SERVED: list[dict[str, Any]] = [
    {"name": "one", "x": 1, "list": [{"y": 1}, {"y": 2}]},
    {"name": "two"},
]


def after(**update: Any) -> list[Any]:
    return updated(SERVED, UpdateListeners.model_validate(update))


def test_added_listener_comes_last_and_the_others_stay():
    assert after(add=[{"name": "three"}]) == [*SERVED, {"name": "three"}]


def test_changed_listener_is_merged_in_its_place():
    changed = after(change={"one": {"x": None, "list": {"1": {"y": 3}}}})
    assert changed == [{"name": "one", "list": [{"y": 1}, {"y": 3}]}, {"name": "two"}]
    assert SERVED[0]["x"] == 1


def test_removed_and_changed_together_are_by_the_names_before():
    assert after(remove=["one"], change={"two": {"z": 1}}) == [{"name": "two", "z": 1}]


def test_set_replaces_all():
    assert after(set=[{"name": "three"}]) == [{"name": "three"}]


@pytest.mark.parametrize(
    "update, path",
    [
        ({"remove": ["one", "tow"]}, ("remove", 1)),
        ({"change": {"tow": {}}}, ("change", "tow")),
        ({"change": {"one": {"z": None}}}, ("change", "one", "z")),
        ({"add": [{"name": "two"}]}, ("add", 0)),
    ],
)
def test_update_that_does_not_fit_is_refused_at_its_place(
    update: dict[str, Any], path: tuple[str | int, ...]
):
    with pytest.raises(OverlayError) as caught:
        after(**update)
    assert caught.value.path == path


def record(name: str, port: int) -> ListenerRecord:
    return ListenerRecord(name, "TCP", (Address.inet("127.0.0.1", port),), "lds")


def test_removed_listener_remains_known_and_a_changed_one_is_known_by_what_it_is_now():
    before = (record("one", 1), record("two", 2))
    assert listeners_after(before, (record("one", 3),), "") == (record("one", 3), record("two", 2))


def test_refused_change_leaves_the_listener_known_by_what_it_was():
    before = (record("one", 1), record("two", 2))
    message = "Error adding/updating listener(s) one: no\ntwo: neither\n"
    given = (record("one", 3), record("two", 4), record("three", 5))
    assert listeners_after(before, given, message) == (*before, record("three", 5))
    only_two = "Error adding/updating listener(s) two: neither one: x"
    assert listeners_after(before, given, only_two)[:2] == (record("one", 3), record("two", 2))


def trace_with(update: UpdateResult | None, name: str = "push") -> Trace:
    trace = TraceBuilder().build()
    last_ns = trace.events[-1].ts_ns if trace.events else 1
    phases = [Phase(STARTUP, STARTUP, 0, last_ns, Outcome(live=True))]
    phases.append(Phase(name, "update_listeners", last_ns, last_ns, Outcome(), update=update))
    return replace(trace, phases=tuple(phases))


def statuses(trace: Trace, *items: UpdateExpectation) -> list[tuple[str, Status]]:
    verdict = judge(trace, list(enumerate(items)), workers=1)
    return [(".".join(map(str, f.path)), f.status) for f in verdict.findings]


def expectation(**update: Any) -> UpdateExpectation:
    return UpdateExpectation(update=Update.model_validate(update), at_end_of="push")


ACK = UpdateResult("ack", "2")
NACK = UpdateResult("nack", "2", "listener one: duplicate address")


@pytest.mark.parametrize(
    "given, item, expected",
    [
        (ACK, {"result": "ack"}, [Status.PASS]),
        (ACK, {"result": "nack"}, [Status.FAIL]),
        (NACK, {"result": "ack"}, [Status.FAIL]),
        (NACK, {"result": "nack"}, [Status.PASS]),
        (
            NACK,
            {"result": "nack", "message_contains": "duplicate"},
            [Status.PASS, Status.PASS],
        ),
        (NACK, {"result": "nack", "message_contains": "port"}, [Status.PASS, Status.FAIL]),
        (
            UpdateResult("nack", "2"),
            {"result": "nack", "message_contains": "port"},
            [Status.PASS, Status.INCONCLUSIVE],
        ),
        (None, {"result": "ack"}, [Status.INCONCLUSIVE]),
    ],
)
def test_answer_is_held_against_the_expectation(
    given: UpdateResult | None, item: dict[str, Any], expected: list[Status]
):
    assert [status for _, status in statuses(trace_with(given), expectation(**item))] == expected


def test_refusal_that_no_expectation_mentions_fails():
    other = UpdateExpectation(update=Update(result="ack"), at_end_of=STARTUP)
    assert ("steps.0", Status.FAIL) in statuses(trace_with(NACK), other)
    assert ("steps.0", Status.FAIL) not in statuses(trace_with(NACK), expectation(result="nack"))
    assert ("steps.0", Status.FAIL) not in statuses(trace_with(ACK), other)


SCENARIO = """
name: pushed
envoy:
  config: {admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}}
  SERVED
steps:
  - update_listeners: {STEP}
expect:
  - listener: {name: NAME}
    served_by: workers
    at_end_of: update_listeners
"""
XDS = "xds: {listeners: [{name: one, address: {pipe: {path: one}}}]}"


def problems(step: str, *, served: str = XDS, name: str = "one") -> list[str]:
    text = SCENARIO.replace("SERVED", served).replace("STEP", step).replace("NAME", name)
    try:
        expand(parse_scenario(text, Path("pushed.yaml")))
    except ScenarioError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_listener_that_an_update_adds_may_be_named():
    add = "add: [{name: two, address: {pipe: {path: two}}}]"
    assert problems(add, name="two") == []


def test_update_of_a_listener_that_is_not_served_is_reported_at_its_place():
    assert problems("remove: [tow]") == [
        "pushed.yaml:7:33: error: no listener `tow` is served (served are: one)"
    ]


def test_update_without_a_control_plane_is_reported():
    (problem, *_) = problems("remove: [one]", served="deadline: 5s")
    assert "there is no control plane to give them (write the listeners in envoy.xds)" in problem


def test_release_of_what_is_not_withheld_is_reported():
    assert problems("release: [later]") == [
        "pushed.yaml:7:34: error: `later` is not withheld (add it to envoy.xds.withheld)"
    ]
