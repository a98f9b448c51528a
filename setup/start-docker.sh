#!/usr/bin/env bash
# Make a Docker engine answer: use the one that does, else install one and start it.
#
# Exits 0 when an engine answers. Otherwise 77 when ENVOYASSERT_REQUIRE names docker, else 0 with a
# notice, and the tests that need Docker are skipped with the reason.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cd "$here/.."

readonly DEADLINE_S=90

give_up() {
    echo "no Docker engine: $1" >&2
    case ",${ENVOYASSERT_REQUIRE:-}," in
        *,docker,*) exit 77 ;;
    esac
    echo "the tests that need Docker will be skipped" >&2
    exit 0
}

# The launcher's own question, so that the answer is the one it will get.
engine_answers() { "$here/as-root.sh" .venv/bin/python setup/docker_answers.py 2>/dev/null; }

# dockerd refuses to start when its pid file names any living process, and takes containerd's for
# granted; after a crash or a restored machine the number may belong to another process.
remove_stale_pid_file() {
    local file=$1 program=$2 pid
    pid=$("$here/as-root.sh" cat "$file" 2>/dev/null) || return 0
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$program" ] && return 0
    "$here/as-root.sh" rm -f "$file"
}

is_running() { grep -qsx dockerd /proc/[0-9]*/comm; }

engine_answers && exit 0
[ -z "${DOCKER_HOST:-}" ] || give_up "DOCKER_HOST=$DOCKER_HOST does not answer"

"$here/install-packages.sh" docker || give_up "it could not be installed"

log=/dev/null
dockerd_pid=
if [ -d /run/systemd/system ]; then
    "$here/as-root.sh" systemctl start docker || give_up "systemctl start docker failed"
elif ! is_running; then
    remove_stale_pid_file /run/docker.pid dockerd
    remove_stale_pid_file /run/docker/containerd/containerd.pid containerd
    log=$(mktemp -t envoyassert-dockerd.XXXXXX)
    echo "starting dockerd, log in $log"
    "$here/as-root.sh" setsid dockerd >"$log" 2>&1 </dev/null &
    dockerd_pid=$!
fi

deadline=$((SECONDS + DEADLINE_S))
until engine_answers; do
    # sudo may return early with success when setsid forks; only a failure is certain.
    if [ -n "$dockerd_pid" ] && ! kill -0 "$dockerd_pid" 2>/dev/null && ! wait "$dockerd_pid"; then
        tail -n 20 "$log" >&2
        give_up "dockerd ended, see the lines above"
    fi
    if [ "$SECONDS" -ge "$deadline" ]; then
        tail -n 20 "$log" >&2
        give_up "dockerd does not answer after $DEADLINE_S seconds"
    fi
    sleep 0.3
done
