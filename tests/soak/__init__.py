"""The shipped scenarios again and again: under pressure, and for whether they mean the same."""
