"""The kinds of inputs, by the words that `make fuzz` knows them by."""

from __future__ import annotations

from tests.fuzz.case import Kind
from tests.fuzz.dumps import dump
from tests.fuzz.files import trace_file
from tests.fuzz.logs import log
from tests.fuzz.replies import reply
from tests.fuzz.scenarios import scenario
from tests.fuzz.traces import trace

KINDS: dict[str, Kind] = {
    "traces": trace,
    "scenarios": scenario,
    "files": trace_file,
    "logs": log,
    "dumps": dump,
    "replies": reply,
}
