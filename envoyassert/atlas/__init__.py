"""Scenarios on versions of Envoy: what holds where, and what changed from one to the next."""
