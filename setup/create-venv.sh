#!/usr/bin/env bash
# Create .venv in the checkout and install envoyassert with its development tools into it.
#
#   [PYTHON=/path/to/python] setup/create-venv.sh
#
# What is installed is what setup/requirements.lock has, by version and hash (`make lock` renews it).
# Done again only when that, pyproject.toml, the checkout's path or the interpreter changed. The
# system's site-packages stay out: bcc is imported by path.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
checkout=$(dirname "$here")
cd "$checkout"

readonly OLDEST='(3, 10)'
readonly STAMP=.venv/.installed

# Two makes at once in one checkout take turns. The lock is on the directory itself, so that no lock
# file stays behind.
exec 9<.
flock 9

works() { "$1" -c "import sys; sys.exit(sys.version_info < $OLDEST)" >/dev/null 2>&1; }
can_create() { works "$1" && "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

fingerprint() {
    # The scripts in .venv/bin name the checkout and the interpreter by their full path.
    pwd
    grep -E '^(home|version)' .venv/pyvenv.cfg 2>/dev/null || true
    cat pyproject.toml setup/requirements.lock | sha256sum
}

if [ -f "$STAMP" ] && [ "$(fingerprint)" = "$(cat "$STAMP")" ] && works .venv/bin/python; then
    exit 0
fi

choose_python() {
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

if ! python=$(choose_python); then
    if [ -n "${PYTHON:-}" ]; then
        echo "error: PYTHON=$PYTHON is not a Python 3.10 or newer with venv and ensurepip" >&2
        exit 77
    fi
    "$here/install-packages.sh" venv
    if ! python=$(choose_python); then
        echo "error: no Python 3.10 or newer with venv and ensurepip; name one: make PYTHON=..." >&2
        exit 77
    fi
fi

# Half made, made for another interpreter, or moved here with the checkout.
if ! works .venv/bin/python || ! head -n 2 .venv/bin/pip 2>/dev/null | grep -qF "$PWD/.venv/bin/"; then
    rm -rf .venv
fi
if [ ! -d .venv ]; then
    echo "creating .venv with $("$python" --version) ($python)"
    "$python" -m venv .venv
fi
rm -f "$STAMP"

echo "installing envoyassert and its development tools into .venv"
pip_install() {
    .venv/bin/python -m pip --quiet --quiet --no-input --disable-pip-version-check \
        install --retries 5 "$@" </dev/null
}
pip_install --require-hashes --requirement setup/requirements.lock
# The build backend is among them.
pip_install --no-deps --no-build-isolation --editable .
fingerprint >"$STAMP"
