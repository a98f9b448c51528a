"""Each worker begins with its share of the long tests."""

from __future__ import annotations

import pytest

from tests.dealt import dealt


def test_longest_come_first_and_the_others_stay_next_to_each_other() -> None:
    items = list("abcdefgh")
    seconds = [0, 0, 0, 120, 600, 0, 0, 120]
    assert dealt(items, seconds, 2) == [*"ehab", *"dcfg"]


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 50])
def test_none_is_lost_and_each_worker_has_its_share(workers: int) -> None:
    seconds = [120.0 * (number % 5 == 0) for number in range(33)]
    found = dealt(range(33), seconds, workers)
    assert sorted(found) == list(range(33))
    # As xdist shares them.
    begins, left = [0], 33
    for worker in range(workers - 1):
        begins.append(begins[-1] + left // (workers - worker))
        left = 33 - begins[-1]
    if workers <= 7:
        assert all(seconds[found[place]] for place in begins)
