"""The model of Envoy's sockets against real Envoys (`make predict`)."""
