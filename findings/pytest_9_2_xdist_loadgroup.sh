#!/usr/bin/env bash
# pytest 9.2.0 with pytest-xdist 3.8.0: --dist=loadgroup does not group.
#
# Behaviour: a worker of xdist writes the group of a test to `item._nodeid`. Since 9.2 an item keeps its
#   id in parts and never reads that attribute: the name of the group is lost without a word, and the
#   tests of one group are spread over the workers. With pytest 9.1 they stay on one worker.
# Guessed: both work, or the newer pytest reports the attribute as an error.
# Seen on 2026-11-28, the number of workers that ran the eight tests of one group:
#   pytest 9.1: 1
#   pytest 9.2: 2
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cat >"$place/test_group.py" <<'PYTHON'
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_member(number, worker_id):
    time.sleep(0.2)
    print(f"on {worker_id}")
PYTHON

workers() {
    python3 -m venv "$place/$1"
    "$place/$1/bin/pip" install --quiet --disable-pip-version-check "pytest==$1.0" pytest-xdist==3.8.0
    (cd "$place" && "$place/$1/bin/pytest" -rP -n 2 --dist=loadgroup -p no:cacheprovider) |
        grep -o '^on gw[0-9]*' | sort -u | wc -l
}

before=$(workers 9.1)
after=$(workers 9.2)
echo "pytest 9.1: $before"
echo "pytest 9.2: $after"
[ "$before" -eq 1 ] && [ "$after" -eq 2 ]
