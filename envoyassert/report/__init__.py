"""Turning verdicts and graphs into lines of text and JSON: pure functions, nothing is printed."""
