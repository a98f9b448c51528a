"""The example of every word holds where it should, fails where it should, and is what decides."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.scenario.complaint import models_by_name
from envoyassert.scenario.examples import EXAMPLES
from envoyassert.scenario.expectation import Expectation
from envoyassert.scenario.reference import HEADINGS
from envoyassert.scenario.source import parse_yaml
from envoyassert.trace import Trace
from tests.unit.test_scenario_reference import NEEDED
from tests.unit.words.cases import CARRIED, CASES, REFUSED, WHOLE
from tests.unit.words.traces import TRACES

_ITEMS = TypeAdapter(list[Expectation])
_WORDS = [f"{model}.{key}" for model, examples in EXAMPLES.items() for key in examples]
_SUBJECTS = [word for word in CASES if word.partition(".")[0].endswith("Expectation")]


@cache
def trace_of(name: str) -> Trace:
    return TRACES[name]()


def items_of(word: str) -> list[dict[str, Any]]:
    """Return the expectations in which the example of a word stands."""
    model, _, key = word.partition(".")
    whole = WHOLE.get(word) or WHOLE[model]
    data = parse_yaml("expect: " + whole.replace("%", EXAMPLES[model][key]), "example").data
    items: list[dict[str, Any]] = data["expect"]
    return items


def verdict_of(items: list[dict[str, Any]], trace: Trace) -> Verdict:
    return judge(trace, list(enumerate(_ITEMS.validate_python(items))), workers=2)


def without(value: Any, key: str) -> Any:
    """Return data without a key, wherever it stands."""
    if isinstance(value, dict):
        return {name: without(member, key) for name, member in value.items() if name != key}
    return [without(member, key) for member in value] if isinstance(value, list) else value


def test_every_word_has_an_example_that_is_judged_or_a_value_that_is_refused() -> None:
    told = {*CASES, *REFUSED}
    carried = {word for word in _WORDS if word.rpartition(".")[2] in CARRIED}
    missing = set(_WORDS) - told - carried
    assert not missing, (
        f"give {', '.join(sorted(missing))} traces in tests/unit/words/cases.py on which the "
        "example of envoyassert/scenario/examples.py holds, and does not"
    )
    assert not told - set(_WORDS)
    assert not set(CASES) & set(REFUSED)
    assert {word.partition(".")[0] for word in _WORDS} == HEADINGS.keys()


def test_every_trace_is_of_use() -> None:
    assert TRACES.keys() == {name for case in CASES.values() for name in case}


@pytest.mark.parametrize("word", CASES)
def test_example_holds_on_one_trace_and_fails_on_the_other(word: str) -> None:
    holds, fails = CASES[word]
    items = items_of(word)
    good = verdict_of(items, trace_of(holds))
    assert good.status is Status.PASS, [str(finding) for finding in good.findings]
    bad = verdict_of(items, trace_of(fails))
    assert bad.status is Status.FAIL, [str(finding) for finding in bad.findings]


@pytest.mark.parametrize("word", CASES)
def test_example_without_its_word_says_something_else(word: str) -> None:
    """It is refused, or no longer tells the two traces apart."""
    items = without(items_of(word), word.rpartition(".")[2])
    try:
        _ITEMS.validate_python(items)
    except ValidationError:
        return
    verdicts = [verdict_of(items, trace_of(name)).status for name in CASES[word]]
    assert verdicts != [Status.PASS, Status.FAIL]


@pytest.mark.parametrize("word", _SUBJECTS)
def test_when_says_for_which_envoy_an_expectation_is_judged(word: str) -> None:
    *others, item = items_of(word)
    for name, status in zip(CASES[word], (Status.PASS, Status.FAIL), strict=True):
        for versions, expected in (
            (">=1.40", {status}),
            ("<1.40", {Status.PASS, Status.INCONCLUSIVE}),
        ):
            items = [*others, {**item, "when": {"envoy": versions}}]
            last = [
                finding
                for finding in verdict_of(items, trace_of(name)).findings
                if finding.path[1] == len(others)
            ]
            found = {finding.status for finding in last}
            if versions == "<1.40":
                assert found <= expected
                assert all(finding.path[2] == "when" for finding in last)
            else:
                assert status in found


@pytest.mark.parametrize("word", _SUBJECTS)
def test_why_is_told_with_what_fails(word: str) -> None:
    items = [{**item, "why": "it matters"} for item in items_of(word)]
    failed = verdict_of(items, trace_of(CASES[word][1])).with_status(Status.FAIL)
    assert failed
    assert {finding.why for finding in failed} == {"it matters"}


@pytest.mark.parametrize("word", _SUBJECTS)
def test_known_defect_must_fail(word: str) -> None:
    holds, fails = CASES[word]
    defect = {"versions": ">=1.40", "owner": "us", "upstream": "unreported"}
    *others, item = items_of(word)
    items = [*others, {**item, "known_defect": defect}]
    assert verdict_of(items, trace_of(holds)).status is Status.FAIL
    bad = verdict_of(items, trace_of(fails))
    assert bad.with_status(Status.KNOWN_DEFECT) or bad.status is Status.FAIL


@pytest.mark.parametrize("word", REFUSED)
def test_wrong_value_of_a_word_is_refused(word: str) -> None:
    model, _, key = word.partition(".")
    needed = NEEDED.get(model, {})
    members = parse_yaml(f"{{{EXAMPLES[model][key]}}}", "example").data
    models_by_name()[model].model_validate({**needed, **members})
    wrong = parse_yaml(f"{{{REFUSED[word]}}}", "example").data
    with pytest.raises(ValidationError) as caught:
        models_by_name()[model].model_validate({**needed, **wrong})
    assert {error["loc"][0] for error in caught.value.errors()} == {key}
