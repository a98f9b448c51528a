#!/usr/bin/env bash
# Build the image of contrib/image from this checkout.
#
#   setup/build-image.sh IMAGE [ARGUMENT-OF-DOCKER-BUILD...]
set -euo pipefail

cd "$(dirname "$(readlink -f "$0")")/.."
image=$1
shift

# The context has nothing else, so that the image cannot either.
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp contrib/image/Dockerfile setup/runtime.lock "$context"
.venv/bin/python -m build --wheel --no-isolation --outdir "$context" . >"$context/log" 2>&1 ||
    { cat "$context/log" >&2; exit 1; }
docker build --tag "$image" "$@" "$context"
