"""The example of every word holds where it should, fails where it should, and is what decides."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from envoyassert.asserts import parse_expectation
from envoyassert.errors import ScenarioError
from envoyassert.judge.verdict import Status
from envoyassert.scenario.complaint import models_by_name
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.reference import EXAMPLES, HEADINGS
from envoyassert.scenario.schema import scenario_schema
from envoyassert.scenario.source import parse_yaml
from envoyassert.trace import STARTUP, Phase, Trace
from tests.unit.test_scenario_reference import NEEDED
from tests.unit.words.cases import ABOUT, CARRIED, CASES, DURING, REFUSED
from tests.unit.words.judged import ALL_TRACES, ITEMS, items_of, trace_of, verdict_of

_WORDS = [f"{model}.{key}" for model, examples in EXAMPLES.items() for key in examples]
_SUBJECTS = [word for word in CASES if word.partition(".")[0].endswith("Expectation")]


@cache
def judged_models() -> set[str]:
    """Return the models that stand in an expectation, however deep."""
    definitions = scenario_schema()["$defs"]
    found: set[str] = set()
    waiting = [name for name in definitions if name.endswith("Expectation")]
    while waiting:
        name = waiting.pop()
        if name in definitions and name not in found:
            found.add(name)
            waiting += re.findall(r"#/\$defs/(\w+)", json.dumps(definitions[name]))
    return found & HEADINGS.keys() - {"KnownDefect"}


#: Words that say how Envoy is run, and not what must be seen.
_OF_RUNS = [word for word in _WORDS if word.partition(".")[0] not in judged_models()]


def without(value: Any, key: str) -> Any:
    """Return data without a key, wherever it stands."""
    if isinstance(value, dict):
        return {name: without(member, key) for name, member in value.items() if name != key}
    return [without(member, key) for member in value] if isinstance(value, list) else value


def test_every_word_has_an_example_that_is_judged() -> None:
    words = {
        word
        for word in _WORDS
        if word.partition(".")[0] in judged_models() and word.rpartition(".")[2] not in CARRIED
    }
    missing = words - set(CASES)
    assert not set(CASES) - words
    assert {word.partition(".")[0] for word in _WORDS} == HEADINGS.keys()
    assert set(REFUSED) <= set(_OF_RUNS)
    assert not missing, (
        f"give {', '.join(sorted(missing))} examples in the modules of their words, with traces of "
        "tests/unit/words/traces.py on which they hold, and do not"
    )


def test_every_trace_is_of_use() -> None:
    assert ALL_TRACES.keys() == {name for case in CASES.values() for name in case}


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
    """It is refused, or no longer separates the two traces."""
    items = without(items_of(word), word.rpartition(".")[2])
    try:
        ITEMS.validate_python(items)
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
def test_why_is_reported_with_what_fails(word: str) -> None:
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


def phased(trace: Trace, begin: str = "exec") -> Trace:
    """Return a trace with a phase `drain`, which begins behind the first calls of a kind."""
    first = [event.ts_ns for event in trace.events if event.call == begin][:2][-1]
    end = max(trace.events[-1].ts_ns, trace.end.outcome.live_ns or 0)
    started = replace(trace.end.outcome, exit_code=None, signal=None)
    phases = (
        Phase(STARTUP, STARTUP, 0, first, started, trace.witness),
        Phase("drain", "drain", first + 1, end + 1, trace.end.outcome, trace.witness),
    )
    return replace(trace, phases=phases)


def in_phase(items: list[dict[str, Any]], word: str, phase: str) -> list[dict[str, Any]]:
    """Return expectations of which the last is about a phase, the others about its end."""
    *others, item = items
    return [*({**other, "at_end_of": phase} for other in others), {**item, word: phase}]


@pytest.mark.parametrize(
    "word", [word for word in _SUBJECTS if ABOUT.get(word) not in ("start", "step")]
)
def test_at_end_of_says_until_when_a_run_counts(word: str) -> None:
    items, traces = items_of(word), [phased(trace_of(name)) for name in CASES[word]]
    drained, started, never = (
        [verdict_of(in_phase(items, "at_end_of", phase), trace).status for trace in traces]
        for phase in ("drain", STARTUP, "nowhere")
    )
    assert drained == [Status.PASS, Status.FAIL]
    assert started != drained
    # What must not be is about the whole run, all else about its start.
    whole = parse_expectation(items[-1]).says_none
    others = [{**item, "at_end_of": "drain"} if whole else item for item in items[:-1]]
    by_default = [verdict_of([*others, items[-1]], trace).status for trace in traces]
    assert by_default == (drained if whole else started)
    assert Status.PASS not in never


@pytest.mark.parametrize("word", _SUBJECTS)
def test_envoy_says_whose_acts_count(word: str) -> None:
    items, traces = items_of(word), [trace_of(name) for name in CASES[word]]
    of_the_first = [*items[:-1], {**items[-1], "envoy": "first"}]
    of_another = [*items[:-1], {**items[-1], "envoy": "another"}]
    first = [verdict_of(of_the_first, trace).status for trace in traces]
    another = [verdict_of(of_another, trace).status for trace in traces]
    assert first == [verdict_of(items, trace).status for trace in traces]
    assert Status.PASS not in another


@pytest.mark.parametrize("word", DURING)
def test_during_says_which_phase_counts(word: str) -> None:
    # What must always be so has to be so when the phase begins.
    begin = "epoll_ctl" if word.startswith("Always") else "exec"
    items, traces = items_of(word), [phased(trace_of(name), begin) for name in CASES[word]]
    drained, started, never = (
        [verdict_of(in_phase(items, "during", phase), trace).status for trace in traces]
        for phase in ("drain", STARTUP, "nowhere")
    )
    assert drained == [Status.PASS, Status.FAIL]
    assert started != drained
    assert Status.PASS not in never


@pytest.mark.parametrize(
    "word", [word for word, about in ABOUT.items() if about in ("state", "start")]
)
def test_during_is_refused_of_a_state(word: str) -> None:
    document = {
        "name": "x",
        "envoy": {"config": {}},
        "steps": [{"signal": "SIGHUP", "name": "drain"}],
        "expect": in_phase(items_of(word), "during", "drain"),
    }
    with pytest.raises(ScenarioError, match=r"during|at_end_of"):
        parse_scenario(json.dumps(document), Path("x.yaml"))


def test_every_expectation_takes_during_or_refuses_it() -> None:
    tried = {word.partition(".")[0] for word in DURING}
    assert tried == {word.partition(".")[0] for word, about in ABOUT.items() if about == "time"}


@pytest.mark.parametrize("word", _OF_RUNS)
def test_wrong_value_of_a_word_is_refused(word: str) -> None:
    model, _, key = word.partition(".")
    needed = NEEDED.get(model, {})
    members = parse_yaml(f"{{{EXAMPLES[model][key]}}}", "example").data
    models_by_name()[model].model_validate({**needed, **members})
    wrong = parse_yaml(f"{{{REFUSED.get(word, f'{key}: [[x]]')}}}", "example").data
    with pytest.raises(ValidationError) as caught:
        models_by_name()[model].model_validate({**needed, **members, **wrong})
    assert {error["loc"][0] for error in caught.value.errors()} == {key}


def without_event(trace: Trace, index: int) -> Trace:
    """Return a trace of which one event was lost, and counted as lost."""
    lost = trace.events[index]
    cpus = tuple(
        replace(one, dropped=one.dropped + 1) if one.cpu == lost.cpu else one
        for one in trace.end.cpus
    )
    events = [*trace.events[:index], *trace.events[index + 1 :]]
    return replace(trace, events=events, end=replace(trace.end, cpus=cpus))


@pytest.mark.parametrize("word", CASES)
def test_lost_event_never_turns_an_answer_into_the_other(word: str) -> None:
    items = items_of(word)
    holds, fails = map(trace_of, CASES[word])
    for trace, wrong in ((holds, Status.FAIL), (fails, Status.PASS)):
        for index, event in enumerate(trace.events):
            verdict = verdict_of(items, without_event(trace, index))
            assert verdict.status is not wrong, f"without event {index}, {event.call}: {verdict}"


@pytest.mark.parametrize("word", [word for word in CASES if word.startswith("ListenerExp")])
def test_listener_without_a_socket_passes_no_word(word: str) -> None:
    verdict = verdict_of(items_of(word), trace_of("nothing"))
    assert verdict.status is not Status.PASS, "what says nothing of a socket must not pass"
