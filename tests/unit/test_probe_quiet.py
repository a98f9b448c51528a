"""Whether the threads of an Envoy that says LIVE wait for events already."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from envoyassert.events import Event
from envoyassert.probe import quiet
from envoyassert.probe.quiet import is_initialising, let_threads_wait, unwaited, when_quiet
from envoyassert.testing import TraceBuilder


def events(waiting: bool = True) -> list[Event]:
    trace = TraceBuilder(2)
    trace.reuse_port_listener("127.0.0.1:80")
    last = trace.epoll(trace.worker(1))
    return [
        event
        for event in trace.events
        if waiting or event.call != "epoll_wait" or event.args["epfd"] != last
    ]


def test_epoll_with_a_registration_is_waited_on() -> None:
    assert unwaited(events()) == set()


def test_epoll_that_no_thread_waits_on_yet_is_reported() -> None:
    trace = TraceBuilder(2)
    assert unwaited(events(waiting=False)) == {(trace.main, trace.epoll(trace.worker(1)))}


class PlayedArm:
    """A run whose last thread waits when it was asked for the third time."""

    def __init__(self, asked: int) -> None:
        self.left = asked

    def drain(self, deadline_s: float) -> None:
        self.left -= 1

    def snapshot(self) -> Any:
        return SimpleNamespace(events=events(waiting=self.left <= 0))


def played(asked: int) -> Any:
    """The stand-in, which has what is used here of a real run."""
    return PlayedArm(asked)


def test_it_is_waited_until_the_last_thread_waits() -> None:
    pauses: list[float] = []
    arm = played(3)
    let_threads_wait(arm, pauses.append, 60)
    assert (arm.left, len(pauses)) == (0, 2)
    assert pauses[0] < pauses[1]


def test_end_of_envoy_ends_the_wait() -> None:
    arm = played(3)
    let_threads_wait(arm, lambda seconds: "ended", 60)
    assert arm.left == 2


def test_thread_that_never_waits_is_left_to_the_judge_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quiet, "_FIRST_WAIT_S", 0.0)
    arm = played(10**9)
    let_threads_wait(arm, lambda seconds: None, 0)
    assert arm.left == 10**9 - 1


class PlayedRecord:
    """A run that has recorded so much."""

    def __init__(self, recorded: list[Event], *, dropped: int = 0) -> None:
        self.recorded, self.dropped, self.drains = recorded, dropped, 0

    def drain(self, deadline_s: float) -> None:
        self.drains += 1

    def snapshot(self) -> Any:
        return SimpleNamespace(events=self.recorded)

    def counters(self) -> Any:
        added = sum(event.call == "epoll_ctl" for event in self.recorded)
        return SimpleNamespace(
            emitted=len(self.recorded), dropped=self.dropped, registrations=added
        )


def record_of(events: list[Event], *, dropped: int = 0) -> Any:
    """The stand-in, which has what is used here of a real run."""
    return PlayedRecord(events, dropped=dropped)


def recorded(*, initialising: bool) -> list[Event]:
    """What is recorded of an Envoy; while it initialises, its watchdog waits and no worker does."""
    trace = TraceBuilder(2)
    dog = trace.worker(9)
    trace.start_thread(dog, "dog:main_thread")
    for tid in (trace.main, dog):
        trace.epoll_add(tid, trace.socket(trace.main))
        trace.call(tid, "epoll_wait", None, epfd=trace.epoll(tid))
    trace.reuse_port_listener("127.0.0.1:80")
    late = ("epoll_wait",) if initialising else ()
    workers = (trace.worker(0), trace.worker(1))
    return [one for one in trace.events if one.tid not in workers or one.call not in late]


def test_envoy_that_initialises_is_quiet_and_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "_QUIET_S", 0.0)
    record = record_of(recorded(initialising=True))
    ready = when_quiet(record)
    assert [ready(), ready()] == [False, False]
    assert record.drains == 1  # nothing new, nothing to read
    record.recorded = recorded(initialising=False)
    assert ready()


def test_envoy_initialises_for_certain_while_no_worker_waits() -> None:
    waiting = recorded(initialising=True)
    assert is_initialising(record_of(waiting))
    assert not is_initialising(record_of(waiting, dropped=1))
    assert not is_initialising(record_of(recorded(initialising=False)))
    assert not is_initialising(record_of([]))
    one_worker = events(waiting=False)
    assert not is_initialising(record_of(one_worker))
    # A thread whose name is not known may be a worker.
    unnamed = [one for one in waiting if one.call != "rename"]
    assert not is_initialising(record_of(unnamed))
