#!/usr/bin/env bash
# pytest 9.1.1: collecting one YAML file executes the __init__.py beside it, with --noconftest too.
#
# Behaviour: a plugin collects files that are no Python (`pytest_collect_file`). If their directory has
#   an __init__.py, pytest makes it a `Package`, and a package's setup imports the file as its first
#   item is run, though nothing in it is a test and no test is written in Python.
# Guessed: a file of Python is executed if it is a conftest.py, or if tests are looked for in it.
# Seen on 2026-11-28:
#   --noconftest: conftest no,__init__ yes
#   --noconftest --collect-only: conftest no,__init__ no
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
python=$place/venv/bin/python
timeout 120 "$python" -m pip install --quiet --disable-pip-version-check pytest==9.1.1
mkdir "$place/cases" "$place/plugin"
cat >"$place/plugin/yaml_cases.py" <<'PYTHON'
import pytest


class Case(pytest.Item):
    def runtest(self):
        pass


class Cases(pytest.File):
    def collect(self):
        yield Case.from_parent(self, name="case")


def pytest_collect_file(file_path, parent):
    return Cases.from_parent(parent, path=file_path) if file_path.suffix == ".yaml" else None
PYTHON
touch "$place/cases/one.yaml"
for name in conftest __init__; do
    echo "open('$place/ran-$name', 'w').close()" >"$place/cases/$name.py"
done

executed() {
    rm -f "$place"/ran-*
    (cd "$place" && PYTHONPATH=plugin timeout 60 "$python" -m pytest -q -p yaml_cases \
        -p no:cacheprovider --noconftest cases/one.yaml "$@") >"$place/printed"
    for name in conftest __init__; do
        [ -f "$place/ran-$name" ] && echo "$name yes" || echo "$name no"
    done | paste -sd, -
}

run=$(executed)
grep -q "^1 passed" "$place/printed"
collected=$(executed --collect-only)
echo "--noconftest: $run"
echo "--noconftest --collect-only: $collected"
[ "$run" = "conftest no,__init__ yes" ]
