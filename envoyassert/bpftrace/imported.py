"""A log of bpftrace as a trace, in whichever of the forms that are read it is."""

from __future__ import annotations

from collections.abc import Iterable

from envoyassert.bpftrace.article import parse_article_log
from envoyassert.bpftrace.lines import is_header
from envoyassert.bpftrace.log import lost_calls, parse_log
from envoyassert.judge.interval import plural
from envoyassert.trace import Trace


def parse_bpftrace_log(
    lines: Iterable[str], path: str = "<log>", *, envoy_version: str = "", concurrency: int = 0
) -> Trace:
    """Read a bpftrace log: of our own program, or of the script before it.

    Args:
        lines: its lines.
        path: its name, for messages.
        envoy_version: version of the Envoy that was watched, `1.19.1`, if it is known.
        concurrency: the number of workers that it was started with; 0 if unknown.

    Raises:
        TraceFileError: it is in neither form.
    """
    found = list(lines)
    parse = parse_log if any(map(is_header, found)) else parse_article_log
    return parse(found, path, envoy_version=envoy_version, concurrency=concurrency)


def notes_on(trace: Trace, lines: Iterable[str], path: str) -> list[str]:
    """Return what a log of our program lacks, `2 events not in the log: 1 bind, 1 close`.

    Args:
        trace: what the log was read as.
        lines: the log.
        path: its name.
    """
    notes = []
    lost = sum(counters.dropped for counters in trace.end.cpus)
    if lost:
        calls = ", ".join(f"{count} {name}" for name, count in lost_calls(lines, path).items())
        notes.append(f"{plural(lost, 'event')} not in the log" + (f": {calls}" if calls else ""))
    if trace.end.cpus and "completeness" in trace.header.unobserved:
        notes.append(
            "how often the kernel skipped the program is not known for the last events "
            "(wait two seconds after them, then end bpftrace)"
        )
    return notes
