#!/usr/bin/env bash
# platformdirs 4.14.8: to have it installed is to have it imported in every pytest session.
#
# Behaviour: the library that says where an operating system keeps caches and settings declares an
#   entry point of the group `pytest11`. pytest loads all of that group before it reads a test, so what
#   depends on platformdirs at run time gives its users' sessions one more plugin.
# Guessed: a library without a dependency, which does nothing but compute paths, is loaded by those
#   who import it.
# Seen on 2026-11-28, of a test that imports nothing:
#   4.9.6: in the session no
#   4.14.8: in the session yes
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
python=$place/venv/bin/python
cat >"$place/test_modules.py" <<'PYTHON'
import sys


def test_modules(capsys):
    with capsys.disabled():
        print("in the session", "yes" if "platformdirs" in sys.modules else "no")
PYTHON

in_session() {
    timeout 120 "$python" -m pip install --quiet --disable-pip-version-check pytest==9.1.1 \
        "platformdirs==$1"
    (cd "$place" && timeout 60 "$python" -m pytest -q -p no:cacheprovider test_modules.py) |
        grep -o "in the session.*"
}

old=$(in_session 4.9.6)
new=$(in_session 4.14.8)
echo "4.9.6: $old"
echo "4.14.8: $new"
[ "$old" = "in the session no" ]
[ "$new" = "in the session yes" ]
