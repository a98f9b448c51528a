"""Traces that were recorded, by their files below tests/traces."""

from __future__ import annotations

import gzip
from pathlib import Path

from envoyassert.trace import Trace
from envoyassert.trace_file import parse_trace

TRACES = Path(__file__).resolve().parent / "traces"


def recorded(name: str) -> Trace:
    """Return a trace by the name of its file, which may be compressed."""
    content = (TRACES / name).read_bytes()
    text = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
    return parse_trace(text.splitlines(), name)
