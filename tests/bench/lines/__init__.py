"""The lines of the table: how each is measured, and `registry.py`, which has all of them."""
