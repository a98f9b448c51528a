"""Control planes: what gives listeners to a running Envoy, by file or by gRPC."""
