#!/usr/bin/env bash
# pytest 9.2.0, 8.4.2: where a plugin is installed, its library is compiled again in every session.
#
# Behaviour: an entry point of the group pytest11 makes pytest load every module of its distribution by
#   the loader that rewrites assertions, also modules that the plugin never imports. That loader does
#   not use the compiled files that pip made. Where it may write none of its own (site-packages of
#   another user, a read-only image, PYTHONDONTWRITEBYTECODE), each session reads, rewrites and
#   compiles all that it imports of the library. --assert=plain leaves it out.
# Guessed: the plugin's own module and what it registers; the rest is an ordinary library.
# Seen on 2026-11-29 (CPython 3.11), of a distribution with 50 modules and a plugin, each version:
#   without the entry point: SourceFileLoader, 0 compiled
#   with it: AssertionRewritingHook, 50 compiled
#   with it, the next session: AssertionRewritingHook, 50 compiled
#   with it, --assert=plain: SourceFileLoader, 0 compiled
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir -p "$place/made/src/made_up" "$place/tests"
echo '' >"$place/made/src/made_up/__init__.py"
echo '' >"$place/made/src/made_up/plugin.py"
for number in $(seq 50); do
    echo "NUMBER = $number" >"$place/made/src/made_up/module_$number.py"
done
cat >"$place/made/pyproject.toml" <<'TOML'
[build-system]
requires = ["setuptools==80.9.0"]
build-backend = "setuptools.build_meta"

[project]
name = "made-up"
version = "1"
TOML
cat >"$place/tests/test_modules.py" <<'PYTHON'
import importlib
import sys

compiled = []


def count(event, details):
    if event == "compile" and "made_up" in str(details[1]):
        compiled.append(details[1])


sys.addaudithook(count)


def test_modules():
    modules = [importlib.import_module(f"made_up.module_{number}") for number in range(1, 51)]
    print("seen:", *{type(one.__spec__.loader).__name__ for one in modules}, len(compiled))
PYTHON
install() { "$place/$version/bin/pip" install --quiet --disable-pip-version-check "$@"; }
session() { # session TITLE [OPTION]
    local seen
    seen=$(cd "$place/tests" && PYTHONDONTWRITEBYTECODE=1 timeout 60 "$place/$version/bin/pytest" \
        -rP -p no:cacheprovider "${@:2}" | sed -n 's/^seen: \(.*\) \(.*\)/\1, \2 compiled/p')
    echo "$1: $seen" | tee -a "$place/$version.seen"
}
plain=$(cat "$place/made/pyproject.toml")
for version in 8.4.2 9.2.0; do
    echo "pytest $version"
    python3 -m venv "$place/$version"
    echo "$plain" >"$place/made/pyproject.toml"
    install --compile "pytest==$version" "$place/made"
    session 'without the entry point'
    printf '[project.entry-points.pytest11]\nmade_up = "made_up.plugin"\n' >>"$place/made/pyproject.toml"
    install --compile --force-reinstall --no-deps "$place/made"
    session 'with it'
    session 'with it, the next session'
    session 'with it, --assert=plain' --assert=plain
    diff "$place/$version.seen" <(sed -n 's/^#   \(with.*compiled\)$/\1/p' "$0")
done
