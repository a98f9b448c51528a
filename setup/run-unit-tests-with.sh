#!/usr/bin/env bash
# Run the unit and plugin tests with other versions of the packages than the locked ones.
#
#   [PYTHON=/path/to/python] setup/run-unit-tests-with.sh newest|oldest|REQUIREMENT... [-- ARGUMENT...]
#
# newest: the newest of everything that pyproject.toml allows. oldest: of what envoyassert itself
# requires the oldest that pyproject.toml allows, of the tools for tests the newest that go with it.
# A requirement (pytest==9.0.*): the newest of everything that goes with it. They are installed into
# .venv-with, which is made again each time.
set -euo pipefail

cd "$(dirname "$(readlink -f "$0")")/.."
readonly UV=.venv/bin/uv

requirements=()
while [ "$#" -gt 0 ] && [ "$1" != "--" ]; do
    requirements+=("$1")
    shift
done
[ "$#" -eq 0 ] || shift

python=${PYTHON:-$(readlink -f .venv/bin/python)}
export VIRTUAL_ENV=$PWD/.venv-with
"$UV" venv --quiet --clear --python "$python" "$VIRTUAL_ENV"
constraints=$VIRTUAL_ENV/constraints.txt
case ${requirements[*]} in
    newest) : >"$constraints" ;;
    oldest)
        "$UV" pip compile --quiet --no-header --no-annotate --no-emit-index-url --python "$python" \
            --resolution lowest-direct --extra xds pyproject.toml --output-file "$constraints"
        ;;
    *) printf '%s\n' "${requirements[@]}" >"$constraints" ;;
esac
"$UV" pip install --quiet --constraints "$constraints" --editable '.[dev]'
"$UV" pip list --quiet
exec "$VIRTUAL_ENV/bin/pytest" --numprocesses=auto --quiet tests/unit tests/plugin "$@"
