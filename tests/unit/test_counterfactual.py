"""What would make a failure pass: one value changed, and it really passes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envoyassert.graph.fold import fold
from envoyassert.judge.counterfactual import counterfactual
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.report.changes import config_change, remedies
from envoyassert.report.failure import RunContext
from envoyassert.report.verdict_json import verdict_json
from envoyassert.scenario.conditional import Conditional
from envoyassert.testing import TraceBuilder
from envoyassert.trace import Trace
from envoyassert.trace_file import read_trace
from envoyassert.words.process import ProcessExpectation
from envoyassert.words.remedy import Change
from tests.unit.test_shrink import FORMS

TRACES = Path(__file__).parents[1] / "traces"
OFF, ON = "reuse_port_off-1.40.0.ndjson", "reuse_port_on-1.40.0.ndjson"
INGRESS = {"name": "ingress"}

#: An expectation that fails on a recorded run, the one value that is proposed, and the field of
#: the config.
REAL: dict[str, tuple[str, dict[str, Any], tuple[str | int, ...], Any, str]] = {
    "via": (OFF, {"listener": INGRESS, "via": "reuse_port"}, ("via",), "dup", "true"),
    "via the other way": (ON, {"listener": INGRESS, "via": "dup"}, ("via",), "reuse_port", "false"),
    "via of who listens": (
        *(ON, {"listener": INGRESS, "listened": {"by": "workers", "via": "dup"}}),
        *(("listened", "via"), "reuse_port", "false"),
    ),
    "binds": (
        *(ON, {"listener": INGRESS, "bound": {"times": 1}}),
        *(("bound", "times"), 2, "false"),
    ),
    "sockets": (OFF, {"listener": INGRESS, "sockets": 2}, ("sockets",), 1, "true"),
    "role": (ON, {"listener": INGRESS, "bound": {"by": "workers"}}, ("bound", "by"), "main", ""),
    "option": (
        *(OFF, {"listener": INGRESS, "options": {"SO_REUSEPORT": 1}}),
        *(("options", "SO_REUSEPORT"), "absent", "true"),
    ),
    "no option": (
        *(ON, {"listener": INGRESS, "options": {"SO_REUSEPORT": "absent"}}),
        *(("options", "SO_REUSEPORT"), 1, "false"),
    ),
    "port": (OFF, {"listener": {"port": 15007}, "sockets": 1},
             ("listener", "port"), 15006, "15007"),
    "calls": (ON, {"calls": {"call": "bind", "listener": INGRESS, "times": 5}},
              ("calls", "times"), 2, ""),
    "network namespace": (
        *(ON, {"listener": {"port": 10000, "netns": "/run/netns/blue"}, "sockets": 2}),
        *(("listener", "netns"), "own", ""),
    ),
    "argument": (OFF, {"calls": {"call": "listen", "args": {"backlog": 9}}},
                 ("calls", "args", "backlog"), -1, ""),
}  # fmt: skip


def found(trace: Trace, item: dict[str, Any], workers: int = 2) -> tuple[Change | None, Any]:
    form = next(form for word, form in FORMS.items() if word in item)
    expectations = [(0, form.model_validate(item))]
    verdict = judge(trace, expectations, workers=workers)
    finding = verdict.with_status(Status.FAIL)[0]
    change = counterfactual(trace, fold(trace), finding, expectations, workers=workers)
    return change, finding


@pytest.mark.parametrize("name, item, path, after, field", REAL.values(), ids=REAL.keys())
def test_one_value_of_a_recorded_failure_is_changed(name, item, path, after, field):
    trace = read_trace(TRACES / name)
    change, finding = found(trace, item)
    assert change is not None
    assert change.path == ("expect", 0, *path)
    assert change.after == after
    proposed = config_change(change, finding.subject.listener, trace.header.listeners, 2)
    assert field in proposed
    assert bool(field) == bool(proposed)


def changed(item: dict[str, Any], change: Change) -> Conditional:
    """Return an expectation as the change says."""
    data: Any = {**item}
    at = data
    for key in change.path[2:-1]:
        at[key] = {**at[key]}
        at = at[key]
    at[change.path[-1]] = change.after
    form: Any = next(form for word, form in FORMS.items() if word in item)
    result: Conditional = form.model_validate(data)
    return result


@pytest.mark.parametrize("name, item", [case[:2] for case in REAL.values()], ids=REAL.keys())
def test_scenario_with_the_change_passes(name, item):
    trace = read_trace(TRACES / name)
    change, _ = found(trace, item)
    assert change is not None
    assert judge(trace, [(0, changed(item, change))], workers=2).status is Status.PASS


def test_change_that_breaks_another_atom_is_not_proposed():
    builder = TraceBuilder(workers=2)
    builder.reuse_port_listener("0.0.0.0:80")
    trace = builder.build()
    # With any other number of sockets `bound` would still be wrong: a finding of its own.
    change, finding = found(
        trace, {"listener": {"port": 80}, "sockets": 1, "bound": {"times": 2}, "via": "reuse_port"}
    )
    assert change is not None
    assert (finding.path[2:], change.path[2:], change.after) == (("sockets",), ("sockets",), 2)


def test_crash_is_not_proposed_as_expected():
    builder = TraceBuilder(workers=1)
    builder.outcome = replace(builder.outcome, live=None, signal=11)
    item = ProcessExpectation.model_validate({"process": {"stays_up": True}})
    trace = builder.build()
    (finding,) = judge(trace, [(0, item)], workers=1).findings
    assert finding.status is Status.FAIL
    assert counterfactual(trace, fold(trace), finding, [(0, item)], workers=1) is None


def test_nothing_bound_after_a_failed_bind_is_not_proposed_as_expected():
    builder = TraceBuilder(workers=1)
    fd = builder.socket(builder.main)
    builder.bind(builder.main, fd, "0.0.0.0:80", ret=-98)
    change, _ = found(builder.build(), {"listener": {"port": 80}, "bound": {"times": 1}}, 1)
    assert change is None


def test_socket_that_does_not_listen_is_no_listener_to_ask_for():
    builder = TraceBuilder(workers=1)
    fd = builder.socket(builder.main)
    builder.bind(builder.main, fd, "0.0.0.0:81")
    change, _ = found(builder.build(), {"listener": {"port": 80}, "bound": {"by": "main"}}, 1)
    assert change is None or change.path[2] != "listener"


def test_failure_without_a_value_that_would_do_has_no_change():
    builder = TraceBuilder(workers=1)
    builder.shared_listener("0.0.0.0:80")
    change, _ = found(builder.build(), {"never": {"call": "bind"}}, 1)
    assert change is None


def test_remedy_is_part_of_the_document():
    trace = read_trace(TRACES / OFF)
    items = [(0, FORMS["listener"].model_validate({"listener": INGRESS, "via": "reuse_port"}))]
    graph = fold(trace)
    verdict = judge(trace, items, workers=2, graph=graph)
    context = RunContext(remedies=remedies(verdict, trace, graph, items, workers=2))
    (finding,) = verdict_json(verdict, trace, graph, context)["findings"]
    assert finding["remedy"] == {
        "scenario": "`via: dup` instead of reuse_port",
        "path": ["expect", 0, "via"],
        "before": "reuse_port",
        "after": "dup",
        "config": "`enable_reuse_port: true` on listener ingress",
    }


def test_passing_verdict_has_no_remedies():
    trace = read_trace(TRACES / OFF)
    items = [(0, FORMS["listener"].model_validate({"listener": INGRESS, "via": "dup"}))]
    graph = fold(trace)
    verdict = judge(trace, items, workers=2, graph=graph)
    assert remedies(verdict, trace, graph, items, workers=2) == {}
