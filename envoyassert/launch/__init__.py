"""Start a real Envoy: as a local process in namespaces of its own, or in a container."""
