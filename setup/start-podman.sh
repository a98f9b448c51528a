#!/usr/bin/env bash
# Make Podman's service answer at an address (unix:…), in the background.
#
#   setup/start-podman.sh ADDRESS
#
# It stops with whoever started this, or by a signal. Exits 77 when it does not answer.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
readonly DEADLINE_S=30
readonly address=$1 socket=${1#unix:}

"$here/install-packages.sh" podman
mkdir -p "$(dirname "$socket")"
log=$(mktemp -t envoyassert-podman.XXXXXX)
echo "starting Podman's service at $address, log in $log"
# No cgroup manager of systemd's: where it does not run there is none.
options=()
[ -d /run/systemd/system ] || options+=(--cgroup-manager=cgroupfs --events-backend=file)
"$here/as-root.sh" podman "${options[@]}" system service --time=0 "$address" >"$log" 2>&1 </dev/null &

deadline=$((SECONDS + DEADLINE_S))
until [ -S "$socket" ]; do
    if ! kill -0 $! 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
        tail -n 20 "$log" >&2
        echo "error: Podman's service does not answer at $address" >&2
        exit 77
    fi
    sleep 0.1
done
