"""A state answers as the whole trace that led to it, or leaves open: with every word."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from envoyassert.asserts import parse_expectation
from envoyassert.judge.judge import judge
from envoyassert.judge.near import NearListener
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.trace import Trace
from tests.unit.states import state_at_end
from tests.unit.words.cases import CASES
from tests.unit.words.judged import ALL_TRACES, items_of, trace_of, verdict_of

_ANSWERS = (Status.PASS, Status.FAIL)
#: What a state answers to the example of each word, where its trace holds and where it fails.
#: To all other examples it answers nothing: they need the start, or an Envoy that has ended.
_BOTH = ("PASS", "FAIL")
_ONLY_FAIL = ("INCONCLUSIVE", "FAIL")
_ANSWERED = {
    **dict.fromkeys(
        (
            *("ListenerExpectation.take", "ListenerExpectation.served_by"),
            *("ListenerExpectation.sockets", "ListenerExpectation.descriptors"),
            *("ListenerExpectation.listed_without_socket", "Range.exactly", "Range.at_least"),
            *("Range.at_most", "Range.between", "Linear.workers", "Linear.plus"),
            *("Registered.trigger", "Tally.live", "Tally.serving", "Tally.spare", "Tally.each"),
            *("DescriptorTally.live", "DescriptorTally.serving", "DescriptorTally.spare"),
            *("Backlog.effective", "Listened.by"),
        ),
        _BOTH,
    ),
    **dict.fromkeys(
        (
            *("ListenerExpectation.registered", "Registered.events", "DescriptorTally.each"),
            *("ListenerExpectation.options", "Option.value", "NoOthersExpectation.no_others"),
            *("OthersAllowed.allow", "ListenerExpectation.reachable_by_address"),
        ),
        _ONLY_FAIL,
    ),
    "ProcessExpectation.process": ("ended", "FAIL"),
    "Process.stays_up": ("PASS", "ended"),
}


@cache
def state_of(name: str) -> Trace | None:
    return state_at_end(trace_of(name))


def by_place(verdict: Verdict) -> dict[tuple[Any, ...], Finding]:
    return {(*f.path, f.subject.address): f for f in verdict.findings}


@pytest.mark.parametrize("word", CASES)
def test_state_answers_what_is_there_and_nothing_else(word: str) -> None:
    states = [state_of(name) for name in CASES[word]]
    found = [
        "ended" if one is None else verdict_of(items_of(word), one).status.name for one in states
    ]
    if word in _ANSWERED:
        assert tuple(found) == _ANSWERED[word]
    else:
        assert not {status.name for status in _ANSWERS} & set(found)


@pytest.mark.parametrize("word", CASES)
def test_state_answers_as_the_trace_that_led_to_it(word: str) -> None:
    items = items_of(word)
    wrong = []
    # Those that leave all open do so on any trace, see above.
    for name in ALL_TRACES if word in _ANSWERED else CASES[word]:
        state = state_of(name)
        if state is None:
            continue
        known = by_place(verdict_of(items, state))
        answered = [place for place, finding in known.items() if finding.status in _ANSWERS]
        whole = by_place(verdict_of(items, trace_of(name))) if answered else {}
        wrong += [
            f"{name}: {known[place]} against {whole.get(place)}"
            for place in answered
            if place not in whole or known[place].status is not whole[place].status
        ]
    assert wrong == []


def test_state_has_what_comes_closest_and_not_who_bound_it() -> None:
    state = state_of("shared")
    assert state is not None
    item = {"listener": {"port": 15007}, "served_by": "workers", "bound": {"times": 1}}
    found = judge(state, [(0, parse_expectation(item))], workers=2).findings
    served = next(one for one in found if one.path[2] == "served_by")
    bound = next(one for one in found if one.path[2] == "bound")
    assert (served.status, bound.status) == (Status.FAIL, Status.INCONCLUSIVE)
    (near,) = served.near
    assert isinstance(near, NearListener)
    assert [one.field for one in near.differs] == ["port"]
    assert near.bound_by == ()
    assert near.served_by
    assert bound.near == ()
