"""The documents for machines, and their schema."""

import json
from dataclasses import replace

import jsonschema_rs
import pytest

from envoyassert.asserts import parse_expectation
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.report.failure import RunContext
from envoyassert.report.figures import figures_of
from envoyassert.report.places import Place
from envoyassert.report.results import (
    SCHEMA_FILE,
    index_document,
    results_schema,
    schema_text,
)
from envoyassert.report.summary import RunRecord
from envoyassert.report.verdict_json import verdict_json
from envoyassert.testing import TraceBuilder
from envoyassert.trace import Trace
from tests.unit.some_machine import MACHINE

VALIDATOR = jsonschema_rs.Draft202012Validator(results_schema())


def test_schema_file_is_current():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), (
        "run: python -m envoyassert.report.results"
    )


def test_schema_is_a_schema_that_refuses_what_is_none_of_the_documents():
    jsonschema_rs.meta.validate(results_schema())
    for document in ({}, {"format": "envoyassert-run/2"}, {"format": "envoyassert-trace/1"}):
        assert not VALIDATOR.is_valid(document)


def test_every_part_of_the_schema_is_described():
    bare = [name for name, part in results_schema()["$defs"].items() if not part.get("description")]
    assert bare == []


# Figures


def served(trace: Trace) -> float | None:
    return figures_of(trace, fold(trace)).start_up.served_ms


def test_figures_show_when_the_phases_were_reached_and_how_many_there_were():
    builder = TraceBuilder(2)
    start_ns = builder.events[0].ts_ns
    fds = builder.shared_listener("0.0.0.0:15006")
    times = {event.call: (event.ts_ns - start_ns) / 1e6 for event in reversed(builder.events)}
    # The first registration of the one socket, whichever worker's.
    figures = figures_of(builder.build(), fold(builder.build()))
    assert figures.start_up.first_bind_ms == times["bind"]
    assert figures.start_up.first_listen_ms == times["listen"]
    assert figures.start_up.served_ms == times["epoll_ctl"]
    assert figures.start_up.live_ms == 50
    counts = figures.counts
    assert (counts.listening_sockets, counts.listening_descriptors) == (1, len(fds))
    assert (counts.binds, counts.listens, counts.workers, counts.processes) == (1, 2, 2, 1)
    assert counts.events == len(builder.events)
    assert counts.lost_events == 0


def test_figures_of_sockets_of_their_own_count_each_and_wait_for_the_last():
    builder = TraceBuilder(2)
    builder.reuse_port_listener("0.0.0.0:15006")
    last_ns = builder.events[-1].ts_ns
    trace = builder.build()
    figures = figures_of(trace, fold(trace))
    assert figures.counts.listening_sockets == 2
    assert figures.start_up.served_ms == (last_ns - builder.events[0].ts_ns) / 1e6


def test_durations_are_intervals_and_null_where_something_never_happened():
    builder = TraceBuilder(1)
    fds = builder.shared_listener("0.0.0.0:15006")
    times = {event.call: event.ts_ns / 1e6 for event in builder.events}
    unknown = figures_of(builder.build(), fold(builder.build())).durations
    builder.reply_live(ns=2_000_000)
    found = figures_of(builder.build(), fold(builder.build())).durations
    assert found.bind_to_listen is not None
    assert found.bind_to_listen.at_most_ms == pytest.approx(times["listen"] - times["bind"])
    assert unknown.served_to_live is None
    assert found.served_to_live is not None
    live = found.served_to_live
    assert live.at_most_ms - live.at_least_ms == pytest.approx(2)
    builder.epoll_delete(builder.worker(0), fds[0])
    builder.listen(builder.main, builder.socket(builder.main))
    late = figures_of(builder.build(), fold(builder.build())).durations
    assert late.listen_to_served is None


def test_figures_of_a_socket_that_no_thread_waits_for_say_that_it_is_not_served():
    builder = TraceBuilder(2)
    builder.shared_listener("0.0.0.0:15006")
    assert served(builder.build()) is not None
    fd = builder.socket(builder.main)
    builder.bind(builder.main, fd, "0.0.0.0:15007")
    builder.listen(builder.main, fd)
    assert served(builder.build()) is None
    builder.close(builder.main, fd)
    assert served(builder.build()) is not None


def test_figures_of_a_trace_with_losses_count_them():
    builder = TraceBuilder(2)
    builder.shared_listener("0.0.0.0:15006")
    counts = figures_of(lossy := builder.build(lost=(12, 13)), fold(lossy)).counts
    assert (counts.lost_events, counts.events) == (2, len(builder.events) - 2)


def test_figures_of_a_trace_without_times_have_none():
    builder = TraceBuilder(2, unobserved=("completeness",))
    builder.shared_listener("0.0.0.0:15006")
    builder.outcome = replace(builder.outcome, live=None, live_after_s=None)
    start_up = figures_of(trace := builder.build(), fold(trace)).start_up
    assert set(start_up.model_dump().values()) == {None}


# Documents


def test_verdict_names_file_line_and_column_of_each_finding_and_fits_the_schema():

    builder = TraceBuilder(2)
    builder.shared_listener("0.0.0.0:15006")
    trace = builder.build()
    item = {"listener": {"port": 15006}, "bound": {"times": 2, "by": "main"}}
    verdict = judge(trace, [(0, parse_expectation(item))], workers=2)
    context = RunContext("one", lambda path: Place("one.yaml", 7, len(path)))
    found = json.loads(json.dumps(verdict_json(verdict, trace, fold(trace), context)))
    VALIDATOR.validate(found)
    assert (found["run"], found["status"]) == ("one", "FAIL")
    assert [(f["status"], f["atom"], f["location"]) for f in found["findings"]] == [
        ("FAIL", "bound.times", {"file": "one.yaml", "line": 7, "column": 4}),
        ("PASS", "bound.by", {"file": "one.yaml", "line": 7, "column": 4}),
    ]
    assert found["findings"][0]["evidence"][0]["call"] == "bind(21, 0.0.0.0:15006) = 0"


def record(outcome: str, *verdicts: str) -> RunRecord:
    return RunRecord("a", "1.40.0", "process", "2", outcome, "", verdicts)


@pytest.mark.parametrize("complete", [True, False])
def test_index_counts_every_outcome_and_fits_the_schema(complete):
    records = {
        "x::a": record("passed", "INCONCLUSIVE", "PASS"),
        "x::b": record("failed", "FAIL"),
        "x::c": record("xfailed", "FAIL"),
        "x::d": record("inconclusive", "INCONCLUSIVE"),
        "x::e": record("skipped"),
        "x::f": record("error"),
        "x::g": record("known_defect", "KNOWN_DEFECT"),
    }
    index = index_document(
        records,
        {"x::a": "runs/a/run.json"},
        {"y.yaml": "y.yaml:1:1: error: no"},
        machine=MACHINE,
        started="2026-01-01T00:00:00.000Z",
        complete=complete,
    ).model_dump(mode="json")
    VALIDATOR.validate(index)
    assert index["complete"] is complete
    assert index["counts"] == {
        "executed": 5,
        "repeated": 1,
        **dict.fromkeys((record.outcome for record in records.values()), 1),
    }
    assert [run["document"] for run in index["runs"]] == ["runs/a/run.json", *[None] * 6]
    assert index["summary"][0].startswith("5 runs executed: 1 passed, 1 failed, 1 known defect, ")
