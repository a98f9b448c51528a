#!/usr/bin/env bash
# Run the shipped scenarios on each Envoy version given, by every launcher that works here.
#
#   setup/run-scenarios.sh VERSION... [-- ARGUMENT...]
#
# Always as a local process; in a container too, when a Docker engine answers; as many at once as
# there are processors. Further arguments go to `envoyassert run` (`-n 0`: one after the other).
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cd "$here/.."

versions=()
while [ "$#" -gt 0 ] && [ "$1" != "--" ]; do
    versions+=("$1")
    shift
done
[ "$#" -eq 0 ] || shift

options=(--launcher process)
for version in "${versions[@]}"; do
    options+=(--envoy "$version")
done
"$here/prepare-images.sh" "${versions[@]}"
if "$here/as-root.sh" .venv/bin/python setup/docker_answers.py 2>/dev/null; then
    options+=(--launcher docker)
fi
exec "$here/as-root.sh" .venv/bin/envoyassert run scenarios/ -n auto "${options[@]}" "$@"
