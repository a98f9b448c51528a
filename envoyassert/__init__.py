"""Prove what Envoy does with its listening sockets."""
