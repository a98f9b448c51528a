"""Names of files for the traces of several Envoys, which no other trace has."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from envoyassert.trace import Trace


def file_name(trace: Trace, now_ns: int, again: int = 1) -> str:
    """Return the name of a trace's file: by its pod, or by its process, and by its start.

    Args:
        trace: the trace.
        now_ns: the time of day, in ns since 1970, when its last record had been read.
        again: how often a name was asked for: the second one differs from the first.
    """
    where = trace.header.where
    ago_ns = max(0, trace.end.ended_ns - trace.header.began_ns)
    start = datetime.fromtimestamp((now_ns - ago_ns) / 1e9, timezone.utc)
    parts = [where.get(key, "") for key in ("namespace", "pod", "container_name")]
    if not where.get("pod"):
        pid = trace.events[0].pid if trace.events else 0
        parts = ["envoy", str(pid)]
    parts = [re.sub(r"[^A-Za-z0-9.-]", "-", part) for part in parts if part]
    number = "" if again == 1 else f"_{again}"
    return f"{'_'.join(parts)}_{start:%Y%m%dT%H%M%SZ}{number}.ndjson"
