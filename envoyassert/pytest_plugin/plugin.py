"""Hooks of the pytest plugin; imports nothing heavy, so that an idle plugin costs nothing."""
