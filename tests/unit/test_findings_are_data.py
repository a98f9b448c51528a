"""Findings are values: nothing that judges, compares or advises looks into a sentence."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from pydantic import BaseModel

import envoyassert
from envoyassert.errors import FAULT
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.near import NearListener
from envoyassert.judge.value_json import to_json
from envoyassert.judge.values import Act, Count, Fact, Groups, Number, Quote, Scope, ThreadName
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.report.failure import RunContext
from envoyassert.report.results import results_schema
from envoyassert.report.verdict_json import verdict_json
from envoyassert.testing import TraceBuilder
from envoyassert.texts import facts
from envoyassert.texts.findings import words_of
from envoyassert.trace import Trace
from envoyassert.trace_file import parse_trace, trace_lines
from tests.fuzz.files import closed_again
from tests.fuzz.recorded import RECORDED, recorded, right_and_wrong, without
from tests.unit.failure_cases import CASES as FAILURES
from tests.unit.test_shrink import failure_of, many_listeners
from tests.unit.words.cases import CASES
from tests.unit.words.judged import items_of, trace_of, verdict_of

PACKAGE = Path(envoyassert.__file__).parent
#: What judges, and what reads findings to look for more. None of it may know a text.
JUDGING = ("judge", "graph", "words", "excerpt.py", "fact.py", "shrink.py")
TEXTS = ("envoyassert.report", "envoyassert.texts")
#: Nouns of more than one word, which values have as names.
NOUNS = {"kernel socket"}


@cache
def judged_examples() -> tuple[tuple[str, Trace, Verdict], ...]:
    """Return every word's example on its two traces, judged; whole, and after a loss."""
    found = []
    for word, names in CASES.items():
        for name in names:
            trace = trace_of(name)
            found.append((word, trace, verdict_of(items_of(word), trace)))
    for name in RECORDED:
        trace = recorded(name)
        for items in right_and_wrong(name, trace):
            parts = (trace, without(trace, {len(trace.events) // 2}))
            found += [(name, part, judge(part, items, workers=2)) for part in parts]
    return tuple(found)


def findings() -> Iterator[Finding]:
    for _, _, verdict in judged_examples():
        yield from verdict.findings


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a value that is no quotation of others and no model of the scenario."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Fact):
        yield value.code
        yield from texts_in(tuple(value.details.values()))
    elif isinstance(value, (Quote, BaseModel)):
        return
    elif is_dataclass(value) and not isinstance(value, type):
        yield from texts_in(tuple(getattr(value, field.name) for field in fields(value)))
    elif isinstance(value, dict):
        yield from texts_in((*value.keys(), *value.values()))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for part in value:
            yield from texts_in(part)


def modules(*parts: str) -> Iterator[tuple[str, ast.Module]]:
    for part in parts:
        path = PACKAGE / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path] * path.exists():
            yield file.relative_to(PACKAGE).as_posix(), ast.parse(file.read_text("utf-8"))


def test_finding_has_no_text_but_its_code_and_the_why_of_the_scenario() -> None:
    texts = {field.name for field in fields(Finding) if field.type == "str"}
    assert texts == {"code", "why"}


def test_values_of_findings_hold_names_and_no_sentences() -> None:
    texts = {
        text
        for finding in findings()
        for name in ("wanted", "seen", "reason", "near", "cause", "known_defect", "scope")
        for text in texts_in(getattr(finding, name))
        if len(text.split()) > 1
    }
    # An equal address of one listener has its number behind it.
    assert {text for text in texts - NOUNS if "#" not in text} == set()


def test_what_judges_knows_no_wording() -> None:
    for module, tree in modules(*JUDGING):
        imported = {
            node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        }
        assert not {name for name in imported if name.startswith(TEXTS)}, module


@pytest.mark.parametrize("module", ["report/advice.py", "report/changes.py"])
def test_what_advises_shows_words_and_looks_into_none(module: str) -> None:
    ((_, tree),) = modules(module)
    made = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id in ("words_of", "text")
    ]
    shown = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return)]
    assert all(node in shown for node in made)


