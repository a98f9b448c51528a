"""Figures of the source itself: how large, how tangled, how often the same (`make metrics`)."""
