"""Whether the threads of an Envoy that says LIVE wait for events already."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from envoyassert.events import Event
from envoyassert.probe import quiet
from envoyassert.probe.quiet import let_threads_wait, unwaited
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


def test_epoll_that_nobody_waits_on_yet_is_told() -> None:
    trace = TraceBuilder(2)
    assert unwaited(events(waiting=False)) == {(trace.main, trace.epoll(trace.worker(1)))}


class Arm:
    """A run whose last thread waits when it was asked for the third time."""

    def __init__(self, asked: int) -> None:
        self.left = asked

    def drain(self, deadline_s: float) -> None:
        self.left -= 1

    def snapshot(self) -> Any:
        return SimpleNamespace(events=events(waiting=self.left <= 0))


def test_it_is_waited_until_the_last_thread_waits() -> None:
    pauses: list[float] = []
    arm = Arm(3)
    let_threads_wait(arm, pauses.append, 60)  # type: ignore[arg-type]
    assert (arm.left, len(pauses)) == (0, 2)
    assert pauses[0] < pauses[1]


def test_end_of_envoy_ends_the_wait() -> None:
    arm = Arm(3)
    let_threads_wait(arm, lambda seconds: "ended", 60)  # type: ignore[arg-type]
    assert arm.left == 2


def test_thread_that_never_waits_is_left_to_the_judge_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quiet, "_FIRST_WAIT_S", 0.0)
    arm = Arm(10**9)
    let_threads_wait(arm, lambda seconds: None, 0)  # type: ignore[arg-type]
    assert arm.left == 10**9 - 1
