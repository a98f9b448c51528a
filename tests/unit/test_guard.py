"""A fault in what is computed beside a verdict is a line; the verdict stays."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import pytest

from envoyassert.errors import FAULT, guarded
from envoyassert.graph.fold import fold
from envoyassert.judge import judge as judging
from envoyassert.judge import nearest, target
from envoyassert.judge.verdict import Status
from envoyassert.outcomes import ExpectationFailed, raise_unless_passed
from envoyassert.report import advice, changes, failure, headline
from envoyassert.report.failure import RunContext
from envoyassert.report.verdict_json import verdict_json
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.words import no_others, registry
from envoyassert.words.listener import ListenerExpectation
from envoyassert.words.no_others import NoOthersExpectation

pytestmark = pytest.mark.usefixtures("faults_become_lines")

UNMET = ListenerExpectation.model_validate({"listener": {"port": 15006}, "bound": {"times": 7}})
ABSENT = ListenerExpectation.model_validate({"listener": {"port": 1}, "bound": {"times": 1}})
NO_OTHERS = NoOthersExpectation.model_validate({"no_others": True})


def broken(*_: object, **__: object) -> NoReturn:
    raise KeyError("broken on purpose")


def outcome(*expectations):
    """Judge a listener that workers share; return the verdict, the text and the JSON."""
    builder = TraceBuilder(2)
    builder.shared_listener("0.0.0.0:15006")
    trace = builder.build()
    graph, items = fold(trace), list(enumerate(expectations))
    verdict = judging.judge(trace, items, workers=2, graph=graph)
    found = changes.remedies(verdict, trace, graph, items, workers=2)
    context = RunContext(title="one", trace_path="trace.ndjson", remedies=found)
    with pytest.raises(Exception, match="one") as caught:
        raise_unless_passed(verdict, trace, graph, context)
    return verdict, caught.value, verdict_json(verdict, trace, graph, context)


def test_what_raises_is_replaced_by_its_fault_in_one_line():
    words: str = guarded(broken, str)
    assert words.startswith("not computed: KeyError: 'broken on purpose' at test_guard.py:")
    assert FAULT in words
    assert "\n" not in words


def test_what_ends_a_test_or_a_session_goes_through():
    for ending in (pytest.fail.Exception, KeyboardInterrupt):

        def end(ending=ending):
            raise ending

        with pytest.raises(ending):
            guarded(end, str)


@pytest.mark.parametrize(
    "module, name",
    [
        (changes, "counterfactual"),
        (changes, "config_change"),
        (advice, "advice"),
        (failure, "_run_line"),
        (headline, "sentence"),
        (target, "shape_of"),
        (nearest, "nearest_listener"),
        (no_others, "_cause"),
    ],
)
def test_fault_in_advice_leaves_the_verdict_and_shows_in_the_text(monkeypatch, module, name):
    monkeypatch.setattr(module, name, broken)
    shown = []
    for expectations in ((UNMET, ABSENT), (ABSENT, NO_OTHERS)):
        verdict, raised, document = outcome(*expectations)
        assert verdict.status is Status.FAIL
        assert document["status"] == "FAIL"
        assert isinstance(raised, ExpectationFailed)
        assert raised.lines[0].startswith("FAIL one")
        assert "trace: trace.ndjson" in raised.lines
        shown.append(FAULT in " ".join(str(raised).split()))
    assert any(shown)


def test_fault_in_one_judge_leaves_its_expectation_open_and_the_others_judged(monkeypatch):
    broken_word = replace(no_others.WORD, judge=broken)
    monkeypatch.setitem(registry.WORDS._words, "no_others", broken_word)
    verdict, raised, _ = outcome(UNMET, NO_OTHERS)
    assert [finding.status for finding in verdict.findings] == [Status.FAIL, Status.INCONCLUSIVE]
    assert "KeyError: 'broken on purpose'" in words_of(verdict.findings[1]).reason
    assert isinstance(raised, ExpectationFailed)
    met = ListenerExpectation.model_validate({"listener": {"port": 15006}, "bound": {"times": 1}})
    verdict, _, _ = outcome(met, NO_OTHERS)
    assert verdict.status is Status.INCONCLUSIVE
