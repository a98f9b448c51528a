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

# No cgroup manager and no journal of systemd's: where it does not run there is none.
options=()
[ -d /run/systemd/system ] || options+=(--cgroup-manager=cgroupfs --events-backend=file)
# crun refuses a machine that has cgroups of both versions.
if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
    "$here/install-packages.sh" runc
    options+=(--runtime=runc)
fi
# Podman raises the limits of its containers, which takes CAP_SYS_RESOURCE. These are no higher than
# its own; that of processes it lowers to the highest process number.
read -r processes </proc/sys/kernel/pid_max
[ "$(ulimit -Hu)" = unlimited ] || [ "$(ulimit -Hu)" -ge "$processes" ] || processes=$(ulimit -Hu)
settings=$log.conf
cat >"$settings" <<CONF
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=$processes:$processes"]
CONF
"$here/as-root.sh" env "CONTAINERS_CONF=$settings" podman "${options[@]}" system service --time=0 "$address" \
    >"$log" 2>&1 </dev/null &

deadline=$((SECONDS + DEADLINE_S))
until [ -S "$socket" ]; do
    if ! kill -0 $! 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
        tail -n 20 "$log" >&2
        echo "error: Podman's service does not answer at $address" >&2
        exit 77
    fi
    sleep 0.1
done