def test_every_code_of_a_fact_has_its_words_and_every_words_a_code() -> None:
    used = {
        code.value
        for _, tree in modules(*JUDGING)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Fact"
        for code in ast.walk(node.args[0])
        if isinstance(code, ast.Constant)
    }
    # One of the two, by whose socket it is.
    used |= {"socket_of_this_envoy", "socket_of_another_envoy"}
    used |= {"excerpt", "excerpt_in_words", "never_was", "no_such_stretch"}
    facts.add_those_of_words()
    assert used == facts.FACTS.keys()


def test_every_finding_has_words_and_a_document_that_the_schema_allows() -> None:
    schema = jsonschema_rs.Draft202012Validator(results_schema())
    for word, trace, verdict in judged_examples():
        document = verdict_json(verdict, trace, fold(trace), RunContext(title=word))
        schema.validate(json.loads(json.dumps(document)))
        for finding, part in zip(verdict.findings, document["findings"], strict=True):
            words = words_of(finding)
            assert words.expected, finding
            assert words.seen, finding
            assert FAULT not in str(words)
            assert bool(words.reason) is (finding.reason is not None)
            assert part["values"]["seen"] == json.loads(json.dumps(to_json(finding.seen)))
            assert part["values"]["wanted"]["kind"]
            assert part["values"]["subject"]["kind"] == finding.subject.kind


def test_code_says_what_is_asked_without_the_names_of_the_scenario() -> None:
    codes = {finding.code for finding in findings()}
    assert {"bound.times", "options", "connections.errors", "calls.times", "let"} <= codes
    assert not {code for code in codes if code != code.lower()}


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case.name)
def test_fault_in_the_words_of_a_fact_costs_a_line(case, monkeypatch, faults_become_lines) -> None:
    def broken(_: Fact) -> str:
        raise KeyError("broken on purpose")

    before = case.failure()
    facts.add_those_of_words()
    monkeypatch.setattr(facts, "FACTS", dict.fromkeys(facts.FACTS, broken))
    after = case.failure()
    assert type(after) is type(before)
    assert after.lines[0].split(":")[0] == before.lines[0].split(":")[0]


def test_finding_shows_what_differs_and_what_comes_close_as_values() -> None:
    builder = TraceBuilder(2)
    builder.reuse_port_listener("0.0.0.0:80")
    trace = builder.build()
    (finding,) = verdict_of([{"listener": {"port": 80}, "bound": {"times": 1}}], trace).findings
    assert (finding.code, finding.status) == ("bound.times", Status.FAIL)
    assert finding.wanted == Count(Act("bind"), 1, 1)
    assert finding.seen == Number(Act("bind"), 2)
    assert finding.cause == Fact("shape", shape="reuse_port", other="fewer")
    (absent,) = verdict_of([{"listener": {"port": 81}, "bound": {"times": 1}}], trace).findings
    (near,) = absent.near
    assert isinstance(near, NearListener)
    assert [to_json(one) for one in near.differs] == [
        {"kind": "mismatch", "field": "port", "seen": 80, "wanted": 81}
    ]
    counted = {"calls": {"call": "listen", "times": 1, "each": "worker"}}
    (finding,) = verdict_of([counted], trace).findings
    assert isinstance(finding.seen, Groups)
    assert [name for name, _ in finding.seen.members] == [
        ThreadName("worker", 0),
        ThreadName("worker", 1),
    ]


def test_scope_is_a_value() -> None:
    (finding,) = verdict_of(
        [{"never": {"call": "dup"}, "at_end_of": "startup"}],
        trace_of(next(iter(CASES.values()))[0]),
    ).findings[-1:]
    assert finding.scope == Scope(at_end_of="startup")


def test_excerpt_of_an_earlier_version_is_read_and_says_what_to_do() -> None:
    trace = many_listeners()
    expectations, finding = failure_of(trace, {"never": {"call": "dup"}})
    lines = [json.loads(line) for line in trace_lines(trace)]
    # What an earlier version wrote of it.
    said = {"expected": "never dup()", "seen": "dup() 1 time"}
    lines[0]["excerpt"] = {"events": 200, "path": list(finding.path), **said}
    read = parse_trace(closed_again([json.dumps(line) for line in lines[:-1]]))
    (found,) = judge(read, expectations, workers=2).findings
    assert found.status is Status.INCONCLUSIVE
    assert found.reason == Fact("excerpt_in_words")
    assert "--shrink" in words_of(found).reason
