#!/usr/bin/env bash
# Print the path of a Python that can make .venv; install the distribution's where there is none.
#
#   [PYTHON=/path/to/python] setup/choose-python.sh
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")

can_create() {
    "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

choose() {
    local candidate
    for candidate in ${PYTHON:-python3 /usr/bin/python3 \
        python3.14 python3.13 python3.12 python3.11 python3.10}; do
        if can_create "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

choose && exit 0
if [ -n "${PYTHON:-}" ]; then
    echo "error: PYTHON=$PYTHON is not a Python 3.10 or newer with venv and ensurepip" >&2
    exit 77
fi
"$here/install-packages.sh" venv >&2
if ! choose; then
    echo "error: no Python 3.10 or newer with venv and ensurepip; name one: make PYTHON=..." >&2
    exit 77
fi
