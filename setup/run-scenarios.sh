#!/usr/bin/env bash
# Run the shipped scenarios on each Envoy version given.
#
#   setup/run-scenarios.sh [--all] VERSION... [-- ARGUMENT...]
#
# Each once, as a local process, with a page for each run, and as many at once as there are processors.
# With --all each value of their matrix, in a container too when a Docker engine answers. A run waits
# more than half of its time: of those many two share a processor. Further arguments go to
# `envoyassert run` (`-n 0`: one after the other).
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cd "$here/.."

all=
if [ "$1" = "--all" ]; then
    all=yes
    shift
fi
versions=()
while [ "$#" -gt 0 ] && [ "$1" != "--" ]; do
    versions+=("$1")
    shift
done
[ "$#" -eq 0 ] || shift

at_once=auto
options=(--launcher process)
for version in "${versions[@]}"; do
    options+=(--envoy "$version")
done
if [ -z "$all" ]; then
    options+=(--once)
    # A page for each run, unless the arguments say where the results go.
    case " $* " in
        *" --html"* | *" --report"*) ;;
        *) options+=(--html .envoyassert/report) ;;
    esac
else
    at_once=$((2 * $(nproc)))
    "$here/prepare-images.sh" "${versions[@]}"
fi
if [ -n "$all" ] && "$here/as-root.sh" .venv/bin/python setup/docker_answers.py 2>/dev/null; then
    options+=(--launcher docker)
fi
exec "$here/as-root.sh" .venv/bin/envoyassert run scenarios/ -n "$at_once" "${options[@]}" "$@"
