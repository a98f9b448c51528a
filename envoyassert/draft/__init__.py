"""A first scenario for a config or for a run: what Envoy does with its sockets, written down."""
