"""How long a run may wait, as far as it says so itself, and who gets it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from envoyassert.pytest_plugin.dealing import dealt, wait_s_of
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand

SCENARIO = """\
name: one
envoy:
  args: {args}
  config: {{}}
steps: {steps}
expect:
- process: {{live: true}}
"""


def plan(args="[]", steps="[]"):
    (only,) = expand(parse_scenario(SCENARIO.format(args=args, steps=steps), Path("one.yaml")))
    return only


@pytest.mark.parametrize(
    ("args", "steps", "wait_s"),
    [
        ("[]", "[]", 0.0),
        ("[--drain-time-s, '3']", "[]", 3.0),
        ("[--drain-time-s, '1', --parent-shutdown-time-s, '2']", "[]", 3.0),
        ("[]", "[{pause: 1500ms}, {pause: 2s, name: more}]", 3.5),
        ("[--drain-time-s, soon]", "[]", 0.0),
        ("[--drain-time-s]", "[]", 0.0),
    ],
)
def test_wait_is_that_of_pauses_and_timers(args, steps, wait_s):
    assert wait_s_of(plan(args, steps)) == wait_s


def test_test_in_python_is_no_run_and_waits_for_nothing():
    assert wait_s_of(None) == 0.0


def test_wait_is_of_the_run_and_not_of_the_scenario():
    assert wait_s_of(dataclasses.replace(plan(), args=("--drain-time-s", "4"))) == 4.0


@pytest.mark.parametrize(
    ("waits_s", "workers", "order"),
    [
        ([0, 0, 0, 0], 2, [0, 1, 2, 3]),
        ([0, 1, 0, 3], 1, [3, 1, 0, 2]),
        ([0, 1, 0, 3], 2, [3, 0, 2, 1]),
        ([2, 2, 0], 2, [0, 2, 1]),
        ([0, 0, 5, 1, 1, 0], 2, [2, 0, 1, 5, 3, 4]),
        ([3, 2, 1], 2, [0, 1, 2]),
        ([0, 4], 3, [1, 0]),
        ([], 2, []),
    ],
)
def test_every_other_worker_begins_with_its_waits_and_the_others_end_with_them(
    waits_s, workers, order
):
    assert dealt(waits_s, workers) == order


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 50])
def test_none_is_lost_and_the_waits_are_shared(workers):
    waits_s = [float(number % 5 == 0) for number in range(33)]
    order = dealt(waits_s, workers)
    assert sorted(order) == list(range(33))
    # As xdist shares them.
    begins, shares = 0, []
    for worker in range(workers):
        size = (33 - begins) // (workers - worker)
        shares.append(sum(waits_s[place] for place in order[begins : begins + size]))
        begins += size
    assert max(shares) - min(shares) <= 1
