"""A short scenario and a trace cannot keep the judge busy for minutes."""

from __future__ import annotations

import time

import pytest
from pydantic import TypeAdapter

from envoyassert.judge import context
from envoyassert.judge.context import TooMuchError, Work
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import Trace
from envoyassert.words.registry import Expectation

ITEMS = TypeAdapter(list[Expectation])
LET_OF_CALLS = {"calls": {"call": "setsockopt", "let": {"it": "socket"}}}


@pytest.fixture
def trace() -> Trace:
    """Eight workers, each with a socket of 40 listeners."""
    built = TraceBuilder(8)
    for port in range(40):
        built.reuse_port_listener(f"127.0.0.1:{10000 + port}")
    return built.build()


def judged(trace: Trace, *items: object) -> Verdict:
    return judge(trace, list(enumerate(ITEMS.validate_python(items))), workers=8)


@pytest.mark.parametrize(
    "items",
    [
        [LET_OF_CALLS] * 6,
        [{"in_order": [{"call": "setsockopt"}] * 6}] * 3,
        [{"listener": {"port": 10000}, "let": {f"n{n}": "socket" for n in range(64)}}] * 70,
        [{"never": {"call": "setsockopt", "errno": "EINVAL"}}] * 12,
    ],
    ids=["let of calls", "in_order", "let of a listener", "never"],
)
def test_more_work_than_is_done_is_inconclusive_and_no_pass(monkeypatch, trace, items):
    monkeypatch.setattr(
        context.Work, "__init__", lambda self, left=20_000: setattr(self, "left", left)
    )
    verdict = judged(trace, *items)
    assert verdict.status is Status.INCONCLUSIVE
    (reason,) = {words_of(f).reason for f in verdict.findings if f.status is Status.INCONCLUSIVE}
    assert reason.startswith("not judged: the expectations and the events together are too much")
    # Each that was not judged has its place.
    assert {finding.path[1] for finding in verdict.findings} == set(range(len(items)))


def test_what_was_judged_before_the_work_was_too_much_stays(monkeypatch, trace):
    monkeypatch.setattr(
        context.Work, "__init__", lambda self, left=20_000: setattr(self, "left", left)
    )
    fails = {"never": {"call": "listen", "args": {"backlog": -1}}}
    verdict = judged(trace, fails, *[LET_OF_CALLS] * 9)
    assert verdict.status is Status.FAIL
    assert Status.INCONCLUSIVE in {finding.status for finding in verdict.findings}


def test_work_once_too_much_stays_so():
    left = Work(10)
    left.spend(10)
    with pytest.raises(TooMuchError):
        left.spend(1)
    with pytest.raises(TooMuchError):
        left.spend(0)


def test_ordinary_scenario_is_far_from_the_limit(trace):
    began_s = time.process_time()
    items = [{"never": {"call": "setsockopt", "errno": "EINVAL"}}] * 100
    assert judged(trace, *items).status is Status.PASS
    assert time.process_time() - began_s < 30
