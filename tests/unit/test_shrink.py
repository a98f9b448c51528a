"""Shrinking: fewer events, the same failure, and never more than that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoyassert import shrink as shrinking
from envoyassert.excerpt import Excerpt
from envoyassert.judge.judge import judge
from envoyassert.judge.left_open import EXCERPT_CHECK
from envoyassert.judge.value_json import to_json
from envoyassert.judge.verdict import Finding, Status
from envoyassert.report.call import render_call
from envoyassert.shrink import minimal, shrink
from envoyassert.testing import TraceBuilder
from envoyassert.trace import Trace
from envoyassert.trace_file import parse_trace, read_trace, trace_lines
from envoyassert.words.calls import CallsExpectation
from envoyassert.words.in_order import InOrderExpectation
from envoyassert.words.listener import ListenerExpectation
from envoyassert.words.never import NeverExpectation
from envoyassert.words.no_others import NoOthersExpectation
from tests.unit.cli_words import run_cli

TRACES = Path(__file__).parents[1] / "traces"
FORMS: dict[str, Any] = {
    "listener": ListenerExpectation,
    "calls": CallsExpectation,
    "never": NeverExpectation,
    "in_order": InOrderExpectation,
    "no_others": NoOthersExpectation,
}
WORKERS = 2
LISTENERS = 24
#: The one that is not like the others.
ODD = 10_020


def many_listeners(count: int = LISTENERS, workers: int = WORKERS) -> Trace:
    """Return a start with many listeners, of which one shares its socket."""
    builder = TraceBuilder(workers)
    for port in range(10_000, 10_000 + count):
        make = builder.shared_listener if port == ODD else builder.reuse_port_listener
        make(f"0.0.0.0:{port}")
    return builder.build()


def failure_of(trace: Trace, item: dict[str, Any], workers: int = WORKERS) -> tuple[Any, Finding]:
    """Return an expectation as it is judged, and the failure that it gives."""
    form = next(form for word, form in FORMS.items() if word in item)
    expectations = [(0, form.model_validate(item))]
    verdict = judge(trace, expectations, workers=workers)
    (finding,) = verdict.with_status(Status.FAIL)
    return expectations, finding


FAILURES: dict[str, tuple[dict[str, Any], int]] = {
    "via": ({"listener": {"port": ODD}, "via": "reuse_port"}, 18),
    "sockets": ({"listener": {"port": ODD}, "sockets": "workers"}, 3),
    "option": ({"listener": {"port": ODD}, "options": {"SO_REUSEPORT": 1}}, 3),
    "caller": ({"listener": {"port": ODD}, "listen_by": "workers"}, 5),
    "order": ({"in_order": [{"call": "listen"}, {"call": "bind"}]}, 4),
    "never": ({"never": {"call": "dup"}}, 4),
    "others": ({"no_others": True}, 4),
    "too many": ({"calls": {"call": "bind", "times": 3}}, 13),
}


@pytest.mark.parametrize("item, most", FAILURES.values(), ids=FAILURES.keys())
def test_failure_is_shown_by_a_handful_of_events(item, most):
    trace = many_listeners()
    expectations, finding = failure_of(trace, item)
    found = shrink(trace, finding, expectations, workers=WORKERS)
    assert 0 < len(found.events) <= most
    verdict = judge(found, expectations, workers=WORKERS)
    (again,) = verdict.findings
    assert (again.status, again.path) == (Status.FAIL, finding.path)
    assert again.wanted == finding.wanted
    assert [check.name for check in verdict.certificate.missing] == [EXCERPT_CHECK]


@pytest.mark.parametrize("item, _", FAILURES.values(), ids=FAILURES.keys())
def test_no_event_of_an_excerpt_can_be_left_out(item, _):
    trace = many_listeners(22)
    expectations, finding = failure_of(trace, item)
    found = shrink(trace, finding, expectations, workers=WORKERS)
    fewer = shrink(replace(found, header=trace.header), finding, expectations, workers=WORKERS)
    assert len(fewer.events) == len(found.events)


def test_count_that_is_too_high_stays_too_high():
    trace = many_listeners()
    expectations, finding = failure_of(trace, {"calls": {"call": "bind", "times": 3}})
    found = shrink(trace, finding, expectations, workers=WORKERS)
    assert sum(event.call == "bind" for event in found.events) > 3


def test_excerpt_never_passes_whatever_is_asked():
    trace = many_listeners()
    expectations, finding = failure_of(trace, {"listener": {"port": ODD}, "via": "reuse_port"})
    found = shrink(trace, finding, expectations, workers=WORKERS)
    for item, status in (
        ({"listener": {"port": ODD}, "via": "dup"}, Status.INCONCLUSIVE),
        ({"never": {"call": "accept4"}}, Status.INCONCLUSIVE),
        # Fails only because it was left out.
        ({"listener": {"port": 10_001}, "bound": {"times": 4}}, Status.INCONCLUSIVE),
        ({"listener": {"port": ODD}, "via": "reuse_port"}, Status.FAIL),
    ):
        form = next(form for word, form in FORMS.items() if word in item)
        assert judge(found, [(0, form.model_validate(item))], workers=WORKERS).status is status


def test_excerpt_says_so_in_its_file():
    trace = many_listeners(22)
    expectations, finding = failure_of(trace, {"never": {"call": "dup"}})
    found = shrink(trace, finding, expectations, workers=WORKERS)
    read = parse_trace(trace_lines(found))
    assert read.header.excerpt == Excerpt(
        len(trace.events), finding.path, "never", to_json(finding.wanted), to_json(finding.seen)
    )
    assert read.events == found.events


def test_thirty_thousand_events_take_few_attempts():
    """The budget counts events that are judged, not seconds: ten times the trace is enough."""
    trace = many_listeners(700, 8)
    assert len(trace.events) > 30_000
    item = {"listener": {"port": ODD}, "via": "reuse_port"}
    expectations, finding = failure_of(trace, item, 8)
    found = shrink(trace, finding, expectations, workers=8, budget=10 * len(trace.events))
    assert len(found.events) < 60


def test_without_a_budget_everything_is_kept():
    trace = many_listeners(22)
    expectations, finding = failure_of(trace, {"calls": {"call": "bind", "times": 3}})
    found = shrink(trace, finding, expectations, workers=WORKERS, budget=0)
    verdict = judge(found, expectations, workers=WORKERS)
    assert verdict.status is Status.FAIL


def test_failure_of_a_real_envoy_is_shown_by_the_calls_on_its_socket():
    trace = read_trace(TRACES / "reuse_port_off-1.40.0.ndjson")
    item = {"listener": {"name": "ingress"}, "options": {"SO_REUSEPORT": 1}}
    expectations, finding = failure_of(trace, item, 2)
    found = shrink(trace, finding, expectations, workers=2)
    assert [event.call for event in found.events][-2:] == ["socket", "bind"]
    assert "0.0.0.0:15006" in render_call(found.events[-1])
    assert found.witness is None


@given(st.sets(st.integers(0, 60), max_size=5), st.integers(1, 61))
@settings(max_examples=200, deadline=None)
def test_minimal_finds_exactly_what_is_needed(needed, size):
    needed = {number for number in needed if number < size}
    assert minimal(list(range(size)), lambda parts: needed <= set(parts)) == sorted(needed)


def scenario(directory: Path, expectation: str) -> Path:
    file = directory / "few.yaml"
    file.write_text(
        f"name: few\nenvoy: {{concurrency: 2, config: {{}}}}\nexpect: [{expectation}]\n"
    )
    return file


def test_replay_writes_an_excerpt_that_fails_in_the_same_way(tmp_path, capsys):
    trace = str(TRACES / "reuse_port_off-1.40.0.ndjson")
    file = scenario(tmp_path, "{listener: {port: 15006}, via: reuse_port}")
    small = tmp_path / "small.ndjson"
    words = ["replay", "--scenario", str(file)]
    first = run_cli(capsys, *words, trace, "--shrink", small)
    assert first.code == 1
    total, kept = len(read_trace(trace).events), len(read_trace(small).events)
    assert f"{kept} of {total} events show" in first.err
    again = run_cli(capsys, *words, small)
    assert again.code == 1
    assert "expected served via reuse_port, saw 1 kernel socket" in again.out
    assert "excerpt" in again.out


def test_replay_of_a_pass_has_nothing_to_shrink(tmp_path, capsys):
    file = scenario(tmp_path, "{listener: {port: 15006}, via: dup}")
    trace = str(TRACES / "reuse_port_off-1.40.0.ndjson")
    small = tmp_path / "small.ndjson"
    words = ["replay", trace, "--scenario", str(file), "--shrink", str(small)]
    result = run_cli(capsys, *words)
    assert result.code == 4
    assert "the verdict is PASS" in result.err
    assert not small.exists()


NEEDED: dict[str, tuple[dict[str, Any], bool]] = {
    "text that is like a variable": ({"why": "let it be, for $5"}, False),
    "a port by its variable": ({"listener": {"port": "$ingress"}}, True),
    "a socket by its variable": ({"listener": {"socket": "$shared"}}, True),
    "a name of its own": ({"let": {"ingress": "port"}}, True),
}


@pytest.mark.parametrize("case", NEEDED)
def test_other_expectations_are_judged_where_one_is_joined_to_them(case: str) -> None:
    given, joined = NEEDED[case]
    item = ListenerExpectation.model_validate({"listener": {"port": 15006}, "sockets": 1, **given})
    other = ListenerExpectation.model_validate({"listener": {"port": 15007}, "sockets": 1})
    _, finding = failure_of(many_listeners(2), {"listener": {"port": 10_000}, "sockets": 7})
    needed = shrinking._needed(finding, [(0, item), (1, other)])
    assert needed == ([(0, item), (1, other)] if joined else [(0, item)])


def test_names_of_calls_join_the_other_expectations() -> None:
    calls = {"call": "bind", "times": 1, "let": {"one": "socket"}}
    item = CallsExpectation.model_validate({"calls": calls})
    _, finding = failure_of(many_listeners(2), {"listener": {"port": 10_000}, "sockets": 7})
    assert len(shrinking._needed(finding, [(0, item), (1, item)])) == 2
