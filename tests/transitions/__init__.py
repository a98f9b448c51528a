"""Changes of listeners, each really made in each way on each Envoy: `make transitions`."""
