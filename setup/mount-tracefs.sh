#!/usr/bin/env bash
# Mount tracefs where eBPF's named tracepoints are looked up, unless it is mounted already.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")

mounted() { grep -q "^[^ ]* $1 $2 " /proc/mounts; }

mount_at() {
    local directory=$1 type=$2
    mounted "$directory" "$type" && return 0
    echo "mounting $type at $directory"
    if ! "$here/as-root.sh" mount -t "$type" "$type" "$directory"; then
        echo "error: cannot mount $type at $directory: in a container, start it with the right to" >&2
        echo "       mount (or with $directory mounted); else the kernel needs CONFIG_FTRACE" >&2
        exit 77
    fi
}

mount_at /sys/kernel/tracing tracefs
