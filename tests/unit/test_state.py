"""The state of a running Envoy as a trace: what it shows, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from envoyassert.accounts import WitnessThread
from envoyassert.graph.fold import fold
from envoyassert.judge.account_checks import KERNEL_CHECK
from envoyassert.judge.certificate import certify
from envoyassert.report.state import UNKNOWN, UNKNOWN_OF_DESCRIPTORS, UNKNOWN_OF_SOCKETS
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.state import trace_of_state, why_unsettled
from envoyassert.trace import Trace
from envoyassert.trace_file import parse_trace, trace_lines
from tests.socket_table import known_in_state, option_faults, shown_by_state, table_of
from tests.unit.states import state_at_end
from tests.unit.words.judged import ALL_TRACES, trace_of


@cache
def known_state(name: str) -> Trace | None:
    return state_at_end(trace_of(name))


def state(name: str) -> Trace:
    found = known_state(name)
    assert found is not None
    return found


RUNNING = [name for name in ALL_TRACES if known_state(name) is not None]


@pytest.mark.parametrize("name", RUNNING)
def test_made_up_calls_fold_into_what_the_kernel_shows(name: str) -> None:
    found = state(name)
    checks = {c.name: c for c in certify(found, fold(found)).checks}
    assert [c for c in checks.values() if c.ok is False and c.name != "Envoy agrees"] == []
    assert checks[KERNEL_CHECK].ok is True


@pytest.mark.parametrize("name", RUNNING)
def test_table_of_a_state_is_that_of_the_trace_that_led_to_it(name: str) -> None:
    whole, shown = table_of(trace_of(name)), table_of(state(name))
    witness = state(name).witness
    assert witness is not None
    assert shown_by_state(shown) == known_in_state(whole, set(witness.pids))
    assert option_faults(shown, whole) == []


def test_what_needs_the_start_is_marked_and_the_rest_is_not() -> None:
    found = state("shared")
    graph = fold(found)
    story = story_of(found, graph, certify(found, graph))
    assert [key for key in UNKNOWN if story[key] is not None] == []
    (row,) = story["listening"]
    assert {key for key, value in row.items() if value is None} == {
        *UNKNOWN_OF_SOCKETS,
        *("waiting", "effective_backlog"),  # this one was not asked for its network
    }
    assert row["served_by"] == ["worker_0", "worker_1"]
    for descriptor in row["descriptors"]:
        unknown = {key for key, value in descriptor.items() if value is None}
        assert unknown == set(UNKNOWN_OF_DESCRIPTORS)
    assert not any(story["phases"].values())
    text = "\n".join(story_lines(story))
    assert "fd 21 worker_0 (epoll 6), fd 22 worker_1 (epoll 7)" in text
    assert "not known from a state" in text
    assert "bound by" not in text


def test_state_is_kept_in_a_trace_file() -> None:
    found = state("longest_queue")
    again = parse_trace(list(trace_lines(found)))
    assert (again.header, again.events, again.witness) == (
        found.header,
        found.events,
        found.witness,
    )


def without_waits(found: Trace, *names: str) -> Trace:
    """Return a state in which threads of these names were not seen to wait."""
    assert found.witness is not None
    threads = tuple(
        replace(thread, epfd=None) if thread.name in names else thread
        for thread in found.witness.threads
    )
    return trace_of_state(replace(found.witness, threads=threads))


def test_busy_worker_leaves_open_who_serves() -> None:
    found = without_waits(state("shared"), "wrk:worker_1")
    assert found.witness is not None
    assert why_unsettled(found.witness) == (
        "wrk:worker_1 was not seen to wait on its epoll (it is busy)"
    )


def test_epoll_of_no_thread_leaves_open_who_serves() -> None:
    witness = state("with_admin").witness
    assert witness is not None
    assert why_unsettled(witness) == ""
    main = WitnessThread(witness.pid, witness.pid, "envoy")
    threads = (main, *(t for t in witness.threads if t.tid != witness.pid))
    assert why_unsettled(replace(witness, threads=threads)) == (
        "no thread was seen to wait on epoll 5"
    )
