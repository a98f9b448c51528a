#!/usr/bin/env bash
# Create .venv in the checkout and install envoyassert into it.
#
#   [PYTHON=/path/to/python] setup/create-venv.sh [run|tools]
#
# With its development tools; with `run` what `make run` needs alone. What is installed is what
# setup/requirements.lock or setup/run.lock has, by version and hash (`make lock` renews them).
# Done again only when that, pyproject.toml, the checkout's path or the interpreter changed. The
# system's site-packages stay out: bcc is imported by path.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
checkout=$(dirname "$here")
cd "$checkout"

readonly STAMP=.venv/.installed
readonly TOOLS=setup/requirements.lock
case "${1:-tools}" in
    tools) readonly LOCK=$TOOLS what="envoyassert and its development tools" ;;
    run) readonly LOCK=setup/run.lock what=envoyassert ;;
    *)
        echo "error: $0 does not know '$1'" >&2
        exit 2
        ;;
esac

# Two makes at once in one checkout take turns. The lock is on the directory itself, so that no lock
# file stays behind.
exec 9<.
flock 9

works() { "$1" -c '' >/dev/null 2>&1; }

# What .venv has when it has all of a lock.
fingerprint() {
    # The scripts in .venv/bin name the checkout and the interpreter by their full path.
    pwd
    grep -E '^(home|version)' .venv/pyvenv.cfg 2>/dev/null || true
    cat pyproject.toml "$1" | sha256sum
}

if [ -f "$STAMP" ] && works .venv/bin/python; then
    # The development tools come with all that a run needs.
    for lock in "$LOCK" "$TOOLS"; do
        [ "$(fingerprint "$lock")" != "$(cat "$STAMP")" ] || exit 0
    done
fi

python=$("$here/choose-python.sh")

# Half made, made for another interpreter, or moved here with the checkout.
if ! works .venv/bin/python || ! head -n 2 .venv/bin/pip 2>/dev/null | grep -qF "$PWD/.venv/bin/"; then
    rm -rf .venv
fi
if [ ! -d .venv ]; then
    echo "creating .venv with $("$python" --version) ($python)"
    "$python" -m venv .venv
fi
rm -f "$STAMP"

echo "installing $what into .venv"
pip_install() {
    .venv/bin/python -m pip --quiet --quiet --no-input --disable-pip-version-check \
        install --retries 5 "$@" </dev/null
}
# A run imports few modules of what it needs: they are compiled as they are imported.
[ "$LOCK" = "$TOOLS" ] || export PIP_NO_COMPILE=1
pip_install --require-hashes --requirement "$LOCK"
# The build backend is among them.
pip_install --no-deps --no-build-isolation --editable .
fingerprint "$LOCK" >"$STAMP"
