"""Runs that are made to end badly, and what is left of them (`make ends`)."""
