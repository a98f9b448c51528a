"""Names of files for traces."""

from __future__ import annotations

from dataclasses import replace

from envoyassert.live.traces import file_name
from envoyassert.testing import TraceBuilder

#: 2026-11-28 19:40:12 UTC
NOW_NS = 1795894812 * 10**9


def test_file_is_named_by_pod_or_process_and_start():
    trace = TraceBuilder(pid=123).build()
    trace.header = replace(trace.header, began_ns=10**9)
    trace.end = replace(trace.end, ended_ns=13 * 10**9)
    assert file_name(trace, NOW_NS) == "envoy_123_20261128T194000Z.ndjson"
    assert file_name(trace, NOW_NS, 2) == "envoy_123_20261128T194000Z_2.ndjson"
    where = {"namespace": "web", "pod": "front", "container_name": "a/b"}
    trace.header = replace(trace.header, where=where)
    assert file_name(trace, NOW_NS) == "web_front_a-b_20261128T194000Z.ndjson"
