"""Judging a trace: pure functions from a socket graph and expectations to findings."""
