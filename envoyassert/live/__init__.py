"""Envoys that something else starts: which are meant, where they live, and their traces."""
