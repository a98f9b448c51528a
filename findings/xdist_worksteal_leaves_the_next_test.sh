#!/usr/bin/env bash
# pytest-xdist 3.8.0: with --dist=worksteal the test behind a long one waits, though all others ended.
#
# Behaviour: a worker keeps two tests, the one that runs and the next. Only those behind are given to
#   another. A worker that finds no more of these is shut down. So the next test waits until the
#   long one is over, though it has not begun and no other worker has work.
# Guessed: a worker without work takes any test that has not begun. (The documentation says that each
#   worker needs two tests in its queue, not that one of the two may wait alone.)
# Seen on 2026-11-29 with pytest 8.4.2 and two workers, where the long test waits for the end of the
#   other worker: who ran the three tests that the first one was given:
#   long: the first worker
#   next: the first worker, after the other had ended
#   last: the other worker
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cat >"$place/conftest.py" <<'PYTHON'
from pathlib import Path


def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):  # one of the workers, not their controller
        Path("ended").touch()
PYTHON
cat >"$place/test_queues.py" <<'PYTHON'
import time
from pathlib import Path

import pytest


def ran(test, worker):
    first = Path("first")
    is_first = first.exists() and first.read_text() == worker
    alone = ", after the other had ended" if test == "next" and Path("ended").exists() else ""
    print(f"{test}: the {'first' if is_first else 'other'} worker{alone}")


def test_long(worker_id):
    Path("first").write_text(worker_id)
    end = time.monotonic() + 60
    while not Path("ended").exists():
        assert time.monotonic() < end, "the other worker has not ended"
        time.sleep(0.01)
    ran("long", worker_id)


def test_next(worker_id):
    ran("next", worker_id)


def test_last(worker_id):
    ran("last", worker_id)


@pytest.mark.parametrize("number", range(3))
def test_of_the_other_worker(number):
    """Is over at once."""
PYTHON
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check pytest==8.4.2 pytest-xdist==3.8.0
(cd "$place" && timeout 120 "$place/venv/bin/pytest" -rP -n 2 --dist=worksteal -p no:cacheprovider) |
    grep -E '^(long|next|last): ' | sort >"$place/seen"
cat "$place/seen"
diff "$place/seen" <(sed -n 's/^#   \([a-z]*: the .*\)$/\1/p' "$0" | sort)
