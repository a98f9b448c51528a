"""Waiting for readiness, against an Envoy that answers by script."""

from __future__ import annotations

import time

import pytest

from envoyassert.launch import readiness
from envoyassert.launch.admin import DEADLINE_S, AdminIncompleteError, AdminUnreachableError
from envoyassert.launch.base import Exit, tail
from envoyassert.launch.readiness import wait_ready

LIVE = (200, "LIVE\n")
INITIALIZING = (503, "PRE_INITIALIZING\n")
FORBIDDEN = (403, "request to path /ready not allowed")


class ScriptedEnvoy:
    """Answers admin requests from a list; after the last it has ended, or begins again."""

    def __init__(self, *replies: tuple[int, str] | None, ends: Exit | None = None) -> None:
        self.script = replies
        self.replies = list(replies)
        self.ends = ends
        self.asked: list[str] = []
        self.waited_s: list[float] = []

    def exited(self, timeout_s: float = 0.0) -> Exit | None:
        self.waited_s.append(timeout_s)
        return self.ends if not self.replies else None

    def admin_get(
        self, path: str, method: str = "GET", deadline_s: float = DEADLINE_S
    ) -> tuple[int, str]:
        self.asked.append(path.partition("?")[0])
        if not self.replies:
            self.replies = list(self.script)
        reply = self.replies.pop(0)
        if reply is None:
            raise AdminUnreachableError("refused")
        return reply

    def log(self) -> str:
        return "".join(f"line {number}\n" for number in range(100))


def wait(envoy, has_admin=True, deadline_s=5.0, idle=None, age_s=0.0):
    return wait_ready(envoy, has_admin, time.monotonic() - age_s, deadline_s, idle)


def test_envoy_is_ready_as_soon_as_it_says_live():
    envoy = ScriptedEnvoy(None, INITIALIZING, LIVE, LIVE)
    outcome = wait(envoy, idle=lambda: False)
    assert outcome.live is True
    assert outcome.live_after_s is not None
    assert envoy.asked == ["/ready", "/ready", "/ready"]
    assert outcome.log_tail[-1] == "line 99"
    assert len(outcome.log_tail) == 40


def test_tail_of_a_long_log_keeps_what_envoy_complained_of_first():
    crash = "[2026-01-01 00:00:00.000][7][critical][backtrace] [b.h:1] Caught Segmentation fault"
    advice = "[2026-01-01 00:00:00.000][7][warning][main] [s.cc:1] There is no configured limit"
    kept = tail("\n".join(["start", advice, crash, *(f"frame {n}" for n in range(100))]))
    assert kept[0] == crash
    assert kept[1:] == tuple(f"frame {n}" for n in range(60, 100))
    assert len(tail("\n".join([crash] * 100))) == 50


def test_wait_that_meets_the_end_reports_it():
    outcome = wait(ScriptedEnvoy(None, INITIALIZING, ends=Exit(1, None)))
    assert (outcome.live, outcome.exit_code, outcome.running) == (False, 1, False)
    assert outcome.live_after_s is None


def test_wait_that_meets_a_signal_without_admin_reports_it():
    outcome = wait(ScriptedEnvoy(ends=Exit(None, 6)), has_admin=False)
    assert (outcome.live, outcome.signal) == (None, 6)


def test_wait_beyond_the_deadline_says_so():
    outcome = wait(ScriptedEnvoy(INITIALIZING), deadline_s=0.01)
    assert (outcome.live, outcome.deadline_s, outcome.running) == (False, 0.01, True)


def test_wait_asks_a_living_envoy_less_and_less_often():
    envoy = ScriptedEnvoy(*[INITIALIZING] * 8, LIVE)
    wait(envoy, age_s=1.0)
    assert envoy.waited_s[:5] == pytest.approx([0.002, 0.004, 0.008, 0.016, 0.02])
    assert max(envoy.waited_s) <= 0.02


def test_wait_does_not_ask_sooner_than_any_envoy_starts():
    envoy = ScriptedEnvoy(LIVE)
    wait(envoy)
    assert envoy.waited_s == [pytest.approx(0.02, abs=0.005)]


class EndlessEnvoy(ScriptedEnvoy):
    """Begins replies, and never ends one."""

    def admin_get(
        self, path: str, method: str = "GET", deadline_s: float = DEADLINE_S
    ) -> tuple[int, str]:
        raise AdminIncompleteError(f"{method} {path}: the reply took too long")


