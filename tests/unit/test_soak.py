"""What the soak and the check of determinism are made of."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from envoyassert.testing import TraceBuilder
from envoyassert.trace import Trace
from tests.soak.determinism import print_stories
from tests.soak.meaning import facts_of, varying
from tests.soak.pressure import Pressure
from tests.soak.times import spread

ROOT = Path(__file__).parents[2]


def test_spread_of_times_has_the_ends_and_the_hundredths():
    assert spread("run", [number / 100 for number in range(100, -1, -1)]) == (
        "run: min 0.000, median 0.500, p90 0.900, p99 0.990, max 1.000 s (101 times)"
    )
    assert spread("run", [2.0]) == (
        "run: min 2.000, median 2.000, p90 2.000, p99 2.000, max 2.000 s (1 times)"
    )
    assert spread("run", []) == "run: no times"


def served(order: tuple[int, ...], *, times: int = 1) -> Trace:
    """One shared socket, put into the epolls of two workers in an order."""
    trace = TraceBuilder(2)
    for _ in range(times):
        fd = trace.socket(trace.main)
        trace.bind(trace.main, fd, "0.0.0.0:80")
        trace.listen(trace.main, fd)
        for worker in order:
            trace.epoll_add(trace.worker(worker), trace.dup(trace.main, fd))
    return trace.build()


def test_end_of_a_step_that_envoy_notices_later_is_no_fact():
    trace = TraceBuilder(2)
    trace.shared_listener("0.0.0.0:80")
    trace.end_phase("startup", "startup")
    trace.end_phase("pressure", "replace_file")
    trace.end_phase("held", "wait_for")
    phases = " ".join(subject for subject, _ in facts_of(trace.build()))
    assert "startup" in phases or "0.0.0.0:80" in phases
    assert ("pressure" in phases, "held" in phases) == (False, True)


def test_story_is_the_same_whichever_worker_comes_first():
    stories = [facts_of(served(order)) for order in ((0, 1), (1, 0))]
    assert stories[0]
    assert list(varying(stories)) == []


def test_fact_that_varies_is_reported_with_how_often_it_was_what():
    stories = [facts_of(served((0, 1), times=times)) for times in (1, 1, 2)]
    found = {aspect: seen for (_, aspect), seen in varying(stories)}
    assert sorted(found["sockets"].items()) == [("number: 1", 2), ("number: 2", 1)]


def test_fact_that_is_missing_in_some_runs_varies():
    ((key, seen),) = varying([{("port 80", "bind"): "1"}, {}])
    assert key == ("port 80", "bind")
    assert seen == {"1": 1, "(none)": 1}


STORY = {("port 80", "bind"): "1"}
OTHER = {("port 80", "bind"): "2"}
PASSED = {("expect.0", "answer 1"): "PASS"}
FAILED = {("expect.0", "answer 1"): "FAIL"}


@pytest.mark.parametrize(
    "stories, answers, bad, code, line",
    [
        ([STORY] * 3, [PASSED] * 3, {}, 0, "1 of 1 runs have the same story 3 times over"),
        ([STORY, OTHER, STORY], [PASSED] * 3, {}, 1, "udp: port 80: bind: 1 (2 x); 2 (1 x)"),
        (
            [STORY] * 2,
            [PASSED, FAILED],
            {},
            1,
            "udp: EXPECTATION expect.0 answer 1: PASS (1 x); FAIL (1 x)",
        ),
        ([STORY], [PASSED], {"udp: failed: no": 1}, 1, "NOT GOOD udp: failed: no (1 x)"),
    ],
)
def test_determinism_shows_what_varies_and_ends_with_1(stories, answers, bad, code, line, capsys):
    assert print_stories({"udp": stories}, {"udp": answers}, Counter(bad)) == code
    assert line in capsys.readouterr().out.splitlines()


def test_determinism_of_nothing_is_no_success():
    assert print_stories({}, {}, Counter()) == 1


OWNER = """
import sys
from tests.soak.pressure import Pressure
with Pressure(1, 1 << 20) as pressure:
    print(*(process.pid for process in pressure._processes), flush=True)
    sys.stdin.read()
"""


def test_pressure_ends_with_its_owner_however_that_ends():
    for end in (signal.SIGKILL, None):
        with subprocess.Popen(
            [sys.executable, "-c", OWNER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as owner:
            assert owner.stdout is not None
            assert owner.stdin is not None
            watched = [os.pidfd_open(int(pid)) for pid in owner.stdout.readline().split()]
            assert len(watched) == 2
            assert select.select(watched, [], [], 0)[0] == []
            if end is None:
                owner.stdin.close()
            else:
                owner.send_signal(end)
            for pidfd in watched:
                # A pidfd is readable once its process has ended.
                assert select.select([pidfd], [], [], 30)[0] == [pidfd]
                os.close(pidfd)


def test_pressure_that_ended_by_itself_is_noticed():
    with Pressure(1, 0) as pressure:
        assert pressure.ended == []
        (process,) = pressure._processes
        process.kill()
        process.wait()
        assert pressure.ended == [-signal.SIGKILL]
