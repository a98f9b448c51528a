#!/usr/bin/env bash
# Run every test, or what the arguments for pytest select.
#
#   setup/run-tests.sh [PYTEST-ARGUMENT...]
#
# The pure tests share the processors. The others follow alone, for they compare what is on the
# machine before and after a run.
set -euo pipefail

cd "$(dirname "$(readlink -f "$0")")/.."
if [ "$#" -gt 0 ]; then
    exec .venv/bin/pytest "$@"
fi
status=0
.venv/bin/pytest --numprocesses=auto --quiet tests/unit tests/plugin || status=$?
.venv/bin/pytest tests/bpf tests/e2e || status=$?
exit "$status"