def test_envoy_whose_replies_have_no_end_may_be_live_or_not():
    outcome = wait(EndlessEnvoy(LIVE), deadline_s=0.01, idle=lambda: False)
    assert (outcome.live, outcome.running) == (None, True)
    assert outcome.why_not_asked == "GET /ready: the reply took too long"


STATS = (200, "cluster.a.warming_state: 1\ncluster.b.warming_state: 0\n")


def test_wait_beyond_the_deadline_asks_what_envoy_waits_for():
    envoy = ScriptedEnvoy(INITIALIZING, STATS)
    outcome = wait(envoy, deadline_s=0.0)
    assert outcome.waits_for == ("cluster a",)
    assert envoy.asked == ["/ready", "/stats"]


def test_wait_that_meets_the_end_has_what_was_waited_for_last(monkeypatch):
    monkeypatch.setattr(readiness, "_MISSING_S", 0.0)
    outcome = wait(ScriptedEnvoy(INITIALIZING, STATS, ends=Exit(0, None)))
    assert (outcome.exit_code, outcome.waits_for) == (0, ("cluster a",))


def test_live_envoy_waits_for_nothing(monkeypatch):
    monkeypatch.setattr(readiness, "_MISSING_S", 0.0)
    outcome = wait(ScriptedEnvoy(INITIALIZING, STATS, LIVE, STATS))
    assert (outcome.live, outcome.waits_for) == (True, ())


def test_wait_never_waits_beyond_the_deadline():
    envoy = ScriptedEnvoy(INITIALIZING)
    wait(envoy, deadline_s=0.001)
    assert max(envoy.waited_s) <= 0.001


def test_envoy_that_may_not_be_asked_is_ready_when_it_is_idle():
    answers = iter([False, True])
    envoy = ScriptedEnvoy(None, FORBIDDEN)
    outcome = wait(envoy, idle=lambda: next(answers))
    assert (outcome.live, outcome.live_after_s, outcome.running) == (None, None, True)
    assert (
        outcome.why_not_asked == "/ready is answered with 403: request to path /ready not allowed"
    )
    assert envoy.asked == ["/ready", "/ready"]


def test_of_a_long_answer_there_is_its_beginning():
    outcome = wait(ScriptedEnvoy(None, (403, "a" * 70_000)))
    assert outcome.why_not_asked.startswith("/ready is answered with 403: aaa")
    assert len(outcome.why_not_asked) < 300


def test_envoy_without_admin_endpoint_is_not_asked():
    envoy = ScriptedEnvoy(LIVE)
    outcome = wait(envoy, has_admin=False)
    assert (outcome.live, envoy.asked) == (None, [])
    assert outcome.why_not_asked == "the config has no admin endpoint to ask"


def test_first_live_reply_has_its_question_and_its_receipt():
    before_ns = time.monotonic_ns()
    outcome = wait(ScriptedEnvoy(INITIALIZING, None, LIVE))
    assert before_ns < outcome.live_asked_ns <= outcome.live_ns < time.monotonic_ns()
    assert outcome.live_after_s >= (outcome.live_ns - outcome.live_asked_ns) / 1e9


def test_envoy_that_never_says_live_has_no_such_instant():
    outcome = wait(ScriptedEnvoy(INITIALIZING, ends=Exit(1, None)))
    assert outcome.live_asked_ns is None
    assert outcome.live_ns is None


@pytest.mark.parametrize("deadline_s", [0.3, 1.0, 30.0])
def test_no_question_outlasts_the_deadline_but_by_a_quarter_of_a_second(deadline_s):
    lasted_s: list[float] = []

    class Dripping(ScriptedEnvoy):
        def admin_get(self, path, method="GET", deadline_s=DEADLINE_S):
            lasted_s.append(deadline_s)
            self.ends = Exit(0, None) if len(lasted_s) == 3 else None
            self.replies = [] if self.ends else [None]
            raise AdminIncompleteError(f"GET {path}: the reply took too long")

    outcome = wait(Dripping(None), deadline_s=deadline_s)
    assert max(lasted_s) <= min(deadline_s, DEADLINE_S)
    assert min(lasted_s) >= 0.25
    assert outcome.live is not True
