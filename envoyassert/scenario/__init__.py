"""Scenario files: their text, their meaning, and the runs they stand for."""
