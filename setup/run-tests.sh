#!/usr/bin/env bash
# Run every test, or what the arguments for pytest select.
#
#   setup/run-tests.sh [PYTEST-ARGUMENT...]
#
# The pure tests share the processors. Those of the real parts wait about half of their time, so there
# is one more of them at work than processors: with two a processor records were lost.
# What compares the machine before and after a run follows alone.
set -euo pipefail

cd "$(dirname "$(readlink -f "$0")")/.."
if [ "$#" -gt 0 ]; then
    exec .venv/bin/pytest "$@"
fi
status=0
.venv/bin/pytest --numprocesses=auto --quiet tests/unit tests/plugin || status=$?
.venv/bin/pytest --numprocesses="$(($(nproc) + 1))" --dist=worksteal -m "not alone" tests/bpf tests/e2e || status=$?
.venv/bin/pytest -m alone tests/bpf tests/e2e || status=$?
exit "$status"
