"""Every expectation in every form, judged on traces that do and do not meet it, in every output.

None may raise: a verdict is what a scenario is for. The guards are off here (conftest.py).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.outcomes import NotPassed, raise_unless_passed
from envoyassert.report.certificate import certificate_line
from envoyassert.report.changes import remedies
from envoyassert.report.coverage import coverage, coverage_lines
from envoyassert.report.failure import RunContext
from envoyassert.report.figures import figures_of
from envoyassert.report.github_text import Annotation, Entry, job_summary, workflow_command
from envoyassert.report.headline import headline
from envoyassert.report.verdict_json import verdict_json
from envoyassert.steps.registry import unasked_outcome
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ListenerRecord, Trace
from envoyassert.words.registry import Expectation
from tests.unit.test_scenario_schema import EVERYTHING, VALUES, changed, nodes

WORKERS = 2
PORT = 15006
CONDITIONS = {"listener", "when", "why", "known_defect", "envoy", "take", "during", "at_end_of"}


def _parts(item: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an item on the listener of the traces, one word at a time, and its own listener."""
    words = item.keys() - CONDITIONS
    if "listener" not in item or not words:
        return [{key: value for key, value in item.items() if key == "listener" or key in words}]
    parts = [{"listener": {"port": PORT}, word: item[word]} for word in words]
    return [*parts, {"listener": item["listener"], "bound": {"times": 7}}]


ITEMS = [part for item in EVERYTHING["expect"] for part in _parts(item) if part]
ITEMS.sort(key=json.dumps)
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Expectation)
#: Beside the values of the schema's test: each form of a count, none of which is met.
COUNTS: list[Any] = [
    7, "workers", "none", {"workers": 3}, {"workers": 1, "plus": 4}, {"exactly": 7},
    {"exactly": {"workers": 3}}, {"at_least": 7}, {"at_most": 0}, {"between": [7, 8]},
]  # fmt: skip
COUNTS += [
    {key: count} for key in ("ever", "live", "serving", "spare", "times") for count in COUNTS
]


def _trace(kind: str) -> Trace:
    record = ListenerRecord("served", "TCP", (Address.inet("0.0.0.0", PORT),))
    trace = TraceBuilder(WORKERS, listeners=(record,))
    if kind != "nothing":
        getattr(trace, kind)(f"0.0.0.0:{PORT}")
    return trace.build()


TRACES = {kind: _trace(kind) for kind in ("shared_listener", "reuse_port_listener", "nothing")}
GRAPHS = {kind: fold(trace) for kind, trace in TRACES.items()}


def forms(item: dict[str, Any]) -> list[Any]:
    """Return an item with one of its values in every form that the language allows there."""
    others = [item] + [
        changed(item, path, "replace", "", value)
        for path, _ in nodes(item)
        if path
        for value in [*VALUES, *COUNTS]
    ]
    # Many values are as before, or refused.
    found = {repr(form): form for form in map(_parsed, others) if form is not None}
    return list(found.values())


def _parsed(data: Any) -> Any:
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError:
        return None


@pytest.mark.parametrize("number", range(len(ITEMS)), ids=lambda number: "-".join(ITEMS[number]))
def test_no_form_of_an_expectation_costs_the_verdict(number: int) -> None:
    expectations = forms(ITEMS[number])
    assert expectations
    statuses = {_all_outputs(expectation, kind) for expectation in expectations for kind in TRACES}
    assert statuses <= set(Status)


def _all_outputs(expectation: Any, kind: str) -> Status:
    trace, graph = TRACES[kind], GRAPHS[kind]
    items = [(0, expectation)]
    verdict = judge(trace, items, workers=WORKERS, graph=graph)
    context = RunContext(
        title="one",
        scenario_path="one.yaml",
        trace_path="trace.ndjson",
        remedies=remedies(verdict, trace, graph, items, workers=WORKERS),
    )
    json.dumps(verdict_json(verdict, trace, graph, context, coverage(trace, graph, items)))
    coverage_lines(coverage(trace, graph, items))
    json.dumps(figures_of(trace, graph).model_dump(mode="json"))
    line = headline(verdict, "one", unasked_outcome(trace))
    assert line.startswith(str(verdict))
    failure = _failure(verdict, trace, graph, context)
    assert (failure is None) == (verdict.status is Status.PASS)
    if failure is not None:
        assert failure.lines[0].startswith(verdict.status.value)
        assert failure.summary
        text = str(failure)
        workflow_command(Annotation("one.yaml", 1, line, text))
        entry = Entry(verdict.status.value, "one", "one.yaml:1", failure.summary, text)
        job_summary([certificate_line(verdict.certificate)], [entry])
    return verdict.status


def _failure(*judged: Any) -> NotPassed | None:
    try:
        raise_unless_passed(*judged)
    except NotPassed as failure:
        return failure
    return None
