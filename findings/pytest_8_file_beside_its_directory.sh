#!/usr/bin/env bash
# pytest 8: `pytest test_a.py .` leaves out the other tests of the directory, and is green.
#
# Behaviour: where a file and the directory that it lies in are both named, pytest 8.0 to 8.4 runs the
#   file alone, says nothing of what it left out, and exits with 0; in either order. pytest 9 runs all.
# Guessed: the tests of both arguments, each once.
# Seen on 2026-11-28, of three tests:
#   pytest 8.0.2: test_a.py . runs 1, . test_a.py runs 1, . runs 3
#   pytest 8.4.2: test_a.py . runs 1, . test_a.py runs 1, . runs 3
#   pytest 9.0.3: test_a.py . runs 3, . test_a.py runs 3, . runs 3
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/tests/below"
for name in test_a test_b below/__init__ below/test_c; do
    echo 'def test_it(): pass' >"$folder/tests/$name.py"
done
cd "$folder/tests"

runs() {
    timeout 60 "$python" -m pytest -q -p no:cacheprovider "$@" |
        sed -nE 's/^([0-9]+) passed.*/\1/p'
}

seen=""
for version in 8.0.2 8.4.2 9.0.3; do
    python3 -m venv "$folder/$version"
    python=$folder/$version/bin/python
    timeout 120 "$python" -m pip install --quiet --disable-pip-version-check "pytest==$version"
    counts=("$(runs test_a.py .)" "$(runs . test_a.py)" "$(runs .)")
    echo "pytest $version: test_a.py . runs ${counts[0]}, . test_a.py runs ${counts[1]}, . runs ${counts[2]}"
    seen+="${counts[*]};"
done
[ "$seen" = "1 1 3;1 1 3;3 3 3;" ]
